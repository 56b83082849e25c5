"""Sparsity by its own name: the weight lambda1 of codes that have so many non-zeros."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .nn import SparseCode
from .sparse_coding import sparse_encode
from .sparse_coding._problem import ElasticNetProblem
from .training import Processes

# Samples whose codes are looked at.
_MAX_SAMPLES = 1000
# Until the mean number of non-zeros is as near as that, or lambda1 as close.
_TOLERANCE, _MAX_HALVINGS = 0.02, 40
# lambda1 as a share of the largest correlation of an atom with a sample: less would change little.
_LEAST = 1e-3
# The exponent by which lambda1 follows codes that change, and by how much at the most per step.
_GAIN, _LARGEST_CHANGE = 0.2, 1.25


def require_sparsity(
    lambda1: float | str, n_nonzero_coefs: int | None, n_components: int | None
) -> None:
    """Raise ValueError where two parameters say how sparse codes are to be, or one what cannot be.

    `n_components` is None where it is not known yet.
    """
    if n_nonzero_coefs is None:
        return
    if n_components is not None and n_nonzero_coefs > n_components:
        raise ValueError(
            f"n_nonzero_coefs={n_nonzero_coefs} is more than there are atoms, "
            f"n_components={n_components}."
        )
    if lambda1 != "auto":
        raise ValueError(
            f"n_nonzero_coefs={n_nonzero_coefs} finds lambda1 by itself: leave lambda1 at 'auto', "
            f"or n_nonzero_coefs at None; got lambda1={lambda1!r}."
        )


def with_nonzeros(
    problem: ElasticNetProblem, X: NDArray[Any], dictionary: NDArray[Any], n_nonzero_coefs: int
) -> ElasticNetProblem:
    """The problem with the lambda1 at which codes of `X` have so many non-zeros on average.

    Of samples that no atom codes it is as it was. If there are never as many non-zeros, lambda1 is
    the least that makes sense.
    """
    rows = np.linspace(0, len(X) - 1, num=min(len(X), _MAX_SAMPLES), dtype=np.intp)
    X = X[rows]
    correlations = X @ dictionary.T
    largest = float((correlations if problem.positive else np.abs(correlations)).max())
    if not largest > 0:
        return problem

    def count(lambda1: float) -> float:
        weights = vars(replace(problem, lambda1=lambda1))
        return np.count_nonzero(sparse_encode(X, dictionary, **weights)) / len(X)

    # From above, where codes are sparse and cost little.
    high, low, wanted = largest, largest / 2, float(n_nonzero_coefs)
    for _ in range(_MAX_HALVINGS):
        if (found := count(low)) >= wanted or low < _LEAST * largest:
            break
        high, low = low, low / 2
    for _ in range(_MAX_HALVINGS):
        if found <= (1 + _TOLERANCE) * wanted or high / low < 1 + 1e-4:
            break
        middle = (high * low) ** 0.5
        if (count_there := count(middle)) >= wanted:
            low, found = middle, count_there
        else:
            high = middle
    return replace(problem, lambda1=low)


def follow_(code: SparseCode, codes: Tensor, n_nonzero_coefs: int) -> None:
    """Have the lambda1 that brings the number of non-zeros nearer to that wanted, after `codes`."""
    codes = codes.detach()
    totals = torch.stack([(codes != 0).sum(), codes.abs().sum(), codes.new_tensor(codes.numel())])
    Processes.current().average_([totals])  # lambda1 is the same in all of them
    found, size = (totals[:2] / totals[2] * len(code.dictionary)).tolist()
    if found > 0:
        code.problem = following(code.problem, found, n_nonzero_coefs, size)


def following(
    problem: ElasticNetProblem, found: float, n_nonzero_coefs: int, scale: float
) -> ElasticNetProblem:
    """The problem whose lambda1 brings the number of non-zeros from `found` nearer to that wanted.

    `scale` is the size of the samples, or of their codes: where lambda1 is far below it, there are
    never as many.
    """
    change = (found / n_nonzero_coefs) ** _GAIN
    change = min(max(change, 1 / _LARGEST_CHANGE), _LARGEST_CHANGE)
    if change < 1 and problem.lambda1 * change < _LEAST * scale:
        return problem
    return replace(problem, lambda1=problem.lambda1 * change)
