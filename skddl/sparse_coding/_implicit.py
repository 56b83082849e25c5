"""The code as a differentiable function, by the implicit function theorem on its support.

Where the support and the signs of a code stand still, its optimality conditions are the linear
equations ``(D_S D_S' + lambda2 I) a_S = D_S x - lambda1 sign(a_S)`` (atoms as rows). Their
derivative needs the present support only: no solver is unrolled.

Each step is a function of autograd's with a rule for ``torch.vmap``, so that ``torch.func`` gives
what autograd gives.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._gradient import gradient_of_beta, solve_on_supports
from ._gram import gram_matrix
from ._precision import full_precision
from ._problem import ElasticNetProblem
from ._solution import Gradient, Supports
from ._solvers import solve


@dataclass
class Coder:
    """What is to be computed, and how; and what that leaves for the gradient.

    Attributes
    ----------
    problem, solver
        As in :func:`._solvers.solve`.
    supports, gram
        Where to start, and ``D D'``, if they are known.
    differentiable : bool
        Whether the gradient will be asked for.
    gradient : callable or None
        The implicit derivative of the codes, where the solver has a way of its own.
    """

    problem: ElasticNetProblem
    solver: str
    supports: Supports | None = None
    gram: Tensor | None = None
    differentiable: bool = True
    gradient: Gradient | None = None


def _known_signature(forward: Any) -> Any:
    """Note the signature of a function: torch asks for it in each call, and takes 100 us."""
    forward.__signature__ = inspect.signature(forward)
    return staticmethod(forward)


class _OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError("Codes have no second derivative: their first one is that of a support.")

    jvp = backward


class ImplicitCode(torch.autograd.Function):
    """``codes = alpha*(x, D)``, differentiated as in Algorithm 1 and Eq. (12) of paper 1."""

    @_known_signature
    def forward(X: Tensor, dictionary: Tensor, coder: Coder) -> Tensor:
        solution = solve(
            coder.problem,
            X,
            dictionary,
            solver=coder.solver,
            init=coder.supports,
            gram=coder.gram,
            differentiable=coder.differentiable,
        )
        coder.gradient = solution.gradient
        # What is returned gets to hold this node: the gradient must not hold that very tensor.
        return solution.codes.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        X, dictionary, ctx.coder = inputs
        ctx.save_for_backward(X, dictionary, output)
        ctx.save_for_forward(X, dictionary, output)

    @staticmethod
    def backward(ctx: Any, grad_codes: Tensor) -> tuple[Tensor | None, ...]:
        # Raises if they were changed since.
        X, dictionary, codes = ctx.saved_tensors
        needs_X, needs_dictionary = ctx.needs_input_grad[:2]
        grad_X, grad_dictionary = _CodeGradient.apply(
            grad_codes, X, dictionary, codes, ctx.coder, needs_dictionary
        )
        return grad_X if needs_X else None, grad_dictionary, None

    @staticmethod
    def jvp(ctx: Any, X_t: Tensor | None, dictionary_t: Tensor | None, _: None) -> Tensor:
        """``da_S = (D_S D_S' + lambda2 I)^-1 (D_S (dx - a dD)' + dD_S (x - a D)')``."""
        X, dictionary, codes = ctx.saved_tensors
        with full_precision(X.device):
            change = torch.zeros_like(X) if X_t is None else X_t
            right = change @ dictionary.mT
            if dictionary_t is not None:
                right = right - (codes @ dictionary_t) @ dictionary.mT
                right = right + (X - codes @ dictionary) @ dictionary_t.mT
            return _SupportSolve.apply(right, dictionary, codes, ctx.coder.problem)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], X: Tensor, dictionary: Tensor, coder: Coder
    ) -> tuple[Tensor, int]:
        # Its memory is not of these samples, and what it keeps for the gradient is of one call.
        return _in_one_batch(
            lambda X, dictionary: ImplicitCode.apply(
                X, dictionary, Coder(coder.problem, coder.solver)
            ),
            info,
            (X, in_dims[0]),
            dictionary=(dictionary, in_dims[1]),
        )


class _CodeGradient(_OnceDifferentiable):
    """From ``dl/da`` to ``dl/dX`` and, if wanted, ``dl/dD``."""

    @_known_signature
    def forward(
        grad_codes: Tensor,
        X: Tensor,
        dictionary: Tensor,
        codes: Tensor,
        coder: Coder,
        needs_dictionary: bool,
    ) -> tuple[Tensor, Tensor | None]:
        with full_precision(X.device):
            if coder.gradient is not None:
                return coder.gradient(grad_codes, needs_dictionary)
            beta = _SupportSolve.forward(grad_codes, dictionary, codes, coder.problem)
            return gradient_of_beta(X, dictionary, codes, beta, needs_dictionary)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        grad_codes: Tensor,
        X: Tensor,
        dictionary: Tensor,
        codes: Tensor,
        coder: Coder,
        needs_dictionary: bool,
    ) -> tuple[Any, Any]:
        def gradient(grad_codes: Tensor, X: Tensor, dictionary: Tensor, codes: Tensor) -> Any:
            beta = _SupportSolve.apply(grad_codes, dictionary, codes, coder.problem)
            found = gradient_of_beta(X, dictionary, codes, beta, needs_dictionary)
            return found if needs_dictionary else found[0]

        with full_precision(X.device):
            found = torch.vmap(gradient, in_dims=in_dims[:4])(grad_codes, X, dictionary, codes)
        return (found, (0, 0)) if needs_dictionary else ((found, None), (0, None))


class _SupportSolve(_OnceDifferentiable):
    """``(D_S D_S' + lambda2 I)^-1 right_S`` on the support S of each code, 0 elsewhere."""

    @_known_signature
    def forward(
        right: Tensor, dictionary: Tensor, codes: Tensor, problem: ElasticNetProblem
    ) -> Tensor:
        return solve_on_supports(problem, gram_matrix(dictionary), codes, right)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        right: Tensor,
        dictionary: Tensor,
        codes: Tensor,
        problem: ElasticNetProblem,
    ) -> tuple[Tensor, int]:
        return _in_one_batch(
            lambda right, codes, dictionary: _SupportSolve.apply(right, dictionary, codes, problem),
            info,
            (right, in_dims[0]),
            (codes, in_dims[2]),
            dictionary=(dictionary, in_dims[1]),
        )


def _in_one_batch(
    function: Any,
    info: Any,
    *rows: tuple[Tensor, int | None],
    dictionary: tuple[Tensor, int | None],
) -> tuple[Tensor, int]:
    """A function of rows and of one dictionary, mapped over them: as one batch of more rows.

    Over dictionaries, one after the other.
    """
    n = info.batch_size
    batches = [
        values.expand(n, *values.shape) if dim is None else values.movedim(dim, 0)
        for values, dim in rows
    ]
    atoms, dim = dictionary
    if dim is None:
        outputs = function(*(values.flatten(0, 1) for values in batches), atoms)
        return outputs.unflatten(0, (n, -1)), 0
    each = zip(*batches, atoms.movedim(dim, 0), strict=True)
    return torch.stack([function(*inputs) for inputs in each]), 0
