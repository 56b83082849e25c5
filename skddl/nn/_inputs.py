"""What modules take: tensors, and of an estimator rows."""

from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn


def require_tensor(module: nn.Module, x: Tensor) -> None:
    """Raise TypeError unless `x` is a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{type(module).__name__} takes tensors, got {type(x).__name__}.")


def require_size(name: str, value: int, least: int = 1) -> int:
    """A plain int, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}, got {value!r}.")
    return int(value)


def is_real(value: Any) -> bool:
    """Whether it is a number, of Python or of numpy."""
    return isinstance(value, Real)


class StandardizedInputs(nn.Module):
    """Rows as samples of their shape, less a mean and over a scale, per channel or per column.

    Parameters
    ----------
    input_shape : tuple of int
        (C, H, W) or (n_features,).
    mean, scale : Tensors of shape (C,) or (n_features,)
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, input_shape: tuple[int, ...], mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.input_shape = input_shape
        spread = [-1] + [1] * (len(input_shape) - 1)
        self.register_buffer("mean", mean.reshape(spread))
        self.register_buffer("scale", scale.reshape(spread))

    def forward(self, x: Tensor) -> Tensor:
        """Samples of shape (n, *input_shape)."""
        return (x.reshape(-1, *self.input_shape) - self.mean) / self.scale


class Rescale(nn.Module):
    """Divide by a constant."""

    scale: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """The inputs, divided."""
        return x / self.scale
