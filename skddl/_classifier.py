"""What every torch-backed classifier shares: labels and weights, training, predictions."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from ._base import (
    Samples,
    TorchEstimator,
    apply_in_batches,
    deterministic_convolutions,
    refuse_changes,
    seeded_torch,
    unchanged_on_error,
)
from ._callbacks import EpochCallbacks, with_callbacks
from ._training_data import UNLABELLED, Batch, TrainingData, encode_labels
from .training import (
    BatchSampler,
    Checkpoint,
    DivergenceError,
    EarlyStopping,
    RateFactor,
    TrainingState,
    identify,
    train,
)


class TorchClassifier(ClassifierMixin, TorchEstimator):
    """Base of the classifiers; subclasses say how to start, and what to minimise.

    They have the parameters `batch_size`, `checkpoint`, `class_weight`, `early_stopping`,
    `n_iter_no_change`, `random_state`, `tol`, `validation_fraction`, `verbose` and `warm_start`.
    """

    # Those that say how the network is built: they hold until it is built anew.
    _parameters_of_network: ClassVar[tuple[str, ...]] = ()

    classes_: NDArray[Any]
    _training: TrainingState
    _started_with: dict[str, Any]

    def _start(self, data: TrainingData, rng: np.random.RandomState) -> None:
        """Set `module_` and `_training` to the state before the first step."""
        raise NotImplementedError

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the parameters of `module_`."""
        raise NotImplementedError

    def _count_iterations(self, n_batches: int) -> int:
        """Number of steps of a `fit`, a pass over the samples being `n_batches`."""
        raise NotImplementedError

    def _rate_factor(self, start: int, n_iter: int | None) -> RateFactor:
        """Schedule of a `fit` of `n_iter` steps after step `start`; None: of a `partial_fit`."""
        raise NotImplementedError

    @property
    def _advice(self) -> str:
        """What may help if training diverges, beside a lower learning rate."""
        raise NotImplementedError

    def _check_combinations(self) -> None:
        """Raise ValueError for parameters that are not valid together, or inside."""

    def _draws_while_training(self) -> bool:
        """Whether the network in training may draw random numbers (dropout)."""
        raise NotImplementedError

    def _make_loss(self) -> Callable[[Batch], tuple[Tensor, dict[str, float]]]:
        """What computes the loss of a batch, without penalties, and metrics for the history."""
        raise NotImplementedError

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the network, its classifier included, from labelled samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,)
            Classes: numbers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss, >= 0.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the samples are not valid: the model is then as it was. If the loss
            becomes infinite or NaN: the model is then as it was before that iteration.

        Warns
        -----
        UserWarning
            If Ctrl-C ends the training early: the model so far is kept, and can be used.
        """
        with unchanged_on_error(self):
            rng = self._random_state()
            goes_on = self.warm_start and hasattr(self, "module_")
            data = self._validate_training_data(
                X,
                y,
                sample_weight,
                reset=not goes_on,
                classes=self.classes_ if goes_on else None,
            )
            checkpoint = self._make_checkpoint(data, self.n_iter_ if goes_on else 0)
            if self.early_stopping:
                data = data.hold_out(self.validation_fraction, rng)
            self._prepare(data, rng, goes_on)
            self._train(data, rng, whole_fit=True, checkpoint=checkpoint)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on learning: one pass over `X` in mini-batches.

        The first call also makes the start, from its samples alone: the initial dictionary, or the
        means and scales of the columns. The learning rate of Algorithm 1 (`t0`) goes on falling
        from call to call; with an `lr_schedule` it stays as it is. Nothing is held out:
        `early_stopping` is for `fit`. Batch norms cannot learn from a single sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,)
            Classes.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur; needed in the first call if its `y` lacks some.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss, >= 0. Unlike those of `fit` they are not scaled to a
            mean of 1, since that of later calls is not known.

        Returns
        -------
        self : object
        """
        first = not hasattr(self, "module_")
        with unchanged_on_error(self):
            rng = self._random_state()
            known: Any = classes if first else self.classes_
            if classes is not None and not np.array_equal(
                self._labelled_classes(classes), self._labelled_classes(known)
            ):
                raise ValueError(
                    f"classes={classes!r} is not the same as in the first call, {known!r}."
                )
            if self.class_weight == "balanced":
                raise ValueError(
                    "class_weight='balanced' needs all samples at once: for partial_fit pass the "
                    "weights as a dict."
                )
            data = self._validate_training_data(
                X, y, sample_weight, reset=first, classes=known, of_fit=False
            )
            self._prepare(data, rng, goes_on=not first)
            self._train(data, rng, whole_fit=False)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,) if there are two classes
            Of two classes, by how much the second leads.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Probabilities of the classes (softmax of the scores; paper 1, Eq. 16).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
        """
        return softmax(self._scores(X), axis=1)

    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        return log_softmax(self._scores(X), axis=1)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    @property
    def n_iter_(self) -> int:
        """Number of iterations taken."""
        return self._training.iteration

    @property
    def history_(self) -> list[dict[str, float]]:
        """One entry per pass over the samples."""
        return self._training.history

    @property
    def loss_curve_(self) -> list[float]:
        """Loss of each iteration."""
        return self._training.curves["loss"]

    def _scores(self, X: ArrayLike) -> NDArray[Any]:
        return self._apply(lambda module, x: module(x), X)

    def _validate_training_data(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None,
        *,
        reset: bool,
        classes: ArrayLike | None = None,
        of_fit: bool = True,
    ) -> TrainingData:
        X, y = self._validate_samples(X, y, reset=reset)
        check_classification_targets(y)
        weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, copy=True, ensure_non_negative=True
        )
        if classes is not None:
            classes = self._labelled_classes(classes)
        labels = encode_labels(
            y,
            self._find_unlabelled(y),
            weight,
            classes=classes,
            class_weight=self.class_weight,
            of_fit=of_fit,
        )
        samples = Samples(
            X, self._torch_device(), getattr(torch, self.dtype), self._divisor, reread=True
        )
        return TrainingData(
            samples=samples,
            input_shape=self._image_shape or X.shape[1:],
            labels=y,
            classes=labels.classes,
            y=labels.positions,
            sample_weight=labels.sample_weight,
            held_out=np.empty(0, dtype=np.intp),
        )

    def _find_unlabelled(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        """Which samples have no label."""
        return np.zeros(len(y), dtype=bool)

    def _labelled_classes(self, classes: ArrayLike) -> NDArray[Any]:
        """`classes` sorted, without what marks samples that have no label."""
        unique = np.unique(np.asarray(classes))
        return unique[~self._find_unlabelled(unique)]

    def _random_state(self) -> np.random.RandomState:
        if self.checkpoint is not None and not isinstance(self.random_state, Integral):
            raise ValueError(
                "checkpoint needs random_state to be an int, so that a fit that goes on draws the "
                f"same batches; got random_state={self.random_state!r}."
            )
        return check_random_state(self.random_state)

    def _prepare(self, data: TrainingData, rng: np.random.RandomState, goes_on: bool) -> None:
        """Have a model to train: a new one, or the present one."""
        self._check_combinations()
        if not goes_on:
            self.classes_ = data.classes
            try:
                self._start(data, rng)
            except DivergenceError as error:  # of an estimator inside the user's network
                raise ValueError(str(error)) from error
            self._started_with = {name: getattr(self, name) for name in self._parameters_of_network}
            return
        refuse_changes(self, self._started_with)
        # Train a copy: the present model is still needed if training fails.
        self.module_ = deepcopy(self.module_)
        self._training = deepcopy(self._training)
        self._training.finished = False

    def _train(
        self,
        data: TrainingData,
        rng: np.random.RandomState,
        *,
        whole_fit: bool,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Train `module_` on from where `_training` stands: a whole fit, or one pass."""
        seed = rng.randint(2**31)
        network, state = self.module_, self._training
        device, dtype = data.samples.device, data.samples.dtype
        labelled = np.flatnonzero(data.y >= 0)
        unlabelled = np.flatnonzero(data.y == UNLABELLED)
        early_stopping = None
        if len(data.held_out):
            early_stopping = EarlyStopping(
                lambda: self._validation_score(data), self.n_iter_no_change, self.tol
            )
        sampler = BatchSampler(len(labelled), self.batch_size, seed, state.iteration)
        n_iter = self._count_iterations(sampler.n_batches) if whole_fit else sampler.n_batches
        extra = None
        if len(unlabelled):
            extra = BatchSampler(len(unlabelled), self.batch_size, seed, state.iteration)

        loss_of_batch = self._make_loss()
        y = torch.from_numpy(data.y).to(device)
        sample_weight = torch.from_numpy(data.sample_weight).to(device, dtype)

        def compute_loss(step: int) -> tuple[Tensor, dict[str, float]]:
            rows = labelled[sampler.batch(step)]
            on_device = torch.from_numpy(rows).to(device)
            batch = Batch(
                x=data.samples[rows],
                y=y[on_device],
                sample_weight=sample_weight[on_device],
                unlabelled=data.samples[unlabelled[extra.batch(step)]] if extra else None,
            )
            return loss_of_batch(batch)

        callbacks = None
        if whole_fit:
            callbacks = EpochCallbacks(
                self,
                data.samples.X,
                data.labels,
                -(-n_iter // sampler.n_batches),
                self._snapshot,
            )
        network.to(device=device, dtype=dtype)
        own_rng: AbstractContextManager[None] = nullcontext()
        if self._draws_while_training():
            # Calls of partial_fit, of one seed, must not all draw the same.
            own_rng = seeded_torch((seed + state.iteration) % 2**32, device)
        try:
            with own_rng, deterministic_convolutions(device):
                train(
                    network,
                    compute_loss,
                    self._make_optimizer(),
                    sampler,
                    state,
                    until=state.iteration + n_iter,
                    rate_factor=self._rate_factor(state.iteration, n_iter if whole_fit else None),
                    early_stopping=early_stopping,
                    checkpoint=checkpoint,
                    on_epoch=callbacks.end_epoch if callbacks else None,
                    advice=self._advice,
                    verbose=bool(self.verbose),
                )
        finally:
            # A fitted model has no device.
            network.cpu().eval()
            state.moments.cpu_()
        if callbacks:
            callbacks.end_fit()

    def _snapshot(self) -> dict[str, Any]:
        """Fitted attributes of a model that stops learning now."""
        return {
            "classes_": self.classes_,
            "module_": deepcopy(self.module_).cpu().eval(),
            "_training": deepcopy(self._training),
        }

    def _validation_score(self, data: TrainingData) -> float:
        """Share of the samples held out that the network in training gets right."""
        rows = data.held_out
        truth = np.searchsorted(data.classes, data.labels[rows])
        self.module_.eval()
        predicted = apply_in_batches(self.module_, data.samples, rows).argmax(axis=1)
        self.module_.train()
        return float((predicted == truth).mean())

    def _make_checkpoint(self, data: TrainingData, iteration: int) -> Checkpoint | None:
        """Where a fit that starts after `iteration` is written.

        Its identity covers the parameters and the data.
        """
        if self.checkpoint is None:
            return None
        parameters = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in ("checkpoint", "device", "verbose")  # which do not change the result
        }
        checkpoint = Checkpoint(
            self.checkpoint,
            identify(parameters, iteration, data.samples.X, data.y, data.sample_weight),
            global_rng=self._draws_while_training(),
        )
        checkpoint.check()
        return checkpoint
