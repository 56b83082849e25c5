"""What the task-driven classifier and the regressor share: features under one dictionary."""

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

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
from ._sparse_code_estimator import SparseCodeEstimator
from ._sparsity import require_sparsity
from ._start import sample_scale
from ._start_task_driven import make_features, start_network
from ._training_data import LABELLED, UNLABELLED, Batch, TrainingData
from .nn import SparseCode
from .nn.task_driven import TaskDrivenNetwork
from .sparse_coding._solution import Supports
from .training import augment_rows, make_optimizer, require_images, shift_by_one

# Atoms of a support that is kept; entries of all of them with their sizes, 4 bytes each: 256 MiB.
_MEMORY_WIDTH, _MEMORY_ENTRIES = 128, 2**26
# Codes, unlike networks with pooling, forgive no more than one pixel.
_AUGMENTATIONS = {"shift": shift_by_one}
# So many at least: the first few atoms of a support are hardly a start.
_LEAST_WIDTH = 8


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
        lambda2: float = 0.0,
        n_nonzero_coefs: int | None = None,
        nu1: float = 0.1,
        nu2: float = 0.0,
        learning_rate: float = 0.01,
        t0: float | None = None,
        max_iter: int = 1000,
        batch_size: int = 100,
        init: str = "odl",
        positive: bool = False,
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
            network, n_redrawn = start_network(
                features,
                n_features_out,
                samples,
                data.targets,
                n_components=self.n_components,
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
        self._begin(network, n_redrawn)

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
        groups: list[tuple[Iterable[Tensor], float]] = [
            ([network.classifier.weight], self.nu1),
            (network.features.parameters(), self.nu2),
            ([*network.code.parameters(), *bias], 0.0),
        ]
        return make_optimizer(self.optimizer, groups, self.learning_rate)

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
        return self.module_.encode(x, batch.supports)

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
