"""What excites the atoms of a layer above others: means over receptive fields."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from skddl.nn import PatchSparseCode, SparseCode

_SAMPLES_AT_A_TIME = 100


def receptive_field_means(
    estimator: Any, layer: int, X: ArrayLike
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Means of what the codes of a layer see of samples, weighted by coefficient; and their shape.

    Of a layer of patches that is the part of the image below a place, zeros beyond its border; of
    a dense one the whole sample.
    """
    network = estimator.module_
    modules = list(network.layers)
    places = [place for place, module in enumerate(modules, 1) if _codes(module)]
    end = places[layer]
    up_to = nn.Sequential(*modules[:end])
    shape = estimator._image_shape or (estimator.n_features_in_,)
    field = _field([module for module in modules[:end] if isinstance(module, PatchSparseCode)])
    is_of_patches = isinstance(modules[end - 1], PatchSparseCode)
    samples = estimator._validate_samples(X, reset=False)
    total: Any = 0.0
    weight: Any = 0.0
    dtype = network.classifier.weight.dtype
    with torch.no_grad():
        for start in range(0, len(samples), _SAMPLES_AT_A_TIME):
            some = samples[start : start + _SAMPLES_AT_A_TIME]
            x = torch.from_numpy(some.astype(np.float64)).to(dtype).flatten(1) / estimator._divisor
            codes, seen = up_to(x), x
            if is_of_patches:
                seen = _unfold(x.reshape(-1, *shape), *field)
                codes = codes.flatten(2).transpose(1, 2).flatten(0, 1)
            total = total + codes.T @ seen
            weight = weight + codes.abs().sum(0)
    means = total / weight.clamp(min=torch.finfo(dtype).tiny)[:, None]
    if is_of_patches:
        shape = (shape[0], field[0], field[0])
    return means.numpy(), shape


def _codes(module: nn.Module) -> bool:
    return isinstance(module, PatchSparseCode | SparseCode)


def _field(layers: list[PatchSparseCode]) -> tuple[int, int, int]:
    """Size, stride and padding of what a place of the last of some layers sees of the image."""
    size, stride, padding = 1, 1, 0
    for layer in layers:
        size += (layer.patch_size - 1) * stride
        padding += layer.padding * stride
        stride *= layer.stride
    return size, stride, padding


def _unfold(images: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """All parts of images, (n_samples * n_places, C * size^2)."""
    parts = nn.functional.unfold(images, size, stride=stride, padding=padding)
    return parts.transpose(1, 2).flatten(0, 1)
