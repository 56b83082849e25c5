"""The Gram matrix of a dictionary."""

import torch
from torch import Tensor

from . import _job


def gram_matrix(dictionary: Tensor) -> Tensor:
    """``D D'``, (n_components, n_components)."""
    if dictionary.device.type != "cpu" or not _job.is_installed():
        return torch.mm(dictionary, dictionary.T)
    gram = dictionary.new_empty((len(dictionary), len(dictionary)))
    dictionary = dictionary.contiguous()
    _job.Job.of_atoms(dictionary).form_gram(gram)
    return gram
