"""What a dictionary starts from: atoms drawn from samples, and a weight that fits their scale."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

from .sparse_coding._encode import samples_at_a_time
from .sparse_coding._problem import ElasticNetProblem

# lambda1="auto", as a share of the mean norm of the samples: within a quarter of both of paper 1's
# settings (0.8 at norms of 14, 4 at norms of 67 to 92).
_AUTO_LAMBDA1 = 0.05
# Cosine of a sample and the one most like it below which samples are mostly noise; among how many
# it is sought, for each fifth of them.
_NOISY, _MAX_LIKE = 0.5, 500
# Mean norm below which a warning is due: codes get so small that nu1 would decide everything.
_SMALL_NORM = 2**-2.5
# Spread around their mean, over their norm, below which a warning is due: 1.5 times lambda1="auto".
_SMALL_SPREAD = 1.5 * _AUTO_LAMBDA1
# 1 - cosine of samples that differ by little more than rounding.
_ALIKE = 1e-5
# Of the norms of atoms, in float32 and by any solver.
_ROUNDING = 1e-3


def auto_lambda1(X: NDArray[Any]) -> float:
    """The meaning of ``lambda1="auto"`` for samples (or features) `X`.

    A share of their mean norm. Of samples that are mostly noise atoms find little again in others:
    there it is less, by as much as the samples that are most alike are less so than usual.
    """
    mean_norm = float(_norms(X).mean())
    if mean_norm == np.inf or (mean_norm == 0 and X.any()):
        raise ValueError("The squared norms of the samples are beyond float64: scale the samples.")
    # Samples that are all zero have no scale; any weight codes them.
    return _AUTO_LAMBDA1 * mean_norm * min(1, _likeness(X) / _NOISY) if mean_norm > 0 else 1.0


def _likeness(X: NDArray[Any]) -> float:
    """The median cosine, but for its sign, of a sample and the one that is most like it."""
    X = X[np.linspace(0, len(X) - 1, min(len(X), _MAX_LIKE), dtype=np.intp)]
    norms = _norms(X)
    X = np.divide(X[norms > 0], norms[norms > 0, None], dtype=X.dtype)
    if len(X) < 2:
        return 1.0
    some = np.arange(0, len(X), 5)
    cosines = np.abs(X[some] @ X.T)
    cosines[np.arange(len(some)), some] = 0  # of each with itself
    return float(np.median(cosines.max(axis=1))) or 1.0  # orthogonal ones say nothing of noise


def refuse_squares_out_of_range(X: NDArray[Any]) -> None:
    """Raise ValueError if the squares of samples are beyond their type."""
    limits = np.finfo(X.dtype)
    largest = _norms(X).max() ** 2
    if X.any() and not limits.tiny / limits.eps <= largest <= limits.max * limits.eps:
        raise squares_error(X.dtype)


def squares_error(dtype: np.dtype) -> ValueError:
    """The error of samples whose squares are too large or too small for their type."""
    return ValueError(
        f"The squares of the samples are beyond {dtype}: scale the samples"
        + (", or use float64 (of an estimator: dtype='float64')." if dtype == np.float32 else ".")
    )


def require_unit_ball(atoms: NDArray[Any]) -> None:
    """Raise ValueError for atoms from a file that are longer than atoms are."""
    if (_norms(atoms) > 1 + _ROUNDING).any():
        raise ValueError("there are atoms that are not in the unit ball")


def warn_of_scale(X: NDArray[Any], nu1: float | str) -> None:
    """Warn if what is to be coded for a linear output is small, or has much in common.

    A nu1 that is given holds back the weights that small codes need. What all samples have in
    common, if it is much, is all that an l1 norm of that weight leaves, and what gradient steps are
    about.
    """
    norms = _norms(X)
    mean_norm = float(norms.mean())
    if nu1 != "auto" and 0 < mean_norm < _SMALL_NORM:
        warnings.warn(
            f"What is coded has a mean norm of {mean_norm:.2g}. Codes as small as that need large "
            "weights W, which nu1 holds back: scale the samples, for example with "
            "SampleNormalizer, or lower nu1.",
            UserWarning,
            stacklevel=3,
        )
    mean = X.mean(axis=0, dtype=np.float64)
    common = float(np.linalg.norm(mean))
    parts = gen_batches(len(X), samples_at_a_time(*X.shape))
    spread = float(np.sqrt(sum(np.square(X[part] - mean).sum() for part in parts) / len(X)))
    if 1e-12 * common < spread < _SMALL_SPREAD * common:
        warnings.warn(
            f"What is coded varies by {spread:.2g} around a mean of norm {common:.2g}, which all "
            "samples have in common: subtract it, for example with StandardScaler, or with "
            "SampleNormalizer where all columns are of one kind.",
            UserWarning,
            stacklevel=3,
        )


def warn_of_zero_codes(
    problem: ElasticNetProblem, X: NDArray[Any], dictionary: NDArray[Any]
) -> None:
    """If no atom codes any sample of `X`, warn, and say which lambda1 would change that."""
    atoms = torch.from_numpy(dictionary)
    useful = 0.0
    for part in gen_batches(len(X), samples_at_a_time(*atoms.shape)):
        # torch warns of memory that is not writable, although nothing is written here.
        samples = torch.from_numpy(np.require(X[part], requirements="W"))
        useful = max(useful, float(problem.lambda_max(samples, atoms).max()))
    if useful == 0 and problem.positive and X.any():
        warnings.warn(
            "Every code is zero, since positive=True and no atom has a positive product with a "
            "sample: nothing can be learned.",
            ConvergenceWarning,
            stacklevel=3,
        )
    if 0 < useful <= problem.lambda1:
        warnings.warn(
            f"lambda1={problem.lambda1:g} is so large that every code is zero: nothing can be "
            f"learned. The largest useful value is {useful:.3g}.",
            ConvergenceWarning,
            stacklevel=3,
        )


def draw_atoms(
    X: NDArray[Any], n_atoms: int, rng: np.random.RandomState, *, positive: bool = False
) -> NDArray[Any]:
    """Samples scaled to unit norm; random directions where there are not enough that are not 0.

    Of samples in one direction, as the empty patches of images are, one is taken unless there are
    too few others: equal atoms would share their codes, and stay equal. If `positive`, of samples
    that have negative entries the other part is taken.
    """
    if positive:
        X = np.maximum(X, 0)
    norms = _norms(X)
    order = rng.permutation(np.flatnonzero(norms > 0))
    atoms, repeated = np.empty((0, X.shape[1]), X.dtype), []
    size = max(n_atoms, 256)
    for start in range(0, len(order), size):
        drawn = order[start : start + size]
        atoms = np.concatenate([atoms, (X[drawn] / norms[drawn, None]).astype(X.dtype)])
        again = np.triu(alike(atoms, atoms), 1).any(axis=0)
        repeated.append(atoms[again])
        atoms = atoms[~again]
        if len(atoms) >= n_atoms:
            break
    atoms = np.concatenate([atoms, *repeated])[:n_atoms]
    directions = rng.standard_normal((n_atoms - len(atoms), X.shape[1])).astype(X.dtype)
    if positive:
        np.abs(directions, out=directions)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.concatenate([atoms, directions])


def alike(atoms: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
    """Which atoms of unit norm are in the direction of which others."""
    return np.asarray(atoms @ others.T > 1 - _ALIKE)


def _norms(X: NDArray[Any]) -> NDArray[np.float64]:
    """Norms of the rows, in float64, since squares in float32 overflow soon."""
    return np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64))
