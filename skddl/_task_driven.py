"""What the task-driven classifier and the regressor share: features under one dictionary."""

from collections.abc import Callable, Mapping
from copy import copy
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ._arrays import decode
from ._base import Samples, seeded_torch
from ._interrupts import interrupts
from ._plan import Plan
from ._sparse_code_estimator import SparseCodeEstimator
from ._sparsity import follow_, require_sparsity
from ._start import sample_scale
from ._start_task_driven import atoms_of_stream, make_features, start_network
from ._training_data import LABELLED, UNLABELLED, Batch, TrainingData
from .nn import SparseCode
from .nn.task_driven import TaskDrivenNetwork
from .sparse_coding._solution import Supports
from .training import (
    SCHEDULES,
    Group,
    Processes,
    RateFactor,
    augment_rows,
    make_optimizer,
    over_training,
    require_images,
    shift_by_one,
)

# Most steps of a fit whose `max_iter` is None, and multiply-adds, some three minutes of one core.
_MOST_ITER, _MOST_WORK = 10_000, 2 * 10**12
# Atoms of a support that is kept; entries of all of them with their sizes, 4 bytes each: 256 MiB.
_MEMORY_WIDTH, _MEMORY_ENTRIES = 128, 2**26
# Codes, unlike networks with pooling, forgive no more than one pixel.
_AUGMENTATIONS = {"shift": shift_by_one}
# So many at least: the first few atoms of a support are hardly a start.
_LEAST_WIDTH = 8
# Factors of the learning rate, see `_make_optimizer`: of the change of a score by way of W, and of
# the parameters of the features in units of their own size.
_SCORE_RATE, _FEATURE_RATE = 5.0, 0.1


def _codes_samples(estimator: Any) -> bool:
    if estimator.features != "identity":
        raise AttributeError(
            f"inverse_transform needs features='identity': of features={estimator.features!r} no "
            "sample is the only one."
        )
    return True


