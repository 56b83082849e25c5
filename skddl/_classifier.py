"""What every torch-backed classifier shares: labels and weights, training, predictions."""

from collections.abc import Iterable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor, nn

from ._base import INFERENCE_BATCH, Samples, TorchEstimator, seeded_torch, unchanged_on_error
from ._callbacks import EpochCallbacks, with_callbacks
from .training import (
    BatchSampler,
    Checkpoint,
    EarlyStopping,
    TrainingState,
    make_optimizer,
    train,
)


UNLABELLED, LEFT_OUT = -1, -2


@dataclass
class TrainingData:
    """Validated samples and labels.

    Attributes
    ----------
    samples : Samples
    input_shape : tuple of int
        Shape of one sample for the network.
    classes : ndarray of shape (n_classes,)
    y : ndarray of shape (n_samples,)
        Position in `classes`, or UNLABELLED, or LEFT_OUT (samples of weight 0).
    sample_weight : ndarray of shape (n_samples,)
        Sample times class weights, of mean 1 over the labelled samples.
    """

    samples: Samples
    input_shape: tuple[int, ...]
    classes: NDArray[Any]
    y: NDArray[np.intp]
    sample_weight: NDArray[Any]


@dataclass
class Batch:
    """What one step of training sees."""

    x: Tensor
    y: Tensor
    sample_weight: Tensor
    unlabelled: Tensor | None = None


