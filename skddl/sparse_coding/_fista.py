"""Codes by accelerated proximal gradient in torch, finished by an exact solve."""

import torch
from torch import Tensor

from ._finish import finish
from ._problem import ElasticNetProblem
from ._solution import Solution, Supports

# More does not pay: where atoms are so coherent that this is too little, so are several thousand.
_MAX_ITER = 300
# Iterations between two looks at which samples have settled: a look costs as much as one of them,
# and synchronises the device.
_CHECK_EVERY = 10
# KKT residual, in units of lambda1, at which a sample has settled: its support is nearly right by
# then, and the active-set method is faster than more iterations.
_SETTLED = 0.1
# Rounding of the codes themselves leaves more than this.
_POLISH_TOL = {torch.float32: 1e-6, torch.float64: 1e-12}
# Entries of the codes that are computed at a time: bounds the memory of the iterates.
_CHUNK_ELEMENTS = 2**22


class FistaSolver:
    """FISTA (Beck and Teboulle, 2009) with adaptive restart, batched, with per-sample stopping.

    A sample leaves the iteration when its KKT residual is small; an active-set method then makes
    its code exact.
    """

    name = "fista"

    @staticmethod
    def is_available(device: torch.device) -> bool:
        """Where there is float64, in which codes are finished."""
        return device.type != "mps"

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
        """Codes and their KKT residuals."""
        codes = X.new_zeros((len(X), len(dictionary)))
        if isinstance(init, Tensor):
            codes.copy_(init)
        residual = X.new_zeros(len(X))
        chunk = max(1, _CHUNK_ELEMENTS // len(dictionary))
        for start in range(0, len(X), chunk):
            rows = slice(start, start + chunk)
            settled = _iterate(problem, X[rows], dictionary, codes[rows], max_iter or _MAX_ITER)
            finished = finish(
                problem,
                X[rows],
                dictionary,
                settled,
                tol=_POLISH_TOL[X.dtype] if tol is None else tol,
                max_rounds=max_iter or 10 * len(dictionary),
                gram=gram,
            )
            codes[rows], residual[rows] = finished.codes, finished.residual.to(X.dtype)
        return Solution(codes, residual)


def _iterate(
    problem: ElasticNetProblem, X: Tensor, dictionary: Tensor, codes: Tensor, max_iter: int
) -> Tensor:
    """FISTA from `codes` until each sample has settled; zeros for those that do not."""
    small = dictionary.T if dictionary.shape[0] > dictionary.shape[1] else dictionary
    lipschitz = float(torch.linalg.eigvalsh(small @ small.T)[-1]) + problem.lambda2
    step = 1 / max(lipschitz, torch.finfo(X.dtype).tiny)
    threshold = step * problem.lambda1

    settled = torch.zeros_like(codes)
    todo = torch.arange(len(X), device=X.device)
    x, a, point, age = X, codes, codes, X.new_zeros((len(X), 1))
    for iteration in range(1, max_iter + 1):
        forward = problem.correlation(x, dictionary, point).mul_(step).add_(point)
        if problem.positive:
            new = forward.sub_(threshold).clamp_(min=0)
        else:
            new = torch.nn.functional.softshrink(forward, threshold)
        # Restart where the momentum points uphill (O'Donoghue and Candes, 2015).
        moved = new - a
        uphill = ((point - new) * moved).sum(1, keepdim=True) > 0
        age = (age + 1).masked_fill_(uphill, 0)
        a, point = new, torch.addcmul(new, age / (age + 3), moved)
        if iteration % _CHECK_EVERY == 0 or iteration == max_iter:
            moving = problem.kkt_residual(x, dictionary, a) > _SETTLED
            settled[todo] = a.masked_fill(moving[:, None], 0)
            if not bool(moving.any()):
                break
            todo, x, a, point, age = (values[moving] for values in (todo, x, a, point, age))
    # A code far from its optimum is no guide to the support, and has much too large a one where
    # atoms are coherent: from zero, the active-set method stays among smaller ones.
    return settled.add_(0.0)  # softshrink makes zeros negative, too
