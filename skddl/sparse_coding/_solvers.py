"""The solvers by name, and what they have in common."""

import warnings
from typing import Protocol

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from ._active_set import ActiveSetSolver
from ._finite import all_finite
from ._fista import FistaSolver
from ._precision import full_precision
from ._problem import ElasticNetProblem
from ._solution import Solution, Supports
from ._spams import SpamsSolver


class Solver(Protocol):
    """What a sparse coder must offer: add one by writing this class and a line in `SOLVERS`."""

    name: str

    def is_available(self, device: torch.device) -> bool:
        """Whether the solver works here, on tensors of this device."""

    def solve(
        self,
        problem: ElasticNetProblem,
        X: Tensor,
        dictionary: Tensor,
        *,
        init: Tensor | Supports | None,
        tol: float | None,
        max_iter: int | None,
        differentiable: bool,
        gram: Tensor | None,
    ) -> Solution:
        """Codes, and what is known of them.

        Tensors are detached, finite, of one dtype (float32 or float64) and on one device; codes
        come back alike. Samples are solved independently of one another. `init`, codes or their
        supports, may be ignored. `tol` is a KKT residual in units of lambda1; None asks for as much
        as the method gives. `differentiable`: whether the gradient will be asked for. `gram`:
        ``D D'``, where that is known already.
        """


# In the order in which "auto" tries them.
SOLVERS: dict[str, Solver] = {
    solver.name: solver for solver in (ActiveSetSolver(), SpamsSolver(), FistaSolver())
}

# What they need beside torch.
_PACKAGES = {"active-set": "the compiled core, or with CUDA Triton,", "spams": "spams-bin"}

# A residual above this is reported: the accuracy that the package promises.
PROMISED_RESIDUAL = {torch.float32: 1e-4, torch.float64: 1e-6}


def get_solver(name: str, device: torch.device) -> Solver:
    """The solver called `name`; for "auto" the first one that works on `device`.

    Raises
    ------
    ValueError
        If there is no such solver, or it does not work here.
    """
    if not isinstance(name, str) or name not in ("auto", *SOLVERS):
        raise ValueError(f"solver must be one of {['auto', *SOLVERS]}, got {name!r}.")
    candidates = SOLVERS.values() if name == "auto" else [SOLVERS[name]]
    for solver in candidates:
        if solver.is_available(device):
            return solver
    raise ValueError(
        f"solver={name!r} does not work here (is {_PACKAGES.get(name, 'it')} installed? does it "
        f"support device {device.type!r}?). Use solver='auto', on a CPU or with CUDA."
    )


def solve(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    *,
    solver: str = "auto",
    init: Tensor | Supports | None = None,
    tol: float | None = None,
    max_iter: int | None = None,
    differentiable: bool = False,
    gram: Tensor | None = None,
    finite: bool = False,
) -> Solution:
    """Codes of the rows of `X`, with a `ConvergenceWarning` where they are not optimal.

    `finite`: whether samples and atoms are known to be.
    """
    method = get_solver(solver, X.device)
    for name, weight in (("lambda1", problem.lambda1), ("lambda2", problem.lambda2)):
        if weight > torch.finfo(X.dtype).max:
            raise ValueError(f"{name}={weight:g} is beyond {X.dtype}: decrease it.")
    if not len(X):
        return Solution(X.new_zeros((0, len(dictionary))), X.new_zeros(0))
    if not (finite or (all_finite(X) and all_finite(dictionary))):
        # What is learned can overflow. Such a sample has no code: a loss over it is not finite.
        codes = X.new_full((len(X), len(dictionary)), torch.nan)
        residual = X.new_full((len(X),), torch.nan)
        solvable = X.isfinite().all(1) & dictionary.isfinite().all()
        solution = solve(
            problem,
            X[solvable],
            dictionary,
            solver=solver,
            init=init[solvable] if isinstance(init, Tensor) else None,
            tol=tol,
            max_iter=max_iter,
        )
        codes[solvable], residual[solvable] = solution.codes, solution.residual.to(X.dtype)
        return Solution(codes, residual)
    with full_precision(X.device):
        # Detached, not under no_grad: a Ctrl-C while that begins or ends would leave it on.
        solution = method.solve(
            problem,
            X.detach(),
            dictionary.detach(),
            init=init.detach() if isinstance(init, Tensor) else init,
            tol=tol,
            max_iter=max_iter,
            differentiable=differentiable,
            gram=gram,
        )
    promised = max(PROMISED_RESIDUAL[X.dtype], tol or 0.0)
    if not float(solution.residual.max()) <= promised:
        advice = "lambda1 or lambda2" if max_iter is None else "max_iter"
        if max_iter is None and X.dtype == torch.float32:
            advice += ", or use float64 (of an estimator: dtype='float64')"
        # In words that stay the same: in training, Python then says it once.
        warnings.warn(
            f"Some codes are not optimal: their KKT residual exceeds {promised:g} lambda1. "
            f"Increase {advice}. (skddl.sparse_coding.kkt_residual tells which and by how much.)",
            ConvergenceWarning,
            stacklevel=3,
        )
    return solution
