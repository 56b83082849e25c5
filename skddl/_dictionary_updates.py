"""Online dictionary learning: the updates, and the loop over mini-batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import check_numbers
from ._blas import one_blas_thread
from ._first_atoms import (
    alike,
    auto_lambda1,
    draw_atoms,
    refuse_squares_out_of_range,
    squares_error,
)
from ._interrupts import interrupts
from ._sparsity import following, require_sparsity, with_nonzeros
from .sparse_coding import sparse_encode
from .sparse_coding._core import core
from .sparse_coding._problem import ElasticNetProblem
from .sparse_coding._threads import few_threads

# Samples that are in memory at a time: as many as task-driven learning starts from.
_MAX_SAMPLES = 60_000
# The weight of the t-th mini-batch in the means is that of one of the last t / 30, so that what the
# codes of early dictionaries have added fades soon; with fewer than 5 samples per atom in the means
# atoms would follow the noise, so that until then, and at first, it is that of one of t / 2.
_FADING, _SAMPLES_PER_ATOM = 30, 5
# An atom is replaced when none of so many mini-batches has used it; of a fit, at the least.
_LEAST_PATIENCE = 5
# Atoms whose products with one another are formed at once.
_BLOCK = 32


class DictionaryUpdates:
    """What the estimator learns by; it has the parameters.

    Algorithms have the numbers of Mairal, Bach, Ponce and Sapiro, "Online learning for matrix
    factorization and sparse coding", 2010: [1].
    """

    n_components: int | None
    lambda1: float | str
    lambda2: float
    n_nonzero_coefs: int | None
    positive: bool
    positive_dict: bool
    init: ArrayLike | None
    max_iter: int
    batch_size: int
    solver: str

    components_: NDArray[Any]
    n_iter_: int
    n_redrawn_: int
    _problem: ElasticNetProblem
    _started_with: dict[str, Any]
    _means: tuple[NDArray[Any], NDArray[Any]]

    def _start(self, X: NDArray[Any], rng: np.random.RandomState) -> None:
        """Set the first dictionary, and means of nothing."""
        n_components = X.shape[1] if self.n_components is None else int(self.n_components)
        require_sparsity(self.lambda1, self.n_nonzero_coefs, n_components)
        refuse_squares_out_of_range(X)
        if self.init is None:
            self.components_ = draw_atoms(X, n_components, rng, positive=self.positive_dict)
        else:
            init = check_numbers(self.init, "init").astype(np.float64)
            if init.shape != (n_components, X.shape[1]):
                raise ValueError(
                    f"init must have shape {(n_components, X.shape[1])}, got {init.shape}."
                )
            # Into the unit ball, where a square may be larger than the largest float.
            init /= np.maximum(1, np.abs(init).max(axis=1, keepdims=True))
            init /= np.maximum(1, np.linalg.norm(init, axis=1, keepdims=True))
            self.components_ = init.astype(X.dtype)
            if self.positive_dict:
                np.maximum(self.components_, 0, out=self.components_)
        lambda1 = auto_lambda1(X) if self.lambda1 == "auto" else float(self.lambda1)
        self._problem = ElasticNetProblem(lambda1, self.lambda2, self.positive)
        self._started_with = {
            name: getattr(self, name)
            for name in (
                "n_components",
                "lambda1",
                "lambda2",
                "n_nonzero_coefs",
                "positive",
                "positive_dict",
            )
        }
        self._settle_sparsity(X)
        self.n_iter_ = 0
        self.n_redrawn_ = 0
        self._means = (
            np.zeros((n_components, n_components), X.dtype),
            np.zeros((n_components, X.shape[1]), X.dtype),
        )

    def _learn(
        self,
        X: NDArray[Any],
        rng: np.random.RandomState,
        idle: NDArray[np.int64],
        after_batch: Callable[[], bool] = lambda: False,
    ) -> None:
        """All of `fit` that comes after the start.

        `idle` says, by atom, how many samples have come since the last one that used it.

        Mini-batches are drawn without replacement until all samples have been used. Those that
        `n_iter_` counts already have been learned from before, and are only drawn again. Learning
        ends where `after_batch` returns True.
        """
        n_done, n_batches = self.n_iter_, int(self.max_iter)
        size = min(int(self.batch_size), len(X))
        patience = max(_LEAST_PATIENCE * size, min(len(X), n_batches * size // 4))
        order = np.empty(0, dtype=np.intp)
        # All of it: what is learned must not depend on whether another fit has set a limit.
        with self._uninterrupted(size):
            for step in range(n_batches):
                if len(order) < size:
                    order = np.concatenate([order, rng.permutation(len(X))])
                rows, order = order[:size], order[size:]
                if step < n_done:
                    continue
                batch = as_float(X[rows])
                # What earlier passes have added fades within a pass or two.
                used = self._update(batch, least_weight=size / len(X))
                idle += size
                idle[used] = 0
                if len(unused := np.flatnonzero(idle >= patience)):
                    self._replace(unused, batch)
                    idle[unused] = 0
                if after_batch():
                    break

    def _settle_sparsity(self, X: NDArray[Any]) -> None:
        """Have the lambda1 at which codes of `X` in the present atoms are as sparse as wanted."""
        if self.n_nonzero_coefs is not None:
            with interrupts.allowed():
                self._problem = with_nonzeros(
                    self._problem, X, self.components_, self.n_nonzero_coefs
                )

    @contextmanager
    def _uninterrupted(self, batch_size: int) -> Iterator[None]:
        """Hold back Ctrl-C, and use as many threads as mini-batches of that size pay for."""
        # The limit of BLAS is inside: as it ends, an OpenBLAS on OpenMP changes torch's number.
        work = batch_size * self.components_.size
        with interrupts.held(), few_threads(work), one_blas_thread():
            yield

    def _update(self, X: NDArray[Any], least_weight: float = 0.0) -> NDArray[np.intp]:
        """Algorithm 1 of [1]: add a mini-batch to the means, and update the atoms.

        The weight of the mini-batch is at least `least_weight`. Returns the atoms it used.
        """
        with interrupts.allowed():
            codes = self._encode(X)
        self.n_iter_ += 1
        if self.n_nonzero_coefs is not None:
            found = float(np.count_nonzero(codes) / len(codes))
            scale = float(np.linalg.norm(X, axis=1).max())
            self._problem = following(self._problem, found, self.n_nonzero_coefs, scale)
        t, enough = self.n_iter_, len(X) / (_SAMPLES_PER_ATOM * len(self.components_))
        weight = max(2 / (t + 1), min(_FADING / (t + _FADING - 1), enough), least_weight)
        gram, cross = self._means
        gram *= 1 - weight
        cross *= 1 - weight
        used = _add(self._means, codes, X, weight / len(X))
        _descend(self.components_, gram, cross, bool(self.positive_dict))
        return used

    def _replace(self, unused: NDArray[np.intp], X: NDArray[Any]) -> None:
        """Replace atoms by the samples that are coded worst, and are no atoms already."""
        with interrupts.allowed():
            error = np.linalg.norm(X - self._encode(X) @ self.components_, axis=1)
        found = np.maximum(X, 0) if self.positive_dict else X
        norms = np.linalg.norm(found, axis=1)
        worst = np.argsort(-error, kind="stable")
        worst = worst[error[worst] * norms[worst] > 0]
        found = found[worst] / norms[worst, None]
        used = np.delete(self.components_, unused, axis=0)
        found = found[~alike(found, used).any(axis=1)]
        found = found[~np.triu(alike(found, found), 1).any(axis=0)][: len(unused)]
        unused = unused[: len(found)]
        self.components_[unused] = found
        gram, cross = self._means
        gram[unused] = gram[:, unused] = cross[unused] = 0
        self.n_redrawn_ += len(unused)

    def _encode(self, X: NDArray[Any], *, sparse_output: bool = False) -> Any:
        return sparse_encode(
            X,
            self.components_.astype(_float_type(X), copy=False),
            lambda1=self._problem.lambda1,
            lambda2=self._problem.lambda2,
            positive=self._problem.positive,
            solver=self.solver,
            sparse_output=sparse_output,
        )


def _add(
    means: tuple[NDArray[Any], NDArray[Any]], codes: NDArray[Any], X: NDArray[Any], weight: float
) -> NDArray[np.intp]:
    """Add the products of codes with one another and with samples; returns the atoms they use.

    Raises
    ------
    ValueError
        If they are beyond the float type.
    """
    used = np.flatnonzero(codes.any(axis=0))
    codes = codes[:, used]
    with np.errstate(over="ignore", invalid="ignore"):
        gram, cross = weight * (codes.T @ codes), weight * (codes.T @ X)
    if not (np.isfinite(gram).all() and np.isfinite(cross).all()):
        raise squares_error(gram.dtype)
    means[0][np.ix_(used, used)] += gram
    means[1][used] += cross
    return used


def _descend(atoms: NDArray[Any], gram: NDArray[Any], cross: NDArray[Any], positive: bool) -> None:
    """Algorithm 2 of [1]: each atom in turn is minimised over exactly, in place."""
    diagonal = np.diag(gram)
    used = np.flatnonzero(diagonal > np.finfo(gram.dtype).eps * diagonal.sum())
    update = update_atoms if core is None else core.update_atoms
    for start in range(0, len(used), _BLOCK):
        block = used[start : start + _BLOCK]
        # What the atoms of the block do to one another meanwhile, they see to themselves.
        residual = cross[block] - gram[block] @ atoms
        moved = atoms[block]
        update(gram[np.ix_(block, block)], residual, moved, positive)
        atoms[block] = moved


def update_atoms(
    gram: NDArray[Any], residual: NDArray[Any], atoms: NDArray[Any], positive: bool
) -> None:
    """The same as core/atoms.hpp, in numpy."""
    for j in range(len(atoms)):
        # From here on a row of `residual` that is done holds by how much its atom has moved.
        atom = atoms[j] + (residual[j] - gram[j, :j] @ residual[:j]) / gram[j, j]
        if positive:
            np.maximum(atom, 0, out=atom)
        atom /= max(1, np.linalg.norm(atom))
        residual[j], atoms[j] = atom - atoms[j], atom


def _float_type(X: NDArray[Any]) -> type[np.floating]:
    """In which type samples are coded."""
    return np.float32 if X.dtype == np.float32 else np.float64


def as_float(X: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(X, dtype=_float_type(X))


def draw_samples(X: NDArray[Any], rng: np.random.RandomState) -> NDArray[Any]:
    """All samples, or as many as are to be in memory at a time."""
    if len(X) > _MAX_SAMPLES:
        X = X[np.sort(rng.choice(len(X), _MAX_SAMPLES, replace=False))]
    return as_float(X)
