"""The implicit derivative of codes, by dense products."""

import torch
from torch import Tensor

from ._problem import ElasticNetProblem
from ._support import SupportSystem


def solve_on_supports(
    problem: ElasticNetProblem, gram: Tensor, codes: Tensor, grad_codes: Tensor
) -> Tensor:
    """Beta of Algorithm 1 of paper 1: ``(D_S D_S' + lambda2 I)^-1 dl/da_S``, and 0 elsewhere."""
    system = SupportSystem(gram, problem.lambda2, codes != 0)
    beta = system.scatter(system.solve(system.gather(grad_codes)))
    # A sample without a code (NaN) has no gradient either.
    return beta.masked_fill_(codes.isnan(), torch.nan)


def gradient_of_beta(
    X: Tensor, dictionary: Tensor, codes: Tensor, beta: Tensor, needs_dictionary: bool
) -> tuple[Tensor, Tensor | None]:
    """``dl/dX``, Eq. (12) of paper 1, and ``dl/ddictionary``, the last line of its Algorithm 1."""
    grad_X = beta @ dictionary  # D beta, to be propagated through the features
    if not needs_dictionary:
        return grad_X, None
    # -D beta a' + (x - D a) beta'
    residual = torch.addmm(X, codes, dictionary, alpha=-1)
    return grad_X, torch.addmm(beta.mT @ residual, codes.mT, grad_X, alpha=-1)
