"""The Gram matrix of a dictionary."""

import torch
from torch import Tensor

from . import _core
from ._core import as_array
from ._threads import count_threads, team


def gram_matrix(dictionary: Tensor) -> Tensor:
    """``D D'``, (n_components, n_components)."""
    if dictionary.device.type != "cpu" or _core.core is None:
        return torch.mm(dictionary, dictionary.T)
    n_components, n_features = dictionary.shape
    gram = dictionary.new_empty((n_components, n_components))
    threads = count_threads(n_components**2 * n_features // 2)
    _core.core.gram_matrix(team(), threads, as_array(dictionary), gram.numpy())
    return gram


def useful_gram(dictionary: Tensor, n_samples: int) -> Tensor | None:
    """The Gram matrix, if to form it pays for codes of so many samples."""
    if dictionary.device.type == "cpu" and _core.core is not None:
        if not _core.core.gram_pays(n_samples, *dictionary.shape):
            return None
    return gram_matrix(dictionary)