class TaskDrivenEstimator(SparseCodeEstimator):
    """Base of the task-driven estimators; subclasses document the parameters, and may add some."""

    module_: TaskDrivenNetwork
    nu1_: float
    _code_size: float
    _plan: Plan = Plan()  # another only within a fit
    _passes: ClassVar[int]  # of a fit whose `max_iter` is None

    _parameters_of_network: ClassVar[tuple[str, ...]] = (
        "n_components",
        "features",
        "n_features_out",
        "image_shape",
        "lambda1",
        "lambda2",
        "n_nonzero_coefs",
        "positive",
        "positive_dict",
        "fit_intercept",
    )

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseCodeEstimator._parameter_constraints,
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "features": [StrOptions({"identity", "linear", "lenet"}), callable],
        "n_features_out": [None, Interval(Integral, 1, None, closed="left")],
        "lambda1": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "nu1": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "max_iter": [None, Interval(Integral, 1, None, closed="left")],
        "n_nonzero_coefs": [None, Interval(Integral, 1, None, closed="left")],
        "positive": ["boolean"],
        "positive_dict": ["boolean"],
        "augment": [None, StrOptions(set(_AUGMENTATIONS)), callable],
        "nu2": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        features: str | Callable[[tuple[int, ...]], nn.Module] = "linear",
        n_features_out: int | None = None,
        image_shape: tuple[int, int, int] | None = None,
        lambda1: float | str = "auto",
        lambda2: float = 0.05,
        n_nonzero_coefs: int | None = None,
        nu1: float | str = "auto",
        nu2: float = 0.0,
        learning_rate: float = 0.07,
        t0: float | None = None,
        max_iter: int | None = None,
        batch_size: int = 100,
        init: str = "odl",
        positive: bool = True,
        positive_dict: bool = False,
        augment: str | Callable[[Tensor], Tensor] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        checkpoint: str | PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        optimizer: str = "adam",
        fit_intercept: bool = True,
        sparse_output: bool = False,
    ) -> None:
        self.n_components = n_components
        self.features = features
        self.n_features_out = n_features_out
        self.image_shape = image_shape
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.n_nonzero_coefs = n_nonzero_coefs
        self.nu1 = nu1
        self.nu2 = nu2
        self.learning_rate = learning_rate
        self.t0 = t0
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.init = init
        self.positive = positive
        self.positive_dict = positive_dict
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose
        self.optimizer = optimizer
        self.fit_intercept = fit_intercept
        self.sparse_output = sparse_output

    def _make_plan(self, data: TrainingData) -> Plan:
        """With what a fit does best on samples that it has not seen."""
        raise NotImplementedError

    def _least_iter(self) -> int:
        """Least number of steps of a fit whose `max_iter` is None."""
        raise NotImplementedError

    def _for_trials(self, **parameters: Any) -> Self:
        """A copy whose fits nobody else hears of."""
        return copy(self).set_params(checkpoint=None, verbose=0, **parameters)

    def _fit_to(
        self, data: TrainingData, rng: np.random.RandomState, goes_on: bool, *, inside: bool = False
    ) -> None:
        is_open = self.max_iter is None and not self.early_stopping and not goes_on
        self._plan = Processes.current().of_first(self._make_plan(data)) if is_open else Plan()
        try:
            super()._fit_to(data, rng, goes_on, inside=inside)
        finally:
            del self._plan  # it is of this fit alone

    def _fit_one_pass(self, data: TrainingData, rng: np.random.RandomState, first: bool) -> None:
        self._plan = Plan(n_components=self.n_components or atoms_of_stream(data.targets))
        try:
            super()._fit_one_pass(data, rng, first)
        finally:
            del self._plan

    def _pretrained_features(
        self, data: TrainingData, rng: np.random.RandomState
    ) -> nn.Module | None:
        """A map of flat rows, if `features` is a network that is trained first."""
        return None

    def _start(self, data: TrainingData, rng: np.random.RandomState) -> None:
        samples = data.samples.on("cpu")
        pretrained = self._pretrained_features(data, rng)
        with interrupts.held(), seeded_torch(rng.randint(2**31)), interrupts.allowed():
            features, n_features_out = make_features(
                self.features,
                data.input_shape,
                self.n_features_out,
                sample_scale(samples, data.targets.rows(LABELLED, UNLABELLED)),
                samples.dtype,
                bias=self.fit_intercept,
                pretrained=pretrained,
            )
            start = start_network(
                features,
                n_features_out,
                samples,
                data.targets,
                n_components=self._plan.n_components or self.n_components,
                lambda1=self.lambda1,
                lambda2=self.lambda2,
                n_nonzero_coefs=self.n_nonzero_coefs,
                positive=self.positive,
                positive_dict=self.positive_dict,
                loss=self._loss(),
                nu1=self.nu1,
                fit_intercept=self.fit_intercept,
                init=self.init,
                rng=rng,
            )
        self.nu1_, self._code_size = start.nu1, start.code_size
        self._begin(start.network, start.n_redrawn)

    def _empty_module(
        self, input_shape: tuple[int, ...], shapes: Mapping[str, torch.Size], lambda1: list[float]
    ) -> nn.Module:
        features, n_features_out = make_features(
            self.features,
            input_shape,
            self.n_features_out,
            # Where they are scaled, the scale is in the state.
            2.0 if "features.0.scale" in shapes else 1.0,
            torch.float32,
            bias=self.fit_intercept,
            pretrained=self._empty_pretrained_features(input_shape, shapes),
        )
        code = SparseCode(
            n_features_out,
            shapes["code.dictionary"][0],
            lambda1=lambda1[0],
            lambda2=self.lambda2,
            positive=self.positive,
            positive_dict=self.positive_dict,
        )
        if self.n_nonzero_coefs is not None:
            code.let_lambda1_change_()
        n_outputs = shapes["classifier.weight"][0]
        return TaskDrivenNetwork(features, code, n_outputs, bias=self.fit_intercept)

    def _empty_pretrained_features(
        self, input_shape: tuple[int, ...], shapes: Mapping[str, torch.Size]
    ) -> nn.Module | None:
        """Those of `_pretrained_features`, of any weights."""
        return None

    def _make_optimizer(self) -> torch.optim.Optimizer:
        network = self.module_
        bias = [] if network.classifier.bias is None else [network.classifier.bias]
        dictionary = network.code.dictionary
        # A step of Adam changes each entry by about the rate, whatever the gradient. So an atom, of
        # norm 1, moves by the rate, and a score by as much as codes of that size make of W.
        groups = [
            Group([network.classifier.weight], self.nu1_, _SCORE_RATE / self._code_size),
            Group(bias, 0.0),
            Group([dictionary], 0.0, dictionary.shape[1] ** -0.5),
        ]
        sizes = _sizes_in_layers(network.features)
        groups += [Group([p], self.nu2, _FEATURE_RATE * size) for p, size in sizes.items()]
        options = {}
        if self.optimizer == "sgd":  # rho of Algorithm 1, for all alike
            groups = [group._replace(factor=1.0) for group in groups]
        elif self.optimizer in ("adam", "adamw"):
            # Once all samples are learned gradients vanish. Without AMSGrad their second moments
            # do, too, and the first sample that is hard throws the model back.
            options["amsgrad"] = True
        return make_optimizer(self.optimizer, groups, self.learning_rate, **options)

    def _count_iterations(self, n_batches: int, work: int) -> int:
        if self.max_iter is not None:
            return self.max_iter
        n_iter = min(
            max(self._passes * n_batches, self._least_iter()), _MOST_ITER, _MOST_WORK // work
        )
        return max(1, round(self._plan.share_of_steps * n_iter))

    def _rate_factor(self, start: int, n_iter: int | None) -> RateFactor:
        if self._plan.share_of_steps == 0:
            return lambda iteration: 0.0  # the one step that there has to be changes nothing
        if n_iter is not None:  # as in the trials, which took all the steps
            n_iter = round(n_iter / self._plan.share_of_steps)
        if n_iter is None or self.t0 is not None or self.optimizer == "sgd":
            return super()._rate_factor(start, n_iter)
        return over_training(SCHEDULES["linear"], start, n_iter)

    def _make_model(self, data: TrainingData, rng: np.random.RandomState, goes_on: bool) -> None:
        super()._make_model(data, rng, goes_on)
        if self.nu1 != "auto":
            self.nu1_ = float(self.nu1)

    def _support_memory(self, samples: Samples) -> Supports | None:
        # A GPU solves as fast as it can be told to start from somewhere, and what is augmented is
        # not seen again.
        if samples.device.type != "cpu" or self.augment is not None:
            return None
        n_components = len(self.module_.code.dictionary)
        width = min(n_components, _MEMORY_WIDTH, _MEMORY_ENTRIES // len(samples) - 1)
        if width < min(n_components, _LEAST_WIDTH):
            return None
        return Supports.empty(len(samples), width)

    def _check_combinations(self) -> None:
        super()._check_combinations()
        require_images(self.augment, self._image_shape)
        require_sparsity(self.lambda1, self.n_nonzero_coefs, self.n_components)

    def _encode(self, batch: Batch) -> Tensor:
        x = batch.x
        if self.augment is not None:
            assert self._image_shape is not None
            x = augment_rows(self.augment, _AUGMENTATIONS, x, self._image_shape)
        codes = self.module_.encode(x, batch.supports)
        if self.n_nonzero_coefs is not None:
            follow_(self.module_.code, codes, self.n_nonzero_coefs)
        return codes

    def _draws_while_training(self) -> bool:
        return self.augment is not None or not isinstance(self.features, str)

    @available_if(_codes_samples)
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Samples that the codes stand for, where the samples themselves are coded.

        There only with ``features="identity"``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        samples : ndarray of shape (n_samples, n_features)
            In the units of those of `fit`: of bytes, up to 255.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError, TypeError
            If the codes are no finite numbers, or not one per atom.
        """
        check_is_fitted(self)
        return decode(X, self.components_) * self._divisor

    @property
    def _saved(self) -> tuple[str, ...]:
        return (*super()._saved, "nu1_", "_code_size")

    def _snapshot(self) -> dict[str, Any]:
        return {**super()._snapshot(), "nu1_": self.nu1_, "_code_size": self._code_size}

    @property
    def components_(self) -> NDArray[Any]:
        """The atoms, (n_components, n_features_out)."""
        return self.module_.code.dictionary.detach().numpy()

    @property
    def lambda1_(self) -> float:
        """The weight of the l1 norm that is used."""
        return self.module_.code.problem.lambda1

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)


def _sizes_in_layers(network: nn.Module) -> dict[nn.Parameter, float]:
    """The root mean square of each parameter or, where it is larger, of one in the same layer.

    So biases, which are zero at first, are as large as the weights beside them.
    """
    sizes: dict[nn.Parameter, float] = {}
    for layer in network.modules():
        own = list(layer.parameters(recurse=False))
        size = max((float(p.detach().square().mean().sqrt()) for p in own), default=0.0)
        sizes |= {p: size or 1.0 for p in own if p not in sizes}
    return sizes
