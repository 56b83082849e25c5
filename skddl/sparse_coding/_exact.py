"""Exact codes on a CPU, by the compiled core."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _core
from ._core import as_array
from ._gradient import gradient_of_beta, solve_on_supports
from ._gram import gram_matrix
from ._polish import polish
from ._precision import ACCEPTED_RESIDUAL
from ._problem import ElasticNetProblem
from ._solution import Gradient, Solution, Supports
from ._threads import count_threads, team

# What it takes, about, to find a support of some 20 atoms, in multiply-adds.
_WORK_OF_A_SUPPORT = 20_000
# And the gradient, per feature of a sample: some 20 atoms, of which each enters it three times.
_WORK_PER_FEATURE = 60


def encode_exactly(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    *,
    init: Tensor | Supports | None = None,
    tol: float | None = None,
    max_iter: int | None = None,
    differentiable: bool = False,
    gram: Tensor | None = None,
) -> Solution:
    """Codes and bounds on their KKT residuals. `init`, if `Supports`, is brought up to date."""
    if max_iter is None:
        max_iter = 10 * len(dictionary)
    codes = X.new_empty((len(X), len(dictionary)))
    bounds = np.empty(len(X))
    derivative = _core.core.encode(
        team(),
        count_threads(len(X) * (dictionary.numel() + _WORK_OF_A_SUPPORT)),
        as_array(X),
        as_array(dictionary),
        None if gram is None else as_array(gram),
        as_array(init) if isinstance(init, Tensor) else None,
        init.arrays() if isinstance(init, Supports) else None,
        codes.numpy(),
        bounds,
        lambda1=problem.lambda1,
        lambda2=problem.lambda2,
        positive=problem.positive,
        max_rounds=max_iter,
        differentiable=differentiable,
    )
    residual = torch.from_numpy(bounds)
    tol = ACCEPTED_RESIDUAL[X.dtype] if tol is None else tol
    if not (bounds <= tol).all():
        poor = ~(residual <= tol)
        failed = ~residual.isfinite()
        # They may be better than their bound.
        x, atoms = X[poor].double(), dictionary.double()
        residual[poor] = problem.kkt_residual(x, atoms, codes[poor].double())
        again = ~(residual <= tol)
        if X.dtype == torch.float64:
            again &= failed  # the others are as good as rounding or `max_iter` allows
        if len(again := again.nonzero()[:, 0]):
            codes[again], residual[again] = _encode_again(
                problem, X[again], dictionary, codes[again], tol, max_iter
            )
            if differentiable:
                derivative.forget(again.tolist())
    gradient = _gradient(problem, X, dictionary, codes, derivative) if differentiable else None
    return Solution(codes, residual, gradient)


def _encode_again(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    tol: float,
    max_iter: int,
) -> tuple[Tensor, Tensor]:
    """Codes of samples for which the type was too coarse, and their KKT residuals.

    They, too, do not depend on the neighbours of a sample, as products of whole batches do.
    """
    x, atoms = X.double(), dictionary.double()
    if X.dtype == torch.float32:
        exact = encode_exactly(
            problem, x, atoms, init=codes.double(), tol=tol, max_iter=max_iter
        ).codes
        codes = exact.float()
        return codes, problem.kkt_residual(x, atoms, codes.double())
    polished = [
        polish(problem, sample, dictionary, code, tol=tol, max_rounds=max_iter)
        for sample, code in zip(X.split(1), codes.split(1), strict=True)
    ]
    codes, residual = (torch.cat(parts) for parts in zip(*polished, strict=True))
    return codes, residual


def _gradient(
    problem: ElasticNetProblem, X: Tensor, dictionary: Tensor, codes: Tensor, derivative: Any
) -> Gradient:
    """Algorithm 1 and Eq. (12) of paper 1, with the factors that the codes ended with."""

    def gradient(grad_codes: Tensor, needs_dictionary: bool) -> tuple[Tensor, Tensor | None]:
        grad_X = X.new_empty(X.shape)
        grad_dictionary = dictionary.new_empty(dictionary.shape) if needs_dictionary else None
        derivative.gradient(
            team(),
            count_threads(X.numel() * _WORK_PER_FEATURE),
            as_array(grad_codes),
            grad_X.numpy(),
            None if grad_dictionary is None else grad_dictionary.numpy(),
        )
        if len(rows := torch.tensor(derivative.missing, dtype=torch.int64)):
            beta = solve_on_supports(
                problem, gram_matrix(dictionary), codes[rows], grad_codes[rows]
            )
            grad_X[rows], more = gradient_of_beta(
                X[rows], dictionary, codes[rows], beta, needs_dictionary
            )
            if grad_dictionary is not None and more is not None:
                grad_dictionary += more
        return grad_X, grad_dictionary

    return gradient
