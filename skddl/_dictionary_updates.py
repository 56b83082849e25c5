"""Online dictionary learning: the updates, and the loop over mini-batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import gen_batches

from ._arrays import check_numbers
from ._blas import one_blas_thread
from ._first_atoms import (
    auto_lambda1,
    draw_atoms,
    refuse_squares_out_of_range,
    squares_error,
)
from ._interrupts import interrupts
from .sparse_coding import sparse_encode
from .sparse_coding._encode import samples_at_a_time
from .sparse_coding._problem import ElasticNetProblem
from .sparse_coding._solvers import get_solver
from .sparse_coding._spams import spams
from .sparse_coding._threads import few_threads

# Samples that are in memory at a time, and coded to find atoms that nothing uses: as many as
# task-driven learning starts from.
_MAX_SAMPLES = 60_000
# Rounds of re-drawing atoms that nothing uses; each is followed by a fifth of the iterations.
_REDRAW_ROUNDS = 3


class DictionaryUpdates:
    """What the estimator learns by; it has the parameters.

    Algorithms have the numbers of Mairal, Bach, Ponce and Sapiro, "Online learning for matrix
    factorization and sparse coding", 2010: [1].
    """

    n_components: int | None
    lambda1: float | str
    lambda2: float
    positive: bool
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
        refuse_squares_out_of_range(X)
        n_components = X.shape[1] if self.n_components is None else int(self.n_components)
        if self.init is None:
            self.components_ = draw_atoms(X, n_components, rng)
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
        lambda1 = auto_lambda1(X) if self.lambda1 == "auto" else float(self.lambda1)
        self._problem = ElasticNetProblem(lambda1, self.lambda2, self.positive)
        self._started_with = {
            name: getattr(self, name) for name in ("n_components", "lambda1", "lambda2", "positive")
        }
        self.n_iter_ = 0
        self.n_redrawn_ = 0
        self._means = (
            np.zeros((n_components, n_components), X.dtype),
            np.zeros((n_components, X.shape[1]), X.dtype),
        )

    def _learn(
        self,
        X: NDArray[Any],
        drawn: NDArray[Any],
        rng: np.random.RandomState,
        after_batch: Callable[[bool], bool] = lambda is_last: False,
    ) -> None:
        """All of `fit` that comes after the start; `drawn` are samples in memory.

        `after_batch` is told whether it was the last of a round; where it returns True, learning
        ends. What `n_iter_` counts already has been learned from before, and is only drawn again.
        """
        resumed_at, first = self.n_iter_, 0
        work = int(self.batch_size) * self.components_.size
        # All of it: what is learned must not depend on whether another fit has set a limit.
        # The limit of BLAS is inside: as it ends, an OpenBLAS on OpenMP changes torch's number.
        with interrupts.held(), few_threads(work), one_blas_thread():
            for round_ in range(_REDRAW_ROUNDS + 1):
                n_iter = -(-self.max_iter // 5) if round_ else self.max_iter
                # What precedes the first mini-batch of a round has been done if that has.
                if round_ and resumed_at <= first and not self._redraw(drawn):
                    break
                if self._is_of_spams():
                    self._run_spams(X, n_iter, rng)
                else:
                    if self._run(X, n_iter, rng, resumed_at - first, after_batch):
                        break
                first += n_iter

    def _is_of_spams(self) -> bool:
        return get_solver(self.solver, torch.device("cpu")).name == "spams"

    def _run(
        self,
        X: NDArray[Any],
        n_iter: int,
        rng: np.random.RandomState,
        n_done: int,
        after_batch: Callable[[bool], bool],
    ) -> bool:
        """`n_iter` mini-batches, drawn without replacement until all samples have been used.

        The first `n_done` are only drawn. Returns whether `after_batch` has ended learning.
        """
        order = np.empty(0, dtype=np.intp)
        size = min(self.batch_size, len(X))
        for step in range(n_iter):
            if len(order) < size:
                order = np.concatenate([order, rng.permutation(len(X))])
            rows, order = order[:size], order[size:]
            if step < n_done:
                continue
            self._update(as_float(X[rows]))
            if after_batch(step + 1 == n_iter):
                return True
        return False

    def _run_spams(self, X: NDArray[Any], n_iter: int, rng: np.random.RandomState) -> None:
        """The same by SPAMS, which wants its samples in memory: of many, some at a time."""
        size = int(min(self.batch_size, len(X)))  # SPAMS refuses the numbers of numpy
        in_memory = max(size, _MAX_SAMPLES)
        at_a_time = n_iter if len(X) <= in_memory else in_memory // size
        means = None
        for first in range(0, n_iter, at_a_time):
            with interrupts.allowed():
                pass  # between two calls of SPAMS, which know of no Ctrl-C
            # SPAMS visits the samples in one order, over and over.
            rows = rng.permutation(len(X))
            if len(X) > in_memory:
                rows = np.sort(rows[:in_memory])  # read from front to back
            n_steps = int(min(at_a_time, n_iter - first))
            dictionary, means = spams.trainDL(
                as_float(X[rows]).T,
                D=np.asfortranarray(self.components_.T),
                model=means,
                return_model=True,
                lambda1=self._problem.lambda1,
                lambda2=self._problem.lambda2,
                posAlpha=self._problem.positive,
                mode=2,
                iter=n_steps,
                batchsize=size,
                numThreads=torch.get_num_threads(),
                # Its cleaning re-draws atoms too, in a way that cannot be counted.
                clean=False,
                verbose=False,
            )
            self.n_iter_ += n_steps
            self.components_ = np.ascontiguousarray(dictionary.T)

    def _update(self, X: NDArray[Any]) -> None:
        """Algorithm 1 of [1]: add a mini-batch to the means, and update the atoms."""
        with interrupts.allowed():
            codes = self._encode(X)
        self.n_iter_ += 1
        # Weights that grow linearly with time let the codes of early dictionaries fade.
        weight = 2 / (self.n_iter_ + 1)
        gram, cross = self._means
        gram *= 1 - weight
        cross *= 1 - weight
        _add(self._means, codes, X, weight / len(X))
        # Algorithm 2 of [1]: each atom in turn is minimised over exactly.
        used = np.flatnonzero(np.diag(gram) > np.finfo(gram.dtype).eps * np.trace(gram))
        gram, cross, atoms = gram[np.ix_(used, used)], cross[used], self.components_[used]
        for j in range(len(used)):
            atoms[j] += (cross[j] - gram[j] @ atoms) / gram[j, j]
            atoms[j] /= max(1, np.linalg.norm(atoms[j]))
        self.components_[used] = atoms

    def _redraw(self, X: NDArray[Any]) -> int:
        """Replace atoms that code no sample; how many there were.

        The means are set anew on the way, to those of all samples under the present dictionary.
        """
        n_atoms = len(self.components_)
        gram, cross = np.zeros((n_atoms, n_atoms), X.dtype), np.zeros_like(self.components_)
        used, error = np.zeros(n_atoms, dtype=bool), np.empty(len(X), X.dtype)
        with interrupts.allowed():
            for part in gen_batches(len(X), samples_at_a_time(*self.components_.shape)):
                codes = self._encode(X[part])
                _add((gram, cross), codes, X[part], 1 / len(X))
                used |= codes.any(axis=0)
                error[part] = self._error(X[part], codes)
        self._means = gram, cross
        return self._replace(np.flatnonzero(~used), X, error)

    def _error(self, X: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
        return np.linalg.norm(X - codes @ self.components_, axis=1)

    def _replace(self, unused: NDArray[np.intp], X: NDArray[Any], error: NDArray[Any]) -> int:
        """Replace atoms by the samples coded worst, which have the largest errors; how many."""
        worst = np.argsort(-error, kind="stable")[: len(unused)]
        worst = worst[error[worst] > 0]
        unused = unused[: len(worst)]
        self.components_[unused] = X[worst] / np.linalg.norm(X[worst], axis=1, keepdims=True)
        self.n_redrawn_ += len(unused)
        return len(unused)

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
) -> None:
    """Add the products of codes with one another and with samples: of the atoms that they use.

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
