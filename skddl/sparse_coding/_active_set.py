"""The active-set solver, on a CPU and with CUDA."""

import torch
from torch import Tensor

from . import _active_set_triton, _core
from ._exact import encode_exactly
from ._gradient import gradient_of_beta
from ._problem import ElasticNetProblem
from ._solution import Solution, Supports


class ActiveSetSolver:
    """Feature-sign search (Lee et al., NIPS 2006), several atoms at a time, compiled.

    On the CPU, loops in C++ share the samples among threads: see ``core/active_set.hpp``. With
    CUDA, Triton's kernels do much the same, a sample to a program: see :mod:`._active_set_triton`.
    """

    name = "active-set"

    @staticmethod
    def is_available(device: torch.device) -> bool:
        """Where the core was compiled, for the CPU, or there is Triton, for CUDA."""
        if device.type == "cuda":
            return _active_set_triton.is_available(device)
        return device.type == "cpu" and _core.core is not None

    def solve(
        self,
        problem: ElasticNetProblem,
        X: Tensor,
        dictionary: Tensor,
        *,
        init: Tensor | Supports | None,
        tol: float | None,
        max_iter: int | None,
        differentiable: bool = False,
        gram: Tensor | None = None,
    ) -> Solution:
        """Codes and bounds on their KKT residuals. `init`, if `Supports`, is brought up to date."""
        if X.device.type == "cuda":
            start = init if isinstance(init, Tensor) else None
            codes, residual, factors = _active_set_triton.solve(
                problem, X, dictionary, init=start, tol=tol, max_iter=max_iter, gram=gram
            )
            return Solution(
                codes,
                residual,
                lambda grad_codes, needs_dictionary: gradient_of_beta(
                    X, dictionary, codes, factors.solve(grad_codes), needs_dictionary
                ),
            )
        return encode_exactly(
            problem,
            X,
            dictionary,
            init=init,
            tol=tol,
            max_iter=max_iter,
            differentiable=differentiable,
            gram=gram,
        )
