"""What every torch-backed supervised estimator shares: training, and how it goes on or fails."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from ._arrays import as_array
from ._base import (
    Samples,
    TorchEstimator,
    apply_in_batches,
    deterministic_convolutions,
    refuse_changes,
    seeded_generator,
    seeded_torch,
    unchanged_on_error,
)
from ._callbacks import EpochCallbacks, with_callbacks
from ._interrupts import interrupts
from ._training_data import LABELLED, UNLABELLED, Batch, Targets, TrainingData
from .sparse_coding._solution import Supports
from .sparse_coding._threads import few_threads
from .training import (
    BatchSampler,
    Checkpoint,
    DivergenceError,
    EarlyStopping,
    Processes,
    RateFactor,
    TrainingState,
    ended_by_interrupt,
    identify,
    multiply_adds,
    train,
)

# So many times the loss of outputs that are zero is neither noise of a mini-batch nor dropout.
_DIVERGED = 10
# From this share of it on a classifier has learned next to nothing, if it had the time: so many
# steps, and passes over the samples.
_AT_CHANCE, _LONG, _LONG_IN_PASSES = 0.95, 50, 5


class SupervisedEstimator(TorchEstimator):
    """Base of what learns from labels; subclasses say from which, how to start, what to minimise.

    They have the parameters `batch_size`, `checkpoint`, `early_stopping`, `n_iter_no_change`,
    `random_state`, `tol`, `validation_fraction`, `verbose` and `warm_start`.
    """

    # Those that say how the network is built: they hold until it is built anew.
    _parameters_of_network: ClassVar[tuple[str, ...]] = ()

    # What scikit-learn's validation is to ask of labels.
    _target_checks: ClassVar[dict[str, bool]] = {}
    # Fitted attributes that `_encode_targets` notes.
    _known_of_targets: ClassVar[tuple[str, ...]] = ()

    _training: TrainingState
    _started_with: dict[str, Any]

    def _encode_targets(
        self, y: NDArray[Any], sample_weight: NDArray[Any], *, reset: bool, of_fit: bool
    ) -> Targets:
        """What the loss sees of `y`.

        With `reset` it is noted what the model knows of them (classes, scales); else they must fit
        what is known. `of_fit`: whether `y` is all there will ever be.
        """
        raise NotImplementedError

    def _validation_score(self, data: TrainingData) -> float:
        """Score of the network in training on the samples held out: the more, the better."""
        raise NotImplementedError

    def _start(self, data: TrainingData, rng: np.random.RandomState) -> None:
        """Set `module_` and `_training` to the state before the first step."""
        raise NotImplementedError

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the parameters of `module_`."""
        raise NotImplementedError

    def _count_iterations(self, n_batches: int, work: int) -> int:
        """Steps of a `fit`, a pass being `n_batches`, and `work` the multiply-adds of a step."""
        raise NotImplementedError

    def _rate_factor(self, start: int, n_iter: int | None) -> RateFactor:
        """Schedule of a `fit` of `n_iter` steps after step `start`; None: of a `partial_fit`."""
        raise NotImplementedError

    @property
    def _advice(self) -> str:
        """What may help if training diverges, beside a lower learning rate."""
        raise NotImplementedError

    def _draws_while_training(self) -> bool:
        """Whether the network in training may draw random numbers (dropout)."""
        raise NotImplementedError

    def _support_memory(self, samples: Samples) -> Supports | None:
        """Room for the supports of the samples' codes, if coding is to start from them again."""
        return None

    def _make_loss(self) -> Callable[[Batch], tuple[Tensor, dict[str, float]]]:
        """What computes the loss of a batch, without penalties, and metrics for the history."""
        raise NotImplementedError

    def _loss_of_zeros(self, values: Tensor) -> float:
        """The mean loss of outputs that are zero, whatever the sample."""
        raise NotImplementedError

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the network, the linear part that classifies or predicts included.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,); of a regressor, or (n_samples, n_outputs)
            Classes (numbers or strings), or targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss, >= 0. They are scaled to a mean of 1.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter is not valid, an array is complex, masked or not finite, the samples are
            words, or `y` is not of their number or no classes (targets): the model is then as it
            was. If the loss becomes infinite or NaN: the model is then as it was before that
            iteration.
        TypeError
            If an array is sparse, the samples are dates, durations or other objects that are no
            numbers, or the labels cannot be sorted: the model is then as it was.
        KeyboardInterrupt
            After Ctrl-C before the first step: the estimator is as it was. After one that comes
            when all is learned: it is fitted.

        Warns
        -----
        UserWarning
            If Ctrl-C ends the training early: the model so far is kept, and can be used.
        RuntimeWarning
            If the checkpoint cannot be written: training goes on.
        """
        with unchanged_on_error(self), interrupts.allowed():
            rng = self._random_state()
            goes_on = self.warm_start and hasattr(self, "module_")
            data = self._validate_training_data(X, y, sample_weight, reset=not goes_on)
            self._fit_to(data, rng, goes_on)
        return self

    def _fit_to(
        self, data: TrainingData, rng: np.random.RandomState, goes_on: bool, *, inside: bool = False
    ) -> None:
        """A `fit`, of this estimator alone or `inside` that of another."""
        checkpoint = self._make_checkpoint(data, self.n_iter_ if goes_on else 0)
        if self.early_stopping:
            data = data.hold_out(self.validation_fraction, rng, stratify=is_classifier(self))
        self._prepare(data, rng, goes_on)
        self._train(data, rng, whole_fit=True, checkpoint=checkpoint, inside=inside)

    def _fit_one_pass(self, data: TrainingData, rng: np.random.RandomState, first: bool) -> None:
        """A `partial_fit`: the start if it is the `first`, and one pass over `data`."""
        self._prepare(data, rng, goes_on=not first)
        self._train(data, rng, whole_fit=False)

    def _validate_training_data(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None,
        *,
        reset: bool,
        of_fit: bool = True,
    ) -> TrainingData:
        """What is to be learned from; in all processes that train together, the same."""
        processes = Processes.current()
        data: TrainingData = processes.each(
            lambda: self._make_training_data(X, y, sample_weight, reset=reset, of_fit=of_fit)
        )
        if processes.size > 1:
            processes.require_same(data.samples.X.shape, "shapes of X")
            iteration = 0 if reset else self.n_iter_
            identity = self._identify(data, iteration)
            processes.require_same(identity, "parameters, samples or labels", show=False)
        return data

    def _make_training_data(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, *, reset: bool, of_fit: bool
    ) -> TrainingData:
        X, y = self._validate_samples(X, y, reset=reset, **self._target_checks)
        weight = _check_sample_weight(
            as_array(sample_weight, "sample_weight"),
            X,
            dtype=np.float64,
            copy=True,
            ensure_non_negative=True,
        )
        targets = self._encode_targets(y, weight, reset=reset, of_fit=of_fit)
        samples = Samples(
            X, self._torch_device(), getattr(torch, self.dtype), self._divisor, reread=True
        )
        return TrainingData(
            samples=samples,
            input_shape=self._image_shape or X.shape[1:],
            labels=y,
            targets=targets,
            held_out=np.empty(0, dtype=np.intp),
        )

    @property
    def _saved(self) -> tuple[str, ...]:
        own = ("_image_shape", "_divisor", "_started_with")
        return (*super()._saved, *own, *self._known_of_targets)

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
        return self._training.curves["loss"].tolist()

    def _random_state(self) -> np.random.RandomState:
        rng = seeded_generator(self)
        processes = Processes.current()
        if processes.size > 1:
            state = processes.of_first(rng.get_state())
            if self.random_state is None:
                rng = np.random.RandomState()  # not the global one
            rng.set_state(state)
        return rng

    def _prepare(self, data: TrainingData, rng: np.random.RandomState, goes_on: bool) -> None:
        """Have a model to train: a new one, or the present one; in all processes, the same."""
        processes = Processes.current()
        processes.each(lambda: self._make_model(data, rng, goes_on))
        processes.copy_from_first_(self.module_)

    def _make_model(self, data: TrainingData, rng: np.random.RandomState, goes_on: bool) -> None:
        self._check_combinations()
        if not goes_on:
            try:
                self._start(data, rng)
            except DivergenceError as error:  # of an estimator inside the user's network
                raise ValueError(str(error)) from error
            self._started_with = {
                # A copy: `set_params` may change an estimator inside.
                name: clone(getattr(self, name), safe=False)
                for name in self._parameters_of_network
            }
            return
        refuse_changes(self, self._started_with)
        # Train a copy: the present model is still needed if training fails.
        self.module_ = deepcopy(self.module_)
        self._training = self._training.copy()
        self._training.finished = False

    def _train(
        self,
        data: TrainingData,
        rng: np.random.RandomState,
        *,
        whole_fit: bool,
        checkpoint: Checkpoint | None = None,
        inside: bool = False,
    ) -> None:
        """Train `module_` on from where `_training` stands: a whole fit, or one pass.

        `inside`: the fit of another estimator is what callbacks know of, and what Ctrl-C ends.
        """
        processes = Processes.current()
        seed = rng.randint(2**31)
        network, state = self.module_, self._training
        device, dtype = data.samples.device, data.samples.dtype
        network.to(device=device, dtype=dtype)
        targets = data.targets
        labelled, unlabelled = targets.rows(LABELLED), targets.rows(UNLABELLED)
        early_stopping = None
        if len(data.held_out):
            early_stopping = EarlyStopping(
                lambda: self._validation_score(data), self.n_iter_no_change, self.tol
            )
        sampler = BatchSampler(len(labelled), self.batch_size, seed, state.iteration)
        # Forth and back.
        work = 3 * int(self.batch_size) * multiply_adds(network, data.samples[np.arange(1)])
        n_iter = sampler.n_batches
        if whole_fit:
            n_iter = self._count_iterations(sampler.n_batches, work)
        unlabelled_sampler = None
        if len(unlabelled):
            unlabelled_sampler = BatchSampler(
                len(unlabelled), self.batch_size, rng.randint(2**31), state.iteration
            )

        loss_of_batch = self._make_loss()
        # Of use where samples are seen again.
        memory = self._support_memory(data.samples) if n_iter > sampler.n_batches else None

        def draw(rows: NDArray[np.intp]) -> tuple[Tensor, Supports | None]:
            return data.samples[rows], memory and memory.at(torch.from_numpy(rows))

        values = torch.from_numpy(targets.values).to(device)
        sample_weight = torch.from_numpy(targets.sample_weight).to(device, dtype)

        # Of several processes each draws other numbers, of which a checkpoint knows nothing.
        draws_by_step = processes.size > 1 and self._draws_while_training()

        def compute_loss(step: int) -> tuple[Tensor, dict[str, float]]:
            if draws_by_step:
                torch.manual_seed((seed + step * processes.size + processes.rank) % 2**32)
            whole = labelled[sampler.batch(step)]
            rows, share = processes.share(whole)
            on_device = torch.from_numpy(rows).to(device)
            x, supports = draw(rows)
            batch = Batch(x, values[on_device], share * sample_weight[on_device], supports)
            if unlabelled_sampler:
                rows, batch.unlabelled_weight = processes.share(
                    unlabelled[unlabelled_sampler.batch(step)]
                )
                batch.unlabelled, batch.unlabelled_supports = draw(rows)
            with processes.batch_norms(len(whole)):
                loss, metrics = loss_of_batch(batch)
            return loss, {name: share * value for name, value in metrics.items()}

        def make_callbacks() -> EpochCallbacks | None:
            if not whole_fit or inside or not processes.is_first:
                return None
            n_epochs = -(-n_iter // sampler.n_batches)
            return EpochCallbacks(self, data.samples.X, data.labels, n_epochs, self._snapshot)

        callbacks = processes.each(make_callbacks)
        # After a pass alone, the model before it is kept: a loop over chunks is to end.
        interruptible = whole_fit and not inside
        if interruptible:
            interrupts.wait_from_here()  # after the first step there is a model to keep
        own_rng: AbstractContextManager[None] = nullcontext()
        if self._draws_while_training():
            # Calls of partial_fit, of one seed, must not all draw the same.
            own_rng = seeded_torch((seed + state.iteration) % 2**32, device)
        until = state.iteration + n_iter
        try:
            with (
                interrupts.held(),
                own_rng,
                deterministic_convolutions(device),
                few_threads(work),
            ):
                train(
                    network,
                    compute_loss,
                    self._make_optimizer(),
                    sampler,
                    state,
                    until=until,
                    rate_factor=self._rate_factor(state.iteration, n_iter if whole_fit else None),
                    early_stopping=early_stopping,
                    checkpoint=checkpoint,
                    on_epoch=callbacks.end_epoch if callbacks else None,
                    interruptible=interruptible,
                    processes=processes,
                    advice=self._advice,
                    verbose=bool(self.verbose),
                )
        finally:
            # A fitted model has no device.
            network.cpu().eval()
            state.moments.cpu_()
        if callbacks:
            with ended_by_interrupt(state, until), interrupts.allowed():
                callbacks.end_fit()
        if whole_fit and not len(unlabelled) and early_stopping is None and processes.is_first:
            n_taken = state.iteration - (until - n_iter)
            was_long = n_taken >= max(_LONG, _LONG_IN_PASSES * sampler.n_batches)
            self._warn_of_poor_end(targets.values[labelled], was_long=was_long)

    def _warn_of_poor_end(self, values: NDArray[Any], *, was_long: bool) -> None:
        """Warn if the last pass had a loss far above that of a model that says nothing.

        Of a classifier whose training `was_long`, also if it was hardly below.
        """
        loss = self._training.history[-1].get("loss", 0.0) if self._training.history else 0.0
        of_zeros = self._loss_of_zeros(torch.from_numpy(values))
        end = f"it ended with a loss of {loss:.3g}, where outputs that are all zero have "
        end += f"{of_zeros:.3g}"
        message = ""
        if loss > _DIVERGED * of_zeros > 0:
            message = f"Training has diverged: {end}. Lower learning_rate"
        elif was_long and is_classifier(self) and loss > _AT_CHANCE * of_zeros > 0:
            message = (
                f"Training has learned next to nothing: {end}. If the classes can be told from "
                "the samples, try another optimizer, or another learning_rate"
            )
        if message:
            warnings.warn(
                f"{message} (it is {self.learning_rate:g}){self._advice}.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _outputs_held_out(self, data: TrainingData) -> NDArray[Any]:
        """Output of the network in training for the samples held out."""
        self.module_.eval()
        outputs = apply_in_batches(self.module_, data.samples, data.held_out)
        self.module_.train()
        return outputs

    def _snapshot(self) -> dict[str, Any]:
        """Fitted attributes of a model that stops learning now."""
        return {
            **{name: getattr(self, name) for name in self._known_of_targets},
            "module_": deepcopy(self.module_).cpu().eval(),
            "_training": self._training.copy(),
        }

    def _make_checkpoint(self, data: TrainingData, iteration: int) -> Checkpoint | None:
        """Where a fit that starts after `iteration` is written."""
        if self.checkpoint is None:
            return None
        checkpoint = Checkpoint(
            self.checkpoint,
            self._identify(data, iteration),
            global_rng=self._draws_while_training(),
        )
        processes = Processes.current()
        processes.each(lambda: checkpoint.check(writes=processes.is_first))
        return checkpoint

    def _identify(self, data: TrainingData, iteration: int) -> str:
        """Which fit it is that starts after `iteration`: its parameters and its data."""
        parameters = {
            name: clone(value, safe=False)  # what an estimator has learned is no parameter
            for name, value in self.get_params(deep=False).items()
            # Which do not change the result.
            if name not in ("checkpoint", "device", "sparse_output", "verbose")
        }
        return identify(parameters, iteration, data.samples.X, *vars(data.targets).values())
