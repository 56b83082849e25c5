"""Exact codes by an active-set method in Triton: one launch solves all samples to their end."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from . import _core
from ._exact import encode_exactly
from ._fista import FistaSolver
from ._optional import can_import
from ._precision import ACCEPTED_RESIDUAL
from ._problem import ElasticNetProblem
from ._solution import Solution
from ._support import SupportSystem

# Slots for atoms in use, and warps, of the launches that follow one another. The inverse on the
# support stays in registers: fewer slots leave room for more samples at a time, and with fewer
# warps a sample waits less for itself.
_STAGES = ((64, 1), (128, 4))
# Atoms whose correlations are updated at a time, and atoms in use that are summed over at a time.
_BLOCK, _ROWS = 512, 4
# Atoms that enter between two updates of all correlations.
_ENTER = 2
# KKT residual, in units of lambda1, at which the kernel is done ...
_TOL = {torch.float32: 1e-6, torch.float64: 1e-12}
# ... or this many eps of the largest correlation, which is what its sums are rounded to.
_ROUNDING = 4.0
# Products are added before they are rounded: the default of Triton up to 3.9, not of later ones.
_ROUND_ONCE = {"enable_fp_fusion": True}
# Entries of the codes that are computed at a time: bounds the memory.
_CHUNK_ELEMENTS = 2**23


def is_available(device: torch.device) -> bool:
    """Whether Triton can be imported and has kernels for `device`, if only interpreted ones."""
    interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    return (device.type == "cuda" or interpreted) and can_import("triton")


@dataclass
class SupportFactors:
    """The systems ``(D_S D_S' + lambda2 I) v = rhs`` on the supports S of `codes`.

    Parameters
    ----------
    hessian : Tensor of shape (n_components, n_components)
        ``D D' + lambda2 I``.
    codes : Tensor of shape (n_samples, n_components)
        Codes, whose non-zeros are the supports.
    width : int
        Number of non-zeros of the densest code, or a bound on it.
    """

    hessian: Tensor
    codes: Tensor
    width: int

    def solve(self, rhs: Tensor) -> Tensor:
        """Solutions of shape (n_samples, n_components), zero outside the supports.

        The systems are factorised here, anew: it takes a fraction of what the codes took, and
        those of the forward pass have seen atoms come and go.
        """
        if self.width > _STAGES[-1][0]:
            system = SupportSystem(self.hessian, 0.0, self.codes != 0)
            return system.scatter(system.solve(system.gather(rhs)))
        solution = torch.zeros_like(self.codes)
        if not self.width:
            return solution
        from . import _triton_kernels as kernels

        n_samples, n_atoms = self.codes.shape
        eps = torch.finfo(self.codes.dtype).eps
        rhs = rhs.to(self.codes.dtype).contiguous()
        values = rhs.new_empty((n_samples, _STAGES[-1][0]))
        atoms = torch.empty_like(values, dtype=torch.int32)
        counts = atoms.new_empty(n_samples)
        _list_supports(self.codes, atoms, values, counts, positive=False)
        fewer = 0
        for slots, warps in _STAGES:
            if fewer < self.width:
                with torch.cuda.device_of(rhs):
                    kernels.solve_on_support[(n_samples,)](
                        self.hessian,
                        atoms,
                        rhs,
                        counts,
                        solution,
                        n_atoms,
                        FEWER=fewer,
                        SLOTS=slots,
                        WIDTH=atoms.shape[1],
                        ROOT_EPS=eps**0.5,
                        # Computed in float64, with H on the support in registers, too.
                        num_warps=4 * warps,
                        **_ROUND_ONCE,
                    )
            fewer = slots
        return solution


def solve(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    *,
    init: Tensor | None,
    tol: float | None,
    max_iter: int | None,
    gram: Tensor | None = None,
) -> tuple[Tensor, Tensor, SupportFactors]:
    """Codes, their KKT residuals, and the linear systems on their supports.

    A kernel solves each sample in the type of `X`. The residuals are then computed in float64;
    samples above the tolerance are solved again in float64, and on the CPU where that does not help
    (more non-zeros than the kernel has slots for, supports that are nearly singular).
    The host waits for the device once per chunk of samples, unless there are such samples.

    Parameters
    ----------
    problem : ElasticNetProblem
    X : Tensor of shape (n_samples, n_features)
    dictionary : Tensor of shape (n_components, n_features)
    init : Tensor of shape (n_samples, n_components) or None
        Codes to start from.
    tol : float or None
        KKT residual, in units of lambda1, at which a code is accepted. None: as good as the
        method gives.
    max_iter : int or None
        Bound on the rounds of the active-set method. None: enough for any problem.
    gram : Tensor of shape (n_components, n_components), default=None
        ``D D'`` in the type of `X`, where it is known already.

    Returns
    -------
    codes : Tensor of shape (n_samples, n_components)
    residual : Tensor of shape (n_samples,)
    factors : SupportFactors
    """
    hessian = _hessian(problem, dictionary, gram)
    if not len(X):
        codes = X.new_zeros((0, len(dictionary)))
        return codes, X.new_zeros(0), SupportFactors(hessian, codes, 0)
    chunk = max(1, _CHUNK_ELEMENTS // len(dictionary))
    starts: Iterable[Tensor | None] = repeat(None) if init is None else init.split(chunk)
    solved = [
        _solve_chunk(problem, x, dictionary, hessian, start, tol, max_iter)
        for x, start in zip(X.split(chunk), starts, strict=False)
    ]
    # A copy of the codes would take as long as a good part of the computation.
    codes, residual = (
        parts[0] if len(parts) == 1 else torch.cat(parts)
        for parts in ([codes for codes, _, _ in solved], [residual for _, residual, _ in solved])
    )
    width = max(width for _, _, width in solved)
    return codes, residual, SupportFactors(hessian, codes, width)


def _hessian(problem: ElasticNetProblem, dictionary: Tensor, gram: Tensor | None) -> Tensor:
    hessian = dictionary @ dictionary.T if gram is None else gram
    if problem.lambda2:
        hessian = hessian.clone() if hessian is gram else hessian
        hessian.diagonal().add_(problem.lambda2)
    return hessian.contiguous()


def _solve_chunk(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    hessian: Tensor,
    init: Tensor | None,
    tol: float | None,
    max_iter: int | None,
) -> tuple[Tensor, Tensor, int]:
    """Codes, residuals, and the largest number of non-zeros or a bound on it."""
    X64, dictionary64 = X.double(), dictionary.double()
    codes, counts, exhausted = _launch(
        problem, X64, dictionary64, hessian, init, tol=tol, max_iter=max_iter
    )
    residual = problem.kkt_residual(X64, dictionary64, codes.double())
    accepted = ACCEPTED_RESIDUAL[X.dtype] if tol is None else tol
    failed = ~(residual <= accepted)
    if max_iter is not None:
        failed &= ~exhausted
    # The one look at the device.
    n_failed, width = torch.stack([failed.sum(), counts.amax()]).tolist()
    if n_failed:
        rows = failed.nonzero()[:, 0]
        codes[rows], residual[rows] = _solve_again(
            problem, X[rows], dictionary, codes[rows], residual[rows], accepted, max_iter
        )
        width = max(width, int(codes[rows].count_nonzero(1).max()))
    return codes, residual.to(X.dtype), width


def _solve_again(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    residual: Tensor,
    tol: float,
    max_iter: int | None,
) -> tuple[Tensor, Tensor]:
    """Codes and residuals (in float64) of samples that the kernel has not solved well enough."""
    X64, dictionary64 = X.double(), dictionary.double()
    if X.dtype != torch.float64:
        hessian = _hessian(problem, dictionary64, None)
        better, _, _ = _launch(
            problem, X64, dictionary64, hessian, codes.double(), tol=None, max_iter=max_iter
        )
        exact = problem.kkt_residual(X64, dictionary64, better)
        better = better.to(codes.dtype)
        of_better = problem.kkt_residual(X64, dictionary64, better.double())
        improves = ~(of_better >= residual)
        codes = better.where(improves[:, None], codes)
        residual = of_better.where(improves, residual)
        # Where the code in float64 is good, its rounding to float32 is as good as it gets.
        failed = ~((residual <= tol) | (exact <= 1e-7))
    else:
        failed = ~(residual <= tol)
    rows = failed.nonzero()[:, 0]
    if len(rows):
        start = codes[rows].nan_to_num(0.0, 0.0, 0.0)
        again = _solve_on_cpu(problem, X[rows], dictionary, start, max_iter)
        codes, residual = codes.clone(), residual.clone()
        codes[rows], residual[rows] = again.codes.to(codes), again.residual.to(residual)
    return codes, residual


def _solve_on_cpu(
    problem: ElasticNetProblem, X: Tensor, dictionary: Tensor, init: Tensor, max_iter: int | None
) -> Solution:
    """Codes by the compiled core, on the CPU; without it by FISTA, where the samples are."""
    if _core.core is None:
        return FistaSolver().solve(problem, X, dictionary, init=init, tol=None, max_iter=max_iter)
    return encode_exactly(problem, X.cpu(), dictionary.cpu(), init=init.cpu(), max_iter=max_iter)


def _launch(
    problem: ElasticNetProblem,
    X64: Tensor,
    dictionary64: Tensor,
    hessian: Tensor,
    init: Tensor | None,
    *,
    tol: float | None,
    max_iter: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of the type of `hessian`, their numbers of non-zeros, which would need more rounds."""
    from . import _triton_kernels as kernels

    n_samples, n_atoms = len(X64), len(dictionary64)
    dtype, device = hessian.dtype, hessian.device
    eps = torch.finfo(dtype).eps
    # The kernel's lambda1 is 1.
    linear = ((X64 / problem.lambda1) @ dictionary64.T).to(dtype)
    width = _STAGES[-1][0]
    atoms = torch.empty((n_samples, width), dtype=torch.int32, device=device)
    values = torch.empty_like(atoms, dtype=dtype)
    counts, status = (atoms.new_zeros(n_samples) for _ in range(2))
    if init is not None:
        _list_supports(init, atoms, values, counts, positive=problem.positive)
        values /= problem.lambda1
        # A code that dense is no guide to the support.
        counts.masked_fill_(counts > width, 0)
    correlation, codes = torch.empty_like(linear), torch.zeros_like(linear)
    with torch.cuda.device_of(linear):
        for slots, warps in _STAGES:
            kernels.active_set[(n_samples,)](
                linear,
                hessian,
                atoms,
                values,
                counts,
                status,
                correlation,
                codes,
                n_atoms,
                _TOL[dtype] if tol is None else max(0.5 * tol, _TOL[dtype]),
                10 * n_atoms if max_iter is None else min(max_iter, 2**30),
                POSITIVE=problem.positive,
                SLOTS=slots,
                WIDTH=width,
                IS_LAST=slots == width,
                BLOCK=_BLOCK,
                ROWS=min(_ROWS, slots),
                ENTER=_ENTER,
                # Inverses lose this many digits at most; the rounds make up for them.
                SINGULAR=eps**0.5,
                ROUNDING=_ROUNDING * eps,
                num_warps=_warps(warps, dtype),
                **_ROUND_ONCE,
            )
    return codes.mul_(problem.lambda1), counts, status == kernels.EXHAUSTED.value


def _list_supports(
    codes: Tensor, atoms: Tensor, values: Tensor, counts: Tensor, *, positive: bool
) -> None:
    """Write atoms in use and their values, up to the most slots, and the numbers of all."""
    from . import _triton_kernels as kernels

    with torch.cuda.device_of(codes):
        kernels.list_support[(len(codes),)](
            codes.contiguous(),
            atoms,
            values,
            counts,
            codes.shape[1],
            POSITIVE=positive,
            WIDTH=values.shape[1],
            BLOCK=_BLOCK,
            num_warps=4,
            **_ROUND_ONCE,
        )


def _warps(warps: int, dtype: torch.dtype) -> int:
    """Twice as many in float64, whose entries take twice the registers."""
    return 2 * warps if dtype == torch.float64 else warps
