"""Exact solution of the elastic net from codes that are nearly optimal."""

import torch
from torch import Tensor

from ._problem import ElasticNetProblem
from ._support import SupportSystem

# Entries of all linear systems that are solved at a time: half a gigabyte.
_MATRIX_ELEMENTS = 2**26


def polish(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    *,
    tol: float,
    max_rounds: int,
) -> tuple[Tensor, Tensor]:
    """Codes of KKT residuals <= `tol` from `codes`, by an active-set method batched over samples.

    Each round solves the problem exactly for the present support and signs, moves towards that
    solution as far as the objective decreases, and, where the support was solved already, lets in
    the atom that violates optimality most (feature-sign search, Lee et al., NIPS 2006). Every
    round lowers the objective, so that each sample is done after finitely many of them.

    Parameters
    ----------
    problem : ElasticNetProblem
    X : Tensor of shape (n_samples, n_features)
    dictionary : Tensor of shape (n_components, n_features)
    codes : Tensor of shape (n_samples, n_components)
        Where to start.
    tol : float
        KKT residual, in units of lambda1, at which a sample is done. Where rounding does not
        allow as much, what rounding allows.
    max_rounds : int
        Bound on the number of rounds.

    The work is done in float64 also for float32 input: the codes are then as good as their
    type can hold.

    Returns
    -------
    codes : Tensor of shape (n_samples, n_components)
    residual : Tensor of shape (n_samples,)
        KKT residuals of the codes as they are returned, rounded to their type.
    """
    dtype = codes.dtype
    X, dictionary, codes = X.double(), dictionary.double(), codes.to(torch.float64, copy=True)
    gram = dictionary @ dictionary.T
    tolerance = rounding_floor(problem, X, dictionary).clamp_min(tol)
    todo = torch.arange(len(X), device=X.device)
    for _ in range(max_rounds):
        present = codes[todo]
        correlation = problem.correlation(X[todo], dictionary, present)
        violation = problem.violation(correlation, present)
        bound = tolerance[todo] * problem.lambda1
        unsolved = violation.amax(1) > bound
        todo, present, correlation, violation, bound = (
            values[unsolved] for values in (todo, present, correlation, violation, bound)
        )
        if not len(todo):
            break
        signs = _enter(present, correlation, violation, bound)
        width = max(1, int(signs.count_nonzero(1).max()))
        parts = (
            values.split(max(1, _MATRIX_ELEMENTS // width**2))
            for values in (present, correlation, signs)
        )
        moved = torch.cat([_move(problem, gram, *part) for part in zip(*parts, strict=True)])
        codes[todo] = moved
        # Rounding can leave a sample where no step changes it any more: asking again is no use.
        todo = todo[(moved != present).any(1)]
    codes = codes.to(dtype)
    return codes, problem.kkt_residual(X, dictionary, codes.double()).to(dtype)


def rounding_floor(problem: ElasticNetProblem, X: Tensor, dictionary: Tensor) -> Tensor:
    """KKT residual per sample that rounding alone can cause at the optimum."""
    # A correlation is a sum of products as large as ||x|| ||d||; its rounding error is a few eps
    # of that: 8 eps was enough on random, coherent and real dictionaries.
    scale = torch.linalg.vector_norm(X, dim=1) * torch.linalg.vector_norm(dictionary, dim=1).max()
    return 8 * torch.finfo(X.dtype).eps * scale / problem.lambda1


def _enter(codes: Tensor, correlation: Tensor, violation: Tensor, bound: Tensor) -> Tensor:
    """Signs on the supports, after the worst atom entered those that are solved.

    On a solved support, and only there, the next step is sure to move the entering atom in the
    direction of its sign; so one atom enters at a time, and none while the support is unsolved.
    """
    signs = codes.sign()
    used = codes != 0
    rows = (violation.where(used, 0.0).amax(1) <= bound).nonzero()[:, 0]
    entering = violation.masked_fill(used, -1.0)[rows].argmax(1)
    signs[rows, entering] = correlation[rows, entering].sign()
    return signs


def _move(
    problem: ElasticNetProblem, gram: Tensor, codes: Tensor, correlation: Tensor, signs: Tensor
) -> Tensor:
    """Go from `codes` towards the solution for fixed `signs`, as far as the objective decreases."""
    system = SupportSystem(gram, problem.lambda2, signs != 0)
    start, sign, slope = (system.gather(values) for values in (codes, signs, correlation))
    # The Newton step of the objective whose l1 norm is replaced by <sign, a>.
    newton = slope - problem.lambda1 * sign
    direction = system.solve(newton)
    end = start + direction
    crosses = end * sign < 0

    # First candidate: the minimiser on the segment. There the objective is convex, with a slope of
    # curvature * (t - 1) plus a jump of 2 lambda1 |d_j| for each entry that has crossed zero.
    # (On a ridged system <newton, d> exceeds the curvature: the step is then short, but downhill.)
    curvature = (newton * direction).sum(1, keepdim=True)
    crossing = torch.where(crosses, start / -direction, torch.inf)
    at, order = crossing.sort(1)
    jumps = 2 * problem.lambda1 * direction.abs().gather(1, order)
    if problem.positive:
        jumps.fill_(torch.inf)
    none = at.new_zeros((len(at), 1))
    before = torch.cat([none, jumps.where(at.isfinite(), 0.0).cumsum(1)], 1)
    root = 1 - before / curvature.clamp_min(torch.finfo(at.dtype).tiny)
    # `at` grows and `root` falls: they meet at the minimiser.
    step = torch.minimum(torch.cat([at, none + torch.inf], 1), root).amax(1, keepdim=True)
    on_segment = torch.where(crossing == step, 0.0, start + step * direction)

    # Second candidate: all entries that would cross zero leave at once. It need not be downhill,
    # but where many entries must leave it saves as many rounds.
    clipped = end.masked_fill(crosses, 0.0)

    def change(candidate: Tensor) -> Tensor:
        delta = candidate - start
        quadratic = (delta[:, None] @ system.matrix @ delta[:, :, None])[:, :, 0]
        linear = problem.lambda1 * (candidate.abs() - start.abs()) - slope * delta
        return 0.5 * quadratic + linear.sum(1, keepdim=True)

    best = torch.where(change(clipped) < change(on_segment), clipped, on_segment)
    return system.scatter(best)
