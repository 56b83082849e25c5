"""Sparsity by its own name: the weight lambda1 of codes that have so many non-zeros."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sparse_coding import sparse_encode
from .sparse_coding._problem import ElasticNetProblem

# Samples whose codes are looked at.
_MAX_SAMPLES = 1000
# Until the mean number of non-zeros is as near as that, or lambda1 as close.
_TOLERANCE, _MAX_HALVINGS = 0.02, 40
# The exponent by which lambda1 follows codes that change, and by how much at the most per step.
_GAIN, _LARGEST_CHANGE = 0.2, 1.25


def require_one_of_two(lambda1: float | str, n_nonzero_coefs: int | None) -> None:
    """Raise ValueError where both say how sparse codes are to be."""
    if n_nonzero_coefs is not None and lambda1 != "auto":
        raise ValueError(
            f"n_nonzero_coefs={n_nonzero_coefs} finds lambda1 by itself: leave lambda1 at 'auto', "
            f"or n_nonzero_coefs at None; got lambda1={lambda1!r}."
        )


def with_nonzeros(
    problem: ElasticNetProblem, X: NDArray[Any], dictionary: NDArray[Any], n_nonzero_coefs: int
) -> ElasticNetProblem:
    """The problem with the lambda1 at which codes of `X` have so many non-zeros on average.

    If the sparsest codes are reached by no lambda1, as of samples that are all zero, it is as it
    was; if there are never as many non-zeros, lambda1 is so small that less would change little.
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
        if (found := count(low)) >= wanted or low < 1e-5 * largest:
            break
        high, low = low, low / 2
    for _ in range(_MAX_HALVINGS):
        if abs(found - wanted) <= _TOLERANCE * wanted or high / low < 1 + 1e-4:
            break
        middle = (high * low) ** 0.5
        if (count_there := count(middle)) >= wanted:
            low, found = middle, count_there
        else:
            high = middle
    return replace(problem, lambda1=low)


def following(
    problem: ElasticNetProblem, n_found: float, n_nonzero_coefs: int
) -> ElasticNetProblem:
    """The problem whose lambda1 brings codes with `n_found` non-zeros nearer to what is wanted."""
    change = (n_found / n_nonzero_coefs) ** _GAIN
    change = min(max(change, 1 / _LARGEST_CHANGE), _LARGEST_CHANGE)
    return replace(problem, lambda1=problem.lambda1 * change)
