"""The implicit derivative of codes, by dense products."""

import torch
from torch import Tensor

from ._problem import ElasticNetProblem
from ._support import SupportSystem


def dense_gradient(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    grad_codes: Tensor,
    needs_dictionary: bool,
    *,
    gram: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """``dl/dX`` and ``dl/ddictionary`` from ``dl/dcodes`` (Algorithm 1 and Eq. 12 of paper 1)."""
    gram = dictionary @ dictionary.T if gram is None else gram
    system = SupportSystem(gram, problem.lambda2, codes != 0)
    # Algorithm 1: beta_S = (D_S D_S' + lambda2 I)^-1 dl/da_S, beta = 0 elsewhere.
    beta = system.scatter(system.solve(system.gather(grad_codes)))
    # A sample without a code (NaN) has no gradient either.
    beta = beta.masked_fill_(codes.isnan(), torch.nan)
    # Eq. (12): dl/dx = D beta, to be propagated through the features.
    grad_X = beta @ dictionary
    if not needs_dictionary:
        return grad_X, None
    # Algorithm 1, last line: -D beta a' + (x - D a) beta'.
    residual = torch.addmm(X, codes, dictionary, alpha=-1)
    return grad_X, torch.addmm(beta.T @ residual, codes.T, grad_X, alpha=-1)
