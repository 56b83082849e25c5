"""Codes by accelerated proximal gradient in torch, on any device, finished by an exact solve."""

import torch
from torch import Tensor

from ._active_set import polish
from ._problem import ElasticNetProblem

# Iterations between two looks at which samples have settled: a look synchronises the device.
_CHECK_EVERY = 20
# Rounding of the codes themselves leaves more than this.
_POLISH_TOL = {torch.float32: 1e-6, torch.float64: 1e-12}
# Samples coded at a time, times atoms: bounds the memory of the supports' linear systems.
_CHUNK_ELEMENTS = 2**22


class FistaSolver:
    """FISTA (Beck and Teboulle, 2009) with adaptive restart, batched, with per-sample stopping.

    A sample leaves the iteration when its support and signs have stood still; an active-set
    method then makes its code exact.
    """

    name = "fista"

    @staticmethod
    def is_available(device: torch.device) -> bool:
        """Always: plain torch on any device."""
        return True

    def solve(
        self,
        problem: ElasticNetProblem,
        X: Tensor,
        dictionary: Tensor,
        *,
        init: Tensor | None,
        tol: float | None,
        max_iter: int | None,
    ) -> tuple[Tensor, Tensor]:
        """Codes and their KKT residuals."""
        codes = X.new_zeros((len(X), len(dictionary))) if init is None else init.clone()
        residual = X.new_zeros(len(X))
        chunk = max(1, _CHUNK_ELEMENTS // len(dictionary))
        for start in range(0, len(X), chunk):
            rows = slice(start, start + chunk)
            _iterate(
                problem, X[rows], dictionary, codes[rows], 300 if max_iter is None else max_iter
            )
            codes[rows], residual[rows] = polish(
                problem,
                X[rows],
                dictionary,
                codes[rows],
                tol=_POLISH_TOL[X.dtype] if tol is None else tol,
                max_rounds=10 * len(dictionary) if max_iter is None else max_iter,
            )
        return codes, residual


def _iterate(
    problem: ElasticNetProblem, X: Tensor, dictionary: Tensor, codes: Tensor, max_iter: int
) -> None:
    """FISTA on all samples until the supports stand still; overwrites `codes`."""
    small = dictionary.T if dictionary.shape[0] > dictionary.shape[1] else dictionary
    lipschitz = torch.linalg.eigvalsh(small @ small.T)[-1] + problem.lambda2
    step = 1 / lipschitz.clamp_min(torch.finfo(X.dtype).tiny)
    threshold = step * problem.lambda1

    todo = torch.arange(len(X), device=X.device)
    x, a = X, codes.clone()
    point, momentum, signs = a, X.new_ones((len(X), 1)), a.sign()
    for iteration in range(1, max_iter + 1):
        forward = point + step * problem.correlation(x, dictionary, point)
        if problem.positive:
            new = (forward - threshold).clamp_(min=0)
        else:
            new = torch.nn.functional.softshrink(forward, float(threshold))
        # Restart where the momentum points uphill (O'Donoghue and Candes, 2015).
        uphill = ((point - new) * (new - a)).sum(1, keepdim=True) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        grown = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        point = new + (momentum - 1) / grown * (new - a)
        a, momentum = new, grown
        if iteration % _CHECK_EVERY == 0 or iteration == max_iter:
            codes[todo] = a
            moving = (a.sign() != signs).any(1)
            if not bool(moving.any()):
                return
            todo, x, a, point, momentum = (v[moving] for v in (todo, x, a, point, momentum))
            signs = a.sign()
