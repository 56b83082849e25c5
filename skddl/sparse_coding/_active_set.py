"""Exact codes by an active-set method, compiled."""

import torch
from torch import Tensor

from . import _active_set_triton
from ._gradient import gradient_of_beta, solve_on_supports
from ._gram import gram_matrix
from ._job import Job, plain, scratch
from ._optional import can_import
from ._polish import polish
from ._precision import ACCEPTED_RESIDUAL
from ._problem import ElasticNetProblem
from ._solution import Solution, Supports

# Atoms of a code that are kept for its derivative, and numbers per sample, in the mean of a few
# samples, for their factor: room, of which only what is used is ever touched. Where there is too
# little, nothing is kept.
_WIDTH, _ROOM = 128, 64 * 65 // 2
# What it takes, about, to find a support of some 20 atoms, in multiply-adds.
_WORK_OF_A_SUPPORT = 20_000


class ActiveSetSolver:
    """Feature-sign search (Lee et al., NIPS 2006), several atoms at a time, compiled.

    On the CPU, numba's loops share the samples among torch's threads. Each round solves the problem
    exactly for the present support and signs, by Cholesky factors that are updated; entries whose
    sign turned leave, and the atoms that violate optimality most enter. Once the objective does not
    decrease, atoms enter and leave one by one, which always ends. With CUDA, Triton's kernels do
    much the same, a sample to a program: see :mod:`._active_set_triton`.
    """

    name = "active-set"

    @staticmethod
    def is_available(device: torch.device) -> bool:
        """Where there is numba, for the CPU, or Triton, for CUDA."""
        if device.type == "cuda":
            return _active_set_triton.is_available(device)
        return device.type == "cpu" and can_import("numba")

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
        work = _Work(problem, plain(X), plain(dictionary))
        residual, codes = work.encode(gram, init, max_iter, differentiable), work.codes
        tol = ACCEPTED_RESIDUAL[X.dtype] if tol is None else tol
        if len(poor := (~(residual <= tol)).nonzero()[:, 0]):
            failed = ~residual.isfinite()
            # They may be better than their bound.
            x, atoms = X[poor].double(), dictionary.double()
            residual[poor] = problem.kkt_residual(x, atoms, codes[poor].double())
            again = ~(residual <= tol)
            if X.dtype == torch.float64:
                again &= failed  # the others are as good as rounding or `max_iter` allows
            if len(again := again.nonzero()[:, 0]):
                codes[again], residual[again] = self._solve_again(
                    problem, X[again], dictionary, codes[again], tol, max_iter
                )
                work.forget(again)
        return Solution(codes, residual, work.gradient if differentiable else None)

    def _solve_again(
        self,
        problem: ElasticNetProblem,
        X: Tensor,
        dictionary: Tensor,
        codes: Tensor,
        tol: float,
        max_iter: int | None,
    ) -> tuple[Tensor, Tensor]:
        """Codes of samples for which the type was too coarse, and their KKT residuals.

        They, too, do not depend on the neighbours of a sample, as products of whole batches do.
        """
        x, atoms = X.double(), dictionary.double()
        if X.dtype == torch.float32:
            exact = self.solve(
                problem, x, atoms, init=codes.double(), tol=tol, max_iter=max_iter
            ).codes
            codes = exact.float()
            return codes, problem.kkt_residual(x, atoms, codes.double())
        max_rounds = 10 * len(dictionary) if max_iter is None else max_iter
        polished = [
            polish(problem, sample, dictionary, code, tol=tol, max_rounds=max_rounds)
            for sample, code in zip(X.split(1), codes.split(1), strict=True)
        ]
        codes, residual = (torch.cat(parts) for parts in zip(*polished, strict=True))
        return codes, residual


class _Work:
    """Arrays of a call, and the compiled loops over them."""

    def __init__(self, problem: ElasticNetProblem, X: Tensor, dictionary: Tensor) -> None:
        self.problem, self.X, self.dictionary = problem, X, dictionary
        self.codes = X.new_zeros((len(X), len(dictionary)))
        self.job = Job.of_atoms(dictionary)
        self.job.set(
            n_samples=len(X),
            lambda1=problem.lambda1,
            lambda2=problem.lambda2,
            positive=problem.positive,
            X=X,
            codes=self.codes,
        )

    def encode(
        self,
        gram: Tensor | None,
        init: Tensor | Supports | None,
        max_iter: int | None,
        differentiable: bool,
    ) -> Tensor:
        """Fill in the codes; bounds on their KKT residuals."""
        n_samples, n_components = self.codes.shape
        width = min(n_components, _WIDTH) if differentiable else 0
        if isinstance(init, Supports):
            self.supports = init.read(width)
            if (n_rows := len(self.supports.atoms)) != n_samples:
                raise ValueError(f"Got supports of {n_rows} samples, but {n_samples} samples.")
        else:
            self.supports = Supports.empty(n_samples, width)
        if isinstance(init, Tensor):
            init = plain(init)
            self.job.set(init=init)
        if gram is None:
            gram = scratch("gram", (n_components, n_components), self.dictionary)
            self.job.form_gram(gram)
        if differentiable:
            room = min(_ROOM, width * (width + 1) // 2)
            self.factors = torch.empty(n_samples * room, dtype=torch.float64)
            self.offsets = torch.empty(n_samples, dtype=torch.int64)
            self.remainders = torch.empty_like(self.X)
            self.job.set(
                factors=self.factors, offsets=self.offsets, remainders=self.remainders, room=room
            )
        residual = torch.empty(n_samples, dtype=torch.float64)
        self.job.set(
            supports=self.supports.atoms,
            sizes=self.supports.sizes,
            width=self.supports.atoms.shape[1],
            warm=isinstance(init, Supports),
            residuals=residual,
            gram=gram,
            atom_norm=float(gram.diagonal().max()) ** 0.5,
            max_rounds=10 * n_components if max_iter is None else max_iter,
        )
        work = n_samples * (self.dictionary.numel() + _WORK_OF_A_SUPPORT)
        self.job.run("encode", work=work)
        if isinstance(init, Supports):
            init.write(self.supports)
        return residual

    def forget(self, rows: Tensor) -> None:
        """Take note that codes were changed: their factors are of no use."""
        if self.job.record["room"]:
            self.offsets[rows] = -1

    def gradient(self, grad_codes: Tensor, needs_dictionary: bool) -> tuple[Tensor, Tensor | None]:
        """Algorithm 1 and Eq. (12) of paper 1, with the factors that the codes ended with."""
        grad_codes = plain(grad_codes)
        beta = self.X.new_empty((len(self.X), self.supports.atoms.shape[1]))
        grad_X = torch.empty_like(self.X)
        job = self.job.copy()  # other threads may want another gradient of these codes
        job.set(grad_codes=grad_codes, beta=beta, grad_X=grad_X)
        work = self.X.numel() * _WIDTH // 2  # half of the atoms that there is room for
        job.run("differentiate", work=work)
        grad_dictionary = None
        if needs_dictionary:
            grad_dictionary = torch.empty_like(self.dictionary)
            job.set(grad_dictionary=grad_dictionary)
            job.run("accumulate", work=work)
        if len(rows := (self.offsets < 0).nonzero()[:, 0]):
            codes, X = self.codes[rows], self.X[rows]
            gram = gram_matrix(self.dictionary)
            some_beta = solve_on_supports(self.problem, gram, codes, grad_codes[rows])
            grad_X[rows], more = gradient_of_beta(
                X, self.dictionary, codes, some_beta, needs_dictionary
            )
            if grad_dictionary is not None and more is not None:
                grad_dictionary += more
        return grad_X, grad_dictionary
