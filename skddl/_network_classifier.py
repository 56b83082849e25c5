"""What the network classifiers share: architectures, and the recipe by which they are trained."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log, prod
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ._base import seeded_torch
from ._classifier import TorchClassifier
from ._interrupts import interrupts
from ._onnx import ClassOutputs, write_onnx
from ._standardization import standardized_inputs
from ._training_data import LABELLED, Batch, TrainingData
from ._user_network import count_features, make_user_module
from .nn import MLP, ConvNet, LeNet, PlainNet, QMetricReLU, ResNet
from .nn._inputs import StandardizedInputs
from .nn._network import FeatureClassifier
from .training import (
    AUGMENTATIONS,
    OPTIMIZERS,
    SCHEDULES,
    Group,
    RateFactor,
    TrainingState,
    augment_rows,
    make_optimizer,
    over_training,
    require_images,
)

_PLAIN = {f"plain-{depth}": depth for depth in (3, 6, 9, 12)}
_RESIDUAL = {f"resnet-{depth}": depth for depth in (8, 20, 56, 110)}
ARCHITECTURES = {"dense", "conv-3", *_PLAIN, *_RESIDUAL}

# Parameters of these are not decayed unless asked: a metric decays to a ReLU, a scale to zero.
_WITHOUT_DECAY = (QMetricReLU, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class NetworkClassifier(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TorchClassifier):
    """Base of the network classifiers; subclasses document the parameters, and may add some."""

    module_: FeatureClassifier

    _parameters_of_network: ClassVar[tuple[str, ...]] = (
        "hidden_layer_sizes",
        "architecture",
        "image_shape",
        "width",
        "dropout",
        "batch_norm",
        "standardize",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "architecture": [StrOptions(ARCHITECTURES), callable],
        "image_shape": [None, tuple, list],
        "width": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left"), tuple, list],
        "batch_norm": ["boolean"],
        "standardize": ["boolean"],
        "augment": [None, StrOptions(set(AUGMENTATIONS)), callable],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "decay_all": ["boolean"],
        "lr_schedule": [StrOptions(set(SCHEDULES)), callable],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "mixed_precision": ["boolean"],
        "compile": ["boolean"],
        "class_weight": [None, dict, StrOptions({"balanced"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"float32", "float64"})],
        "checkpoint": [None, str, PathLike],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        *,
        architecture: str | Callable[[tuple[int, ...]], nn.Module] = "dense",
        image_shape: tuple[int, int, int] | None = None,
        width: float = 1.0,
        dropout: float | tuple[float, float] = 0.0,
        batch_norm: bool = True,
        standardize: bool = True,
        augment: str | Callable[[Tensor], Tensor] | None = None,
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 5e-4,
        decay_all: bool = False,
        lr_schedule: str | Callable[[float], float] = "step",
        label_smoothing: float = 0.0,
        optimizer: str = "sgd",
        mixed_precision: bool = False,
        compile: bool = False,
        class_weight: dict[Any, float] | str | None = None,
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
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.architecture = architecture
        self.image_shape = image_shape
        self.width = width
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.standardize = standardize
        self.augment = augment
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.decay_all = decay_all
        self.lr_schedule = lr_schedule
        self.label_smoothing = label_smoothing
        self.optimizer = optimizer
        self.mixed_precision = mixed_precision
        self.compile = compile
        self.class_weight = class_weight
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

    @property
    def _advice(self) -> str:
        name = self.architecture
        may_have_norms = isinstance(name, str) and name in ARCHITECTURES and not self.batch_norm
        return ", or pass batch_norm=True" if may_have_norms else ""

    def _activation(self) -> dict[str, Any]:
        """Parameters of the networks that say what the activations are."""
        return {"activation": "relu"}

    def _start(self, data: TrainingData, rng: np.random.RandomState) -> None:
        with interrupts.held(), seeded_torch(rng.randint(2**31)), interrupts.allowed():
            network = self._build_network(data.input_shape, data.targets.n_outputs)
        inputs = standardized_inputs(
            data.samples,
            data.targets.rows(LABELLED),
            data.input_shape,
            standardize=self.standardize,
        )
        self.module_ = _with_inputs(inputs, network).to(data.samples.dtype)
        self._training = TrainingState()

    def _empty_module(
        self, input_shape: tuple[int, ...], shapes: Mapping[str, torch.Size], lambda1: list[float]
    ) -> FeatureClassifier:
        # Each layer has weights: of a file, their number is to be that of the layers.
        if self.architecture == "dense" and len(self._list_hidden_layers()) > len(shapes):
            raise ValueError(f"hidden_layer_sizes are more than there are weights, {len(shapes)}.")
        n_channels = input_shape[0]
        return _with_inputs(
            StandardizedInputs(input_shape, torch.empty(n_channels), torch.empty(n_channels)),
            self._build_network(input_shape, shapes["classifier.weight"][0]),
        )

    def _fit_inside(self, data: TrainingData) -> None:
        """A `fit` within that of another estimator, which has validated the samples."""
        self._validate_params()
        self._image_shape = data.input_shape if len(data.input_shape) == 3 else None
        self._divisor = data.samples.divisor
        self._fit_to(data, self._random_state(), goes_on=False, inside=True)

    def _build_network(self, input_shape: tuple[int, ...], n_classes: int) -> FeatureClassifier:
        """The network for samples of `input_shape`."""
        options: dict[str, Any] = {
            "n_classes": n_classes,
            "dropout": self._list_dropout_rates(),
            "batch_norm": self.batch_norm,
            **self._activation(),
        }
        if self.architecture == "dense":
            return MLP(prod(input_shape), self._list_hidden_layers(), **options)
        if callable(self.architecture):
            module = make_user_module(self.architecture, input_shape, parameter="architecture")
            n_found = count_features(
                nn.Sequential(nn.Unflatten(1, input_shape), module),
                prod(input_shape),
                getattr(torch, self.dtype),
                parameter="architecture",
                value=self.architecture,
            )
            return FeatureClassifier(module, nn.Linear(n_found, n_classes))
        if len(input_shape) != 3:
            raise ValueError(
                f"architecture={self.architecture!r} needs images: pass image_shape=(C, H, W), or "
                "X of shape (n, C, H, W)."
            )
        network = self._build_image_network(input_shape, options)
        if min(input_shape[1:]) < network.min_image_size:
            raise ValueError(
                f"image_shape={input_shape} is too small for architecture={self.architecture!r}: "
                f"height and width must be at least {network.min_image_size}."
            )
        return network

    def _build_image_network(
        self, image_shape: tuple[int, ...], options: dict[str, Any]
    ) -> ConvNet | PlainNet | ResNet | LeNet:
        """The network of the architecture of that name."""
        options |= {"width": self.width}
        name = str(self.architecture)
        channels, height, width = image_shape
        if name == "conv-3":
            return ConvNet((channels, height, width), **options)
        options |= {"in_channels": channels}
        if name in _PLAIN:
            return PlainNet(_PLAIN[name], **options)
        return ResNet(_RESIDUAL[name], **options)

    def _list_dropout_rates(self) -> tuple[float, ...]:
        given = self.dropout
        rates = tuple(given) if isinstance(given, Iterable) else (0.0, given)
        if len(rates) != 2 or not all(isinstance(rate, Real) and 0 <= rate < 1 for rate in rates):
            raise ValueError(f"dropout must be a rate in [0, 1) or two of them, got {given!r}.")
        return rates

    def _list_hidden_layers(self) -> list[int]:
        given = self.hidden_layer_sizes
        sizes = list(given) if isinstance(given, Iterable) else [given]
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be ints >= 1, got {given!r}.")
        return [int(size) for size in sizes]

    def _check_combinations(self) -> None:
        self._list_dropout_rates()
        self._list_hidden_layers()
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum > 0, got momentum=0.")
        if self.mixed_precision and self.dtype == "float64":
            raise ValueError(
                "mixed_precision=True trains a float32 model in bfloat16 where that is safe: it "
                "needs dtype='float32', got dtype='float64'."
            )
        require_images(self.augment, self._image_shape)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        spared = {
            id(parameter)
            for module in self.module_.modules()
            if isinstance(module, _WITHOUT_DECAY)
            for parameter in module.parameters()
        }
        # The groups are always the same: moments are kept by the number of a parameter.
        parameters = list(self.module_.parameters())
        groups = [
            Group([p for p in parameters if id(p) not in spared], self.weight_decay),
            Group([p for p in parameters if id(p) in spared], self.weight_decay * self.decay_all),
        ]
        options: dict[str, Any] = {}
        if self.optimizer == "sgd":
            options = {"momentum": self.momentum, "nesterov": self.nesterov}
        return make_optimizer(self.optimizer, groups, self.learning_rate, **options)

    def _count_iterations(self, n_batches: int, work: int) -> int:
        return self.max_epochs * n_batches

    def _rate_factor(self, start: int, n_iter: int | None) -> RateFactor:
        if n_iter is None:  # nobody knows how many calls of partial_fit there will be
            return lambda step: 1.0
        schedule = self.lr_schedule
        return over_training(schedule if callable(schedule) else SCHEDULES[schedule], start, n_iter)

    def _draws_while_training(self) -> bool:
        return (
            max(self._list_dropout_rates()) > 0
            or self.augment is not None
            or callable(self.architecture)
            or callable(self._activation()["activation"])
        )

    def _make_loss(self) -> Callable[[Batch], tuple[Tensor, dict[str, float]]]:
        network = self.module_
        forward = torch.compile(network) if self.compile else network

        def compute_loss(batch: Batch) -> tuple[Tensor, dict[str, float]]:
            x = batch.x
            if self.augment is not None:
                assert self._image_shape is not None
                x = augment_rows(self.augment, AUGMENTATIONS, x, self._image_shape)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bool(self.mixed_precision)):
                losses = nn.functional.cross_entropy(
                    self._forward_batch(forward, x),
                    batch.y,
                    reduction="none",
                    label_smoothing=self.label_smoothing,
                )
            return (losses * batch.sample_weight).mean(), {}

        return compute_loss

    def _loss_of_zeros(self, values: Tensor) -> float:
        return log(self.module_.classifier.out_features)

    def _forward_batch(self, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        try:
            return forward(x)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # as torch's batch norms say
                raise
            raise ValueError(
                "Batch normalisation cannot learn from a batch of one sample: raise batch_size (it "
                f"is {self.batch_size}) or pass batch_norm=False."
            ) from error

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Features of the samples: what the linear classifier decides on.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
        """
        return self._apply(lambda module, x: module.features(x), X)

    def to_onnx(self, path: str | PathLike[str]) -> None:
        """Write the fitted network as an ONNX file, to be run without skddl and without torch.

        Its input ``X`` has rows of samples in float32, as :meth:`predict` is given them (bytes as
        numbers up to 255). Its outputs are ``features``, as :meth:`transform` has them, ``scores``
        and ``probabilities`` of the classes. The classes are in the metadata, as JSON.

        Parameters
        ----------
        path : path-like
            The file, which is replaced if it exists.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ImportError
            If onnx, onnxscript or torch 2.9 is missing: ``pip install 'skddl[onnx]'`` brings them.
        ValueError
            If a :class:`~skddl.nn.QMetricReLU` of a network of yours has a `tol`.

        Examples
        --------
        >>> import tempfile, onnxruntime
        >>> from sklearn.datasets import load_digits
        >>> from skddl import DeTraMeClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = DeTraMeClassifier((20,), max_epochs=2, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.to_onnx(f"{folder}/digits.onnx")
        ...     session = onnxruntime.InferenceSession(f"{folder}/digits.onnx")
        >>> features, scores, probabilities = session.run(None, {"X": X.astype("float32")})
        >>> bool(abs(probabilities - clf.predict_proba(X)).max() < 1e-5)
        True
        """
        check_is_fitted(self)
        write_onnx(
            path,
            self.module_,
            ClassOutputs(self._divisor, "features", softmax=True),
            self.n_features_in_,
            {"classes": self.classes_.tolist()},
        )

    @property
    def _n_features_out(self) -> int:
        return self.module_.classifier.in_features

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _with_inputs(inputs: StandardizedInputs, network: FeatureClassifier) -> FeatureClassifier:
    """The network for rows of samples as they are given."""
    return FeatureClassifier(nn.Sequential(inputs, network.features), network.classifier)
