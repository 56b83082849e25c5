"""Online dictionary learning."""

import warnings
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from ._arrays import as_array, as_numbers, decode
from ._base import (
    refuse_changes,
    refuse_frames_of_sparse,
    seeded_generator,
    unchanged_on_error,
)
from ._callbacks import CallbackSupportMixin, EpochCallbacks, with_callbacks
from ._dictionary_updates import DictionaryUpdates, as_float, draw_samples
from ._first_atoms import require_unit_ball, warn_of_zero_codes
from ._interrupts import interrupts
from ._saving import SavableEstimator
from .sparse_coding._solvers import SOLVERS
from .training import CheckpointFile, identify


class OnlineDictionaryLearning(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupportMixin,
    DictionaryUpdates,
    SavableEstimator,
):
    """Dictionary learning on a stream of mini-batches.

    Minimises over dictionaries D with atoms in the unit ball the mean over samples of
    ``min_a 1/2 ||x - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2`` (paper 1, Eqs. 1, 3 and 4),
    by the algorithm of Mairal, Bach, Ponce and Sapiro [1]_: code a batch, add it to two running
    means, update the atoms by block coordinate descent.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms. None: the number of features.
    lambda1 : "auto" or float, default="auto"
        Weight of the l1 norm. "auto": 0.05 times the mean norm of the samples of the first fit,
        or less if they are mostly noise.
    lambda2 : float, default=0.0
        Weight of half the squared l2 norm of the codes.
    n_nonzero_coefs : int, default=None
        About how many non-zeros a code is to have on average, in place of `lambda1`, which is then
        found from the first codes, and follows them while they change: `lambda1_`.
    positive : bool, default=False
        Whether the codes are constrained to be non-negative.
    positive_dict : bool, default=False
        Whether the atoms are constrained to be non-negative. With both, and samples that are not
        negative, it is a sparse non-negative matrix factorisation.
    init : array-like of shape (n_components, n_features), default=None
        Atoms to start from. None: samples drawn at random, scaled to unit norm.
    max_iter : int, default=200
        Number of mini-batches that `fit` uses.
    batch_size : int, default=256
        Samples per mini-batch.
    solver : {"auto", "active-set", "spams", "fista"}, default="auto"
        Sparse coder, as in :func:`skddl.sparse_coding.sparse_encode`.
    random_state : int, RandomState instance or None, default=None
        Draws the starting atoms and the batches.
    verbose : int, default=0
        Whether `fit` shows a progress bar.
    checkpoint : path-like, default=None
        File for all of the state of a `fit`, written every 100 mini-batches or more, and when a
        minute has passed. If it exists, the fit goes on from it, and ends as if it had never been
        interrupted; a file of another fit is refused. Needs an int as `random_state`.
    sparse_output : bool, default=False
        Whether `transform` returns codes as a scipy matrix in CSR format, which holds 8 bytes
        (float64: 12) for each non-zero and nothing for the others: of a million samples with 30
        non-zeros among 4,096 atoms 0.25 GB instead of 16. What is learned does not depend on it.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The atoms, in the dtype of the samples (float32 or float64).
    lambda1_ : float
        The weight of the l1 norm that was used.
    n_iter_ : int
        Number of mini-batches seen.
    n_redrawn_ : int
        How many times an atom that coded no sample was replaced by a badly coded sample.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    Notes
    -----
    A `numpy.memmap` is read, and converted to a float type, part by part. Of more than 60,000
    samples, 60,000 drawn at random decide what the starting atoms are drawn from and what "auto"
    means; the mini-batches are drawn from all.

    While it learns, numpy's matrix products use one thread, in the whole process.

    References
    ----------
    .. [1] J. Mairal, F. Bach, J. Ponce, G. Sapiro, "Online learning for matrix factorization and
       sparse coding", Journal of Machine Learning Research 11, 2010.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skddl import OnlineDictionaryLearning, SampleNormalizer
    >>> X = SampleNormalizer().fit_transform(load_digits().data)
    >>> odl = OnlineDictionaryLearning(100, lambda1=0.1, random_state=0).fit(X)
    >>> codes = odl.transform(X)
    >>> codes.shape
    (1797, 100)
    >>> bool(((X - odl.inverse_transform(codes)) ** 2).sum(1).mean() < 0.1)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "lambda1": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "lambda2": [Interval(Real, 0, None, closed="left")],
        "n_nonzero_coefs": [None, Interval(Integral, 1, None, closed="left")],
        "positive": ["boolean"],
        "positive_dict": ["boolean"],
        "init": [None, "array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "checkpoint": [None, str, PathLike],
        "sparse_output": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        lambda1: float | str = "auto",
        lambda2: float = 0.0,
        n_nonzero_coefs: int | None = None,
        positive: bool = False,
        positive_dict: bool = False,
        init: ArrayLike | None = None,
        max_iter: int = 200,
        batch_size: int = 256,
        solver: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        checkpoint: str | PathLike[str] | None = None,
        sparse_output: bool = False,
    ) -> None:
        self.n_components = n_components
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.n_nonzero_coefs = n_nonzero_coefs
        self.positive = positive
        self.positive_dict = positive_dict
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.solver = solver
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint
        self.sparse_output = sparse_output

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the dictionary from `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : ignored

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter is not valid, or the samples are words or complex, masked, not finite, or
            so large or small that their squares are beyond their type.
        TypeError
            If the samples are sparse, dates, durations or other objects that are no numbers. After
            either error the estimator is as it was.
        KeyboardInterrupt
            After Ctrl-C before the first mini-batch: the estimator is as it was. After one that
            comes when all is learned: it is fitted.

        Warns
        -----
        UserWarning
            If Ctrl-C ends learning early: the dictionary so far is kept, and can be used.
        RuntimeWarning
            If the checkpoint cannot be written: learning goes on.
        """
        with unchanged_on_error(self), interrupts.allowed():
            samples = self._validate(X, reset=True)
            rng = seeded_generator(self)
            checkpoint = self._make_checkpoint(samples)
            drawn = draw_samples(samples, rng)
            self._start(drawn, rng)
            idle = np.zeros(len(self.components_), np.int64)
            if checkpoint is not None:
                self._restore(checkpoint, idle)
            callbacks = EpochCallbacks(
                self,
                samples,
                None,
                self.max_iter - self.n_iter_,
                self._snapshot,
                task_name="mini-batch",
            )
            progress = tqdm(total=self.max_iter, initial=self.n_iter_, disable=not self.verbose)

            def after_batch() -> bool:
                is_last = self.n_iter_ == self.max_iter
                if checkpoint is not None and (is_last or checkpoint.is_due(self.n_iter_)):
                    self._save(checkpoint, idle)
                progress.update()
                with interrupts.allowed():
                    return callbacks.end_epoch()

            interrupts.wait_from_here()  # after the first mini-batch there is one to keep
            try:
                with progress:
                    self._learn(samples, rng, idle, after_batch)
                with interrupts.allowed():
                    callbacks.end_fit()
            except KeyboardInterrupt:
                if not self.n_iter_:
                    raise
                warnings.warn(
                    f"Learning was interrupted after {self.n_iter_} mini-batches. The dictionary "
                    "so far is kept.",
                    stacklevel=4,
                )
            self._settle_sparsity(drawn)
            warn_of_zero_codes(self._problem, drawn, self.components_)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Go on learning from `X`, in mini-batches, each of its samples seen once.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : ignored

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            As `fit`; ValueError, too, if the samples have another number of features than before,
            or a parameter of the model was changed.
        KeyboardInterrupt
            After Ctrl-C: the estimator is as it was before the call, or, if all had been learned,
            as it is after it.
        """
        first = not hasattr(self, "components_")
        with unchanged_on_error(self), interrupts.allowed():
            samples = self._validate(X, reset=first)
            if first:
                rng = check_random_state(self.random_state)
                self._start(draw_samples(samples, rng), rng)
            else:
                refuse_changes(self, self._started_with)
            self.components_ = self.components_.copy()
            self._means = (self._means[0].copy(), self._means[1].copy())
            with self._uninterrupted(min(int(self.batch_size), len(samples))), interrupts.allowed():
                for start in range(0, len(samples), self.batch_size):
                    batch = as_float(samples[start : start + self.batch_size])
                    self._update(batch)
                never_used = np.flatnonzero(np.diag(self._means[0]) == 0)
                if len(never_used):
                    self._replace(never_used, batch)
        return self

    def transform(self, X: ArrayLike) -> Any:
        """Codes of the samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : ndarray or CSR matrix of shape (n_samples, n_components)
            A sparse matrix if `sparse_output`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError, TypeError
            If the samples are not as `fit` takes them, or have another number of features;
            ValueError, too, if data frames are to hold sparse codes.
        """
        check_is_fitted(self)
        refuse_frames_of_sparse(self)
        return self._encode(self._validate(X, reset=False), sparse_output=self.sparse_output)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Samples that the codes stand for.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        samples : ndarray of shape (n_samples, n_features)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError, TypeError
            If the codes are no finite numbers, or not one per atom.
        """
        check_is_fitted(self)
        return decode(X, self.components_)

    @property
    def _saved(self) -> tuple[str, ...]:
        own = ("components_", "n_iter_", "n_redrawn_", "_problem", "_started_with", "_means")
        return (*super()._saved, *own)

    @property
    def lambda1_(self) -> float:
        """The weight of the l1 norm that is used."""
        return self._problem.lambda1

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _validate(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """Samples, finite and as yet of any real type: what is in a file stays there."""
        return as_numbers(validate_data(self, as_array(X), reset=reset))

    def _fit_inside(self, X: NDArray[Any], rng: np.random.RandomState) -> Self:
        """`fit` as a part of another's: without warnings, and Ctrl-C ends that one, too."""
        self._validate_params()
        self._start(X, rng)
        self._learn(X, rng, np.zeros(len(self.components_), np.int64))
        self._settle_sparsity(X)
        return self

    def _snapshot(self) -> dict[str, Any]:
        """Fitted attributes of a model that stops learning now."""
        return {
            "components_": self.components_.copy(),
            "n_iter_": self.n_iter_,
            "n_redrawn_": self.n_redrawn_,
            "_means": tuple(mean.copy() for mean in self._means),
            "_problem": self._problem,
        }

    def _make_checkpoint(self, X: NDArray[Any]) -> CheckpointFile | None:
        """Where a fit is written; its identity covers the parameters and the data."""
        if self.checkpoint is None:
            return None
        parameters = self.get_params(deep=False)
        for name in ("checkpoint", "sparse_output", "verbose"):  # which do not change the result
            del parameters[name]
        checkpoint = CheckpointFile(self.checkpoint, identify(parameters, X))
        checkpoint.check()
        return checkpoint

    def _arrays(self, idle: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """What has been learned, and what `_learn` keeps, by the names they have in checkpoints."""
        return {
            "components": self.components_,
            "mean of codes": self._means[0],
            "mean with samples": self._means[1],
            "idle": idle,
        }

    def _save(self, checkpoint: CheckpointFile, idle: NDArray[np.int64]) -> None:
        checkpoint.save(
            {name: torch.from_numpy(array) for name, array in self._arrays(idle).items()},
            {"n_iter": self.n_iter_, "n_redrawn": self.n_redrawn_, "lambda1": self.lambda1_},
        )

    def _restore(self, checkpoint: CheckpointFile, idle: NDArray[np.int64]) -> None:
        if (found := checkpoint.read()) is None:
            return
        tensors, content = found
        with checkpoint.damaged():
            starts = self._arrays(idle)
            arrays = {name: tensors[name].numpy() for name in starts}
            for name, start in starts.items():
                array = arrays[name]
                if (array.shape, array.dtype) != (start.shape, start.dtype):
                    raise ValueError(f"{name} is {array.dtype} of the shape {array.shape}")
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} is not finite")
            require_unit_ball(arrays["components"])
            counts = content["n_iter"], content["n_redrawn"]
            if any(type(count) is not int or count < 0 for count in counts):
                raise ValueError(f"its counts are {counts}")
            self.components_, gram, cross, idle[:] = arrays.values()
            self._means = gram, cross
            self.n_iter_, self.n_redrawn_ = counts
            self._problem = replace(self._problem, lambda1=content["lambda1"])