class TorchClassifier(ClassifierMixin, TorchEstimator):
    """Base of the classifiers; subclasses say how to start, and what to minimise."""

    classes_: NDArray[Any]
    _training: TrainingState

    def _start(self, data: TrainingData, rng: np.random.RandomState) -> None:
        """Set `module_` and `_training` to the state before the first step."""
        raise NotImplementedError

    def _parameter_groups(self) -> list[tuple[Iterable[nn.Parameter], float]]:
        """Parameters of `module_` with the weight of half their squared norm."""
        raise NotImplementedError

    def _compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, without penalties, and metrics for the history."""
        raise NotImplementedError

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn features, dictionary and classifier.

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
        """
        with unchanged_on_error(self):
            rng = self._random_state()
            goes_on = self.warm_start and hasattr(self, "module_")
            data = self._validate_training_data(
                X, y, sample_weight, reset=not goes_on, classes=self.classes_ if goes_on else None
            )
            if goes_on:
                self._copy_model()
            else:
                self.classes_ = data.classes
                self._start(data, rng)
            self._train(data, rng, n_iter=self.max_iter, whole_fit=True)
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

        The first call also makes the start, from its samples alone; the schedule of the learning
        rate goes on from call to call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,)
            Classes.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur; needed in the first call if its `y` lacks some.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss, >= 0.

        Returns
        -------
        self : object
        """
        first = not hasattr(self, "module_")
        with unchanged_on_error(self):
            rng = self._random_state()
            known = classes if first else self.classes_
            data = self._validate_training_data(X, y, sample_weight, reset=first, classes=known)
            if first:
                self.classes_ = data.classes
                self._start(data, rng)
            else:
                self._copy_model()
            n_batches = -(-int((data.y >= 0).sum()) // self.batch_size)
            self._train(data, rng, n_iter=n_batches, whole_fit=False)
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
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        *,
        reset: bool,
        classes: ArrayLike | None = None,
    ) -> TrainingData:
        input_shape = self._input_shape(X)
        X, y = self._validate_samples(X, y, reset=reset)
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        unlabelled = self._find_unlabelled(y)
        # A sample without weight is left out, also where its class is the only member.
        labelled = ~unlabelled & (weight > 0)
        occurring = np.unique(y[labelled])
        classes = occurring if classes is None else np.unique(np.asarray(classes))
        if len(unknown := np.setdiff1d(occurring, classes)):
            raise ValueError(f"y has classes {unknown.tolist()}, which are not in classes.")
        if len(classes) < 2 or not len(occurring):
            raise ValueError(
                f"{type(self).__name__} needs samples of at least two classes, got "
                f"{len(occurring)} class(es) among {len(y)} samples."
            )
        positions = np.where(unlabelled & (weight > 0), UNLABELLED, LEFT_OUT)
        positions[labelled] = np.searchsorted(classes, y[labelled])
        if self.class_weight is not None:
            by_class = compute_class_weight(self.class_weight, classes=occurring, y=y[labelled])
            weight[labelled] *= by_class[np.searchsorted(occurring, y[labelled])]
        weight /= weight[labelled].mean()
        samples = Samples(X, self._torch_device(), getattr(torch, self.dtype))
        return TrainingData(samples, input_shape, classes, positions, weight)

    def _find_unlabelled(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        """Which samples have no label."""
        return np.zeros(len(y), dtype=bool)

    def _random_state(self) -> np.random.RandomState:
        if self.checkpoint is not None and not isinstance(self.random_state, Integral):
            raise ValueError(
                "checkpoint needs random_state to be an int, so that a fit that goes on draws the "
                f"same batches; got random_state={self.random_state!r}."
            )
        return check_random_state(self.random_state)

    def _copy_model(self) -> None:
        """Train a copy: the present model is still needed if training fails."""
        self.module_ = deepcopy(self.module_)
        self._training = deepcopy(self._training)
        self._training.finished = False

    def _train(
        self, data: TrainingData, rng: np.random.RandomState, *, n_iter: int, whole_fit: bool
    ) -> None:
        """Train `module_` for `n_iter` steps on from where `_training` stands."""
        seed = rng.randint(2**31)
        network, state = self.module_, self._training
        device, dtype = data.samples.device, data.samples.dtype
        labelled = np.flatnonzero(data.y >= 0)
        unlabelled = np.flatnonzero(data.y == UNLABELLED)
        early_stopping = None
        if self.early_stopping and whole_fit:
            labelled, held_out = train_test_split(
                labelled,
                test_size=self.validation_fraction,
                stratify=data.y[labelled],
                random_state=seed,
            )
            early_stopping = EarlyStopping(
                lambda: self._accuracy(data, held_out), self.n_iter_no_change, self.tol
            )
        sampler = BatchSampler(len(labelled), self.batch_size, seed, state.iteration)
        extra = None
        if len(unlabelled):
            extra = BatchSampler(len(unlabelled), self.batch_size, seed, state.iteration)

        def compute_loss(step: int) -> tuple[Tensor, dict[str, float]]:
            rows = labelled[sampler.batch(step)]
            batch = Batch(
                x=data.samples[rows],
                y=torch.from_numpy(data.y[rows]).to(device),
                sample_weight=torch.from_numpy(data.sample_weight[rows]).to(device, dtype),
                unlabelled=data.samples[unlabelled[extra.batch(step)]] if extra else None,
            )
            return self._compute_loss(batch)

        callbacks = None
        if whole_fit:
            callbacks = EpochCallbacks(
                self,
                data.samples.X,
                data.classes[data.y],
                -(-n_iter // sampler.n_batches),
                self._snapshot,
            )
        network.to(device=device, dtype=dtype)
        # Our networks draw no random numbers while they learn; a user's may (dropout).
        own_rng = seeded_torch(seed) if callable(self.features) else nullcontext()
        try:
            with own_rng:
                train(
                    network,
                    compute_loss,
                    make_optimizer(self.optimizer, self._parameter_groups(), self.learning_rate),
                    sampler,
                    state,
                    until=state.iteration + n_iter,
                    t0=self.max_iter / 10 if self.t0 is None else self.t0,
                    early_stopping=early_stopping,
                    checkpoint=self._checkpoint(data, seed) if whole_fit else None,
                    on_epoch=callbacks.end_epoch if callbacks else None,
                    verbose=bool(self.verbose),
                )
        finally:
            # A fitted model has no device.
            network.cpu().eval()
        if callbacks:
            callbacks.end_fit()

    def _snapshot(self) -> dict[str, Any]:
        """Fitted attributes of a model that stops learning now."""
        return {
            "classes_": self.classes_,
            "module_": deepcopy(self.module_).cpu().eval(),
            "_training": deepcopy(self._training),
        }

    def _accuracy(self, data: TrainingData, rows: NDArray[np.intp]) -> float:
        """Share of `rows` that the network in training gets right."""
        self.module_.eval()
        n_right = 0
        with torch.no_grad():
            for start in range(0, len(rows), INFERENCE_BATCH):
                part = rows[start : start + INFERENCE_BATCH]
                predicted = self.module_(data.samples[part]).argmax(1).cpu().numpy()
                n_right += int((predicted == data.y[part]).sum())
        self.module_.train()
        return n_right / len(rows)

    def _checkpoint(self, data: TrainingData, seed: int) -> Checkpoint | None:
        """Where this fit is written; its identity covers parameters and data."""
        if self.checkpoint is None:
            return None
        parameters = self.get_params(deep=False)
        for name in ("checkpoint", "device", "verbose"):  # none of which changes the result
            del parameters[name]
        some_rows = np.linspace(0, len(data.y) - 1, num=100, dtype=int)
        digest = sha256(repr((sorted(parameters.items()), seed, data.samples.X.shape)).encode())
        for array in (data.samples.X[some_rows], data.y, data.sample_weight):
            digest.update(np.ascontiguousarray(array).tobytes())
        return Checkpoint(self.checkpoint, digest.hexdigest())
