"""The derivative of the elastic-net code, by the implicit function theorem on its support."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._precision import full_precision
from ._problem import ElasticNetProblem
from ._solvers import solve
from ._support import SupportSystem


class ImplicitCode(torch.autograd.Function):
    """``codes = alpha*(x, D)``, differentiated as in Algorithm 1 and Eq. (12) of paper 1.

    Where the support and the signs of a code stand still, its optimality conditions are the linear
    equations ``(D_S D_S' + lambda2 I) a_S = D_S x - lambda1 sign(a_S)`` (atoms as rows). Their
    derivative needs the present support only: no solver is unrolled.
    """

    @staticmethod
    def forward(
        ctx: Any, X: Tensor, dictionary: Tensor, problem: ElasticNetProblem, solver: str
    ) -> Tensor:
        codes = solve(problem, X, dictionary, solver=solver)
        ctx.save_for_backward(X, dictionary, codes)
        ctx.problem = problem
        return codes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_codes: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        X, dictionary, codes = ctx.saved_tensors
        with full_precision(X.device):
            system = SupportSystem(dictionary @ dictionary.T, ctx.problem.lambda2, codes != 0)
            # Algorithm 1: beta_S = (D_S D_S' + lambda2 I)^-1 dl/da_S, beta = 0 elsewhere.
            beta = system.scatter(system.solve(system.gather(grad_codes)))
            # A sample without a code (NaN) has no gradient either.
            beta = beta.masked_fill_(codes.isnan(), torch.nan)
            # Eq. (12): dl/dx = D beta, to be propagated through the features.
            grad_X = beta @ dictionary
            grad_dictionary = None
            if ctx.needs_input_grad[1]:
                # Algorithm 1, last line: -D beta a' + (x - D a) beta'.
                residual = torch.addmm(X, codes, dictionary, alpha=-1)
                grad_dictionary = torch.addmm(beta.T @ residual, codes.T, grad_X, alpha=-1)
        return grad_X if ctx.needs_input_grad[0] else None, grad_dictionary, None, None
