"""The state from which deep dictionary learning starts: dictionaries learned layer by layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._base import Samples, apply_in_batches
from ._first_atoms import auto_lambda1, warn_of_scale
from ._sparsity import require_sparsity
from ._start import (
    draw_rows,
    first_inputs,
    fit_first_output_,
    nearest_power_of_two,
    probe_samples,
    start_dictionary_,
)
from ._training_data import LABELLED, Targets
from .nn import PatchSparseCode, SparseCode
from .nn._inputs import Rescale
from .nn._losses import Loss
from .nn.deep_dictionary import DeepDictionaryNetwork

# Patches from which a dictionary starts; of images, as many as have them.
_MAX_INIT_PATCHES = 60_000


@dataclass(frozen=True)
class Layer:
    """One layer as the user described it. Without `patch_size` it is dense."""

    n_components: int
    patch_size: int | None
    stride: int
    padding: int
    lambda1: float | str
    n_nonzero_coefs: int | None


def describe_layers(
    n_components: Any,
    *,
    patch_size: Any,
    stride: Any,
    padding: Any,
    lambda1: Any,
    n_nonzero_coefs: Any,
) -> list[Layer]:
    """The layers, of parameters that are each a sequence or one value for all."""
    n_layers = 1 if isinstance(n_components, Integral) else len(n_components)
    if n_layers == 0:
        raise ValueError("n_components must name the atoms of at least one layer, got none.")

    def size(least: int) -> Callable[[Any], bool]:
        return lambda value: _is_a(Integral, value) and value >= least

    columns = []
    for name, parameter, is_valid, expected in (
        ("n_components", n_components, size(1), "ints >= 1"),
        ("patch_size", patch_size, _or_none(size(1)), "ints >= 1, or None"),
        ("stride", stride, size(1), "ints >= 1"),
        ("padding", padding, size(0), "ints >= 0"),
        ("lambda1", lambda1, _is_weight, "numbers > 0, or 'auto'"),
        ("n_nonzero_coefs", n_nonzero_coefs, _or_none(size(1)), "ints >= 1, or None"),
    ):
        values = _per_layer(parameter, n_layers)
        if len(values) != n_layers or not all(map(is_valid, values)):
            raise ValueError(
                f"{name}={parameter!r} must be one value, or one for each of the {n_layers} "
                f"layers: {expected}."
            )
        columns.append(values)
    layers = [Layer(*values) for values in zip(*columns, strict=True)]
    for layer in layers:
        require_sparsity(layer.lambda1, layer.n_nonzero_coefs, layer.n_components)
    dense = [layer for layer in layers if layer.patch_size is None]
    for name, parameter, default in (("stride", stride, 1), ("padding", padding, 0)):
        # One value for all is that of the layers with patches, if there are any.
        is_for_dense = isinstance(parameter, tuple | list) or len(dense) == len(layers)
        if is_for_dense and any(getattr(layer, name) != default for layer in dense):
            raise ValueError(
                f"{name}={parameter!r} is for layers with patches, and one of these is dense: pass "
                f"patch_size, or {default} for dense layers."
            )
    for below, above in pairwise(layers):
        if below.patch_size is None and above.patch_size is not None:
            raise ValueError(
                f"patch_size={patch_size!r} has patches above a dense layer, whose codes have no "
                "places."
            )
    return layers


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


def _is_weight(value: Any) -> bool:
    return value == "auto" or (_is_a(Real, value) and 0 < value < np.inf)


def _is_a(kind: type, value: Any) -> bool:
    """Whether a value is a number of that kind; to Python a bool is one."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _per_layer(value: Any, n_layers: int) -> Sequence[Any]:
    return value if isinstance(value, tuple | list) else [value] * n_layers


def make_deep_network(
    layers: list[Layer],
    input_shape: tuple[int, ...],
    n_outputs: int,
    *,
    global_pooling: bool,
    lambda2: float,
    positive: bool,
    positive_dict: bool,
    fit_intercept: bool,
) -> DeepDictionaryNetwork:
    """The network for rows of samples, with random atoms; where lambda1 is "auto", it is 1."""
    modules, n_codes = _make_modules(
        layers,
        input_shape,
        global_pooling=global_pooling,
        lambda2=lambda2,
        positive=positive,
        positive_dict=positive_dict,
    )
    return DeepDictionaryNetwork(modules, n_codes, n_outputs, bias=fit_intercept)


