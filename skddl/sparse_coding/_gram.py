"""The Gram matrix of a dictionary."""

import torch
from torch import Tensor

# Atoms up to which the symmetry is not worth the smaller products.
_FEW = 256


def gram_matrix(dictionary: Tensor, out: Tensor | None = None) -> Tensor:
    """``D D'``, (n_components, n_components); on a CPU one half of a large one is mirrored."""
    n_components = len(dictionary)
    if out is None:
        out = dictionary.new_empty((n_components, n_components))
    if n_components <= _FEW or dictionary.device.type != "cpu":
        return torch.mm(dictionary, dictionary.T, out=out)
    half = n_components // 32 * 16  # whole vectors of the processor
    upper, lower = dictionary[:half], dictionary[half:]
    gram_matrix(upper, out[:half, :half])
    gram_matrix(lower, out[half:, half:])
    torch.mm(upper, lower.T, out=out[:half, half:])
    out[half:, :half].copy_(out[:half, half:].T)
    return out
