"""The code as a differentiable function, by the implicit function theorem on its support."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._gradient import gradient_of_beta, solve_on_supports
from ._gram import gram_matrix
from ._precision import full_precision
from ._problem import ElasticNetProblem
from ._solution import Supports
from ._solvers import solve


class ImplicitCode(torch.autograd.Function):
    """``codes = alpha*(x, D)``, differentiated as in Algorithm 1 and Eq. (12) of paper 1.

    Where the support and the signs of a code stand still, its optimality conditions are the linear
    equations ``(D_S D_S' + lambda2 I) a_S = D_S x - lambda1 sign(a_S)`` (atoms as rows). Their
    derivative needs the present support only: no solver is unrolled.
    """

    @staticmethod
    def forward(
        ctx: Any,
        X: Tensor,
        dictionary: Tensor,
        problem: ElasticNetProblem,
        solver: str,
        supports: Supports | None,
    ) -> Tensor:
        solution = solve(problem, X, dictionary, solver=solver, init=supports, differentiable=True)
        # What is returned gets to hold this node: the gradient must not hold that very tensor.
        codes = solution.codes.detach()
        ctx.save_for_backward(X, dictionary, codes)
        ctx.problem, ctx.gradient = problem, solution.gradient
        return codes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_codes: Tensor) -> tuple[Tensor | None, ...]:
        X, dictionary, codes = ctx.saved_tensors  # raises if they were changed since
        needs_X, needs_dictionary = ctx.needs_input_grad[:2]
        with full_precision(X.device):
            if ctx.gradient is None:
                beta = solve_on_supports(ctx.problem, gram_matrix(dictionary), codes, grad_codes)
                grad_X, grad_dictionary = gradient_of_beta(
                    X, dictionary, codes, beta, needs_dictionary
                )
            else:
                grad_X, grad_dictionary = ctx.gradient(grad_codes, needs_dictionary)
        return grad_X if needs_X else None, grad_dictionary, None, None, None
