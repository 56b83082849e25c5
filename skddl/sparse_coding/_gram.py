"""The Gram matrix of a dictionary."""

import torch
from torch import Tensor

from ._job import Job, plain
from ._optional import can_import


def gram_matrix(dictionary: Tensor) -> Tensor:
    """``D D'``, (n_components, n_components)."""
    if dictionary.device.type != "cpu" or not can_import("numba"):
        return torch.mm(dictionary, dictionary.T)
    gram = dictionary.new_empty((len(dictionary), len(dictionary)))
    dictionary = plain(dictionary)
    Job.of_atoms(dictionary).form_gram(gram)
    return gram