def start_deep_network_(
    network: DeepDictionaryNetwork,
    layers: list[Layer],
    samples: Samples,
    targets: Targets,
    *,
    loss: Loss,
    nu1: float,
    init: str,
    rng: np.random.RandomState,
) -> int:
    """A dictionary from the codes below it, layer by layer, then the best W; how many re-drawn."""
    network.to(samples.dtype).eval()
    modules = list(network.layers)
    rows = draw_rows(targets, rng)
    probe_samples(samples, rows)  # raises the error of samples that the dtype cannot hold
    n_redrawn = 0
    described = iter(layers)
    for position, module in enumerate(modules):
        if not isinstance(module, SparseCode | PatchSparseCode):
            continue
        inputs = _inputs_of(module, network.layers[:position], samples, rows, rng)
        if position and isinstance(rescale := modules[position - 1], Rescale):
            scale = nearest_power_of_two(torch.from_numpy(inputs), samples.dtype)
            rescale.scale.fill_(scale)
            inputs /= scale
        warn_of_scale(inputs, nu1)
        code = module.code if isinstance(module, PatchSparseCode) else module
        layer = next(described)
        if layer.lambda1 == "auto":
            code.problem = replace(code.problem, lambda1=auto_lambda1(inputs))
        n_redrawn += start_dictionary_(
            code, inputs, n_nonzero_coefs=layer.n_nonzero_coefs, init=init, rng=rng
        )
    labelled = rows[targets.role[rows] == LABELLED]
    codes = apply_in_batches(network.encode, samples, labelled)
    fit_first_output_(network.classifier, torch.from_numpy(codes), targets, labelled, loss, nu1)
    return n_redrawn


def _make_modules(
    layers: list[Layer],
    input_shape: tuple[int, ...],
    *,
    global_pooling: bool,
    lambda2: float,
    positive: bool,
    positive_dict: bool,
) -> tuple[list[nn.Module], int]:
    """The modules of a network for rows of samples, with random atoms, and its number of codes."""
    modules: list[nn.Module] = []
    shape: tuple[int, ...] = (prod(input_shape),)

    def append(module: nn.Module) -> None:
        nonlocal shape
        modules.append(module)
        with torch.no_grad():
            shape = tuple(module(torch.zeros(1, *shape)).shape[1:])

    def flatten() -> None:
        if len(shape) == 3:
            if global_pooling:
                append(nn.AdaptiveAvgPool2d(1))
            append(nn.Flatten())

    if layers[0].patch_size is not None:
        append(nn.Unflatten(1, input_shape))
    for number, layer in enumerate(layers, start=1):
        weights: dict[str, Any] = {
            "lambda1": 1.0 if layer.lambda1 == "auto" else float(layer.lambda1),
            "lambda2": lambda2,
            "positive": positive,
            "positive_dict": positive_dict,
        }
        if layer.patch_size is None:
            flatten()
        elif layer.patch_size > min(shape[1:]) + 2 * layer.padding:
            raise ValueError(
                f"patch_size={layer.patch_size} of layer {number} is larger than what the layer is "
                f"given, {shape[0]} maps of {shape[1]}x{shape[2]} with a padding of "
                f"{layer.padding}."
            )
        if number > 1 or layer.patch_size is not None:  # a dense first layer gets what there is
            append(Rescale(1.0))
        append(
            SparseCode(shape[0], layer.n_components, **weights)
            if layer.patch_size is None
            else PatchSparseCode(
                shape[0],
                layer.n_components,
                patch_size=layer.patch_size,
                stride=layer.stride,
                padding=layer.padding,
                **weights,
            )
        )
    flatten()
    return modules, shape[0]


def _inputs_of(
    module: SparseCode | PatchSparseCode,
    below: nn.Module,
    samples: Samples,
    rows: NDArray[np.intp],
    rng: np.random.RandomState,
) -> NDArray[Any]:
    """Initial inputs of a layer, as rows: of all samples, or of as many as have enough patches."""
    if isinstance(module, SparseCode):
        return first_inputs(below, samples, rows)

    def patches(x: Tensor) -> Tensor:
        return module.patches(below(x))

    with torch.no_grad():
        n_patches = patches(samples[rows[:1]]).shape[1]
    n_images = -(-_MAX_INIT_PATCHES // n_patches)
    if n_images < len(rows):
        rows = rng.choice(rows, n_images, replace=False)
    inputs = first_inputs(patches, samples, rows)
    return inputs.reshape(-1, inputs.shape[-1])
