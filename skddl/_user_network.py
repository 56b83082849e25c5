"""Networks that users hand over as a function of the shape of a sample."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn


def make_user_module(make: Any, input_shape: tuple[int, ...], *, parameter: str) -> nn.Module:
    """A copy of the module that `make`, given for `parameter`, returns for samples of a shape."""
    if isinstance(make, nn.Module):
        raise TypeError(
            f"{parameter} must be a callable that takes the shape of a sample and returns a "
            f"module; got a module itself, {make!r}. Pass `lambda shape: module`."
        )
    factory: Callable[[tuple[int, ...]], Any] = make
    module = factory(input_shape)
    if not isinstance(module, nn.Module):
        raise TypeError(f"{parameter} must return a torch.nn.Module, got {module!r}.")
    return deepcopy(module)  # the user's own is not trained


def find_output_shape(module: nn.Module, n_features: int, dtype: torch.dtype) -> tuple[int, ...]:
    """Shape of the output for one sample of `dtype`, a row, in evaluation mode."""
    module = deepcopy(module).to(dtype).eval()
    with torch.no_grad():
        try:
            output = module(torch.zeros(1, n_features, dtype=dtype))
        except RuntimeError as error:
            raise ValueError(f"The network of features fails on {dtype}: {error}") from error
    if not isinstance(output, Tensor) or output.dtype != dtype:
        raise ValueError(
            f"The network of features must give a tensor of {dtype} for one of {dtype}, got "
            f"{getattr(output, 'dtype', type(output))}: it must not change the dtype itself."
        )
    return tuple(output.shape)


def count_features(
    module: nn.Module,
    n_features: int,
    dtype: torch.dtype,
    *,
    parameter: str,
    value: Any,
    expected: int | None = None,
) -> int:
    """Length of the output of `module`, made by the `value` of a parameter, for rows."""
    shape = find_output_shape(module, n_features, dtype)
    # Samples in float64 are answered in float64, whatever the network was trained in.
    find_output_shape(module, n_features, torch.float64)
    if len(shape) != 2 or shape[1] != (expected or shape[1]):
        raise ValueError(
            f"{parameter}={value!r} gives an output of shape {('n', *shape[1:])} per batch, "
            f"expected ('n', n_features_out)"
            + (f" with n_features_out={expected!r}." if expected else ".")
        )
    return shape[1]
