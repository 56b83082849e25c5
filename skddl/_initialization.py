"""The state from which task-driven dictionary learning starts (paper 1, section IV)."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from ._base import Samples, apply_in_batches, range_error
from ._first_atoms import auto_lambda1, draw_atoms, warn_of_zero_codes
from ._training_data import LEFT_OUT
from ._user_network import count_features, make_user_module
from .dictionary import OnlineDictionaryLearning, atoms_per_class, class_dictionary
from .nn import LeNetFeatures, LinearFeatures, SparseCode
from .nn.task_driven import TaskDrivenNetwork

# Samples from which dictionary and classifier start: all of MNIST; more would only cost memory.
_MAX_INIT_SAMPLES = 60_000
# Samples whose mean norm is taken for that of all.
_SCALE_SAMPLES = 1000


def make_features(
    features: str | Callable[[tuple[int, ...]], nn.Module],
    input_shape: tuple[int, ...],
    n_features_out: int | None,
    scale: float,
    dtype: torch.dtype,
    *,
    bias: bool,
) -> tuple[nn.Module, int]:
    """The feature map for flat rows of samples of `input_shape`, and the length of its output.

    `scale` is that of the samples, see `sample_scale`; `bias` is for linear features.
    """
    n_features = prod(input_shape)
    if features == "identity":
        module: nn.Module = nn.Identity()
    elif features == "linear":
        module = LinearFeatures(n_features, n_features_out or max(64, n_features // 4), bias=bias)
    elif features == "lenet":
        if len(input_shape) != 3:
            raise ValueError(
                "features='lenet' needs images: pass image_shape=(C, H, W), or X of shape "
                "(n, C, H, W)."
            )
        channels, height, width = input_shape
        module = _lenet((channels, height, width), n_features_out)
    else:
        module = make_user_module(features, input_shape, parameter="features")
        if len(input_shape) > 1:
            module = nn.Sequential(nn.Unflatten(1, input_shape), module)
    if isinstance(features, str) and features != "identity" and scale != 1:
        module = nn.Sequential(Rescale(scale), module)
    module.to(dtype).eval()
    n_found = count_features(
        module, n_features, dtype, parameter="features", value=features, expected=n_features_out
    )
    return module, n_found


def _lenet(image_shape: tuple[int, int, int], n_features_out: int | None) -> nn.Module:
    module = LeNetFeatures(image_shape)
    if n_features_out is None or n_features_out == module.n_features_out:
        return module
    per_filter = module.n_features_out // module.conv2.out_channels
    if n_features_out % per_filter:
        raise ValueError(
            f"n_features_out={n_features_out} must be a multiple of {per_filter}, the number of "
            f"features that each filter of 'lenet' gives on images of shape {image_shape}."
        )
    filters = (module.conv1.out_channels, n_features_out // per_filter)
    return LeNetFeatures(image_shape, n_filters=filters)


class Rescale(nn.Module):
    """Divide by a constant."""

    scale: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """The inputs, divided."""
        return x / self.scale


def sample_scale(samples: Samples, y: NDArray[np.intp]) -> float:
    """Mean norm of (at most 1,000 of) the samples that count, to the nearest power of two.

    Samples of unit norm are what the papers train on; others are brought near it, since the largest
    learning rate at which training is stable depends on their scale. Dividing by a power of two
    rounds nothing, and leaves samples of unit norm as they are.
    """
    rows = np.flatnonzero(y != LEFT_OUT)
    rows = rows[np.linspace(0, len(rows) - 1, num=min(len(rows), _SCALE_SAMPLES), dtype=np.intp)]
    x = samples[rows].double()
    largest = float(x.abs().max())
    if not np.isfinite(largest) or (largest == 0 and samples.X[rows].any()):
        raise range_error(samples.dtype)
    if largest == 0:
        return 1.0
    # The squares in a norm must not overflow, nor must the power of two in the type of the samples.
    norm = np.log2(largest) + np.log2(float((x / largest).norm(dim=1).mean()))
    limits = torch.finfo(samples.dtype)
    lowest, highest = np.log2(limits.tiny), np.floor(np.log2(limits.max))
    return float(2.0 ** np.clip(np.round(norm), lowest, highest))


@dataclass
class Start:
    """A network from which to train, and how it came about."""

    network: TaskDrivenNetwork
    n_redrawn: int


def start_network(
    features: nn.Module,
    n_features_out: int,
    samples: Samples,
    y: NDArray[np.intp],
    sample_weight: NDArray[Any],
    *,
    n_classes: int,
    n_components: int | None,
    lambda1: float | str,
    lambda2: float,
    nu1: float,
    fit_intercept: bool,
    init: str,
    rng: np.random.RandomState,
) -> Start:
    """Dictionary of the initial features, then the best W for their codes (paper 1, Eq. 5).

    `y` and `sample_weight` are those of :class:`skddl._training_data.TrainingData`.
    """
    rows = _draw_rows(y, rng)
    y, sample_weight = y[rows], sample_weight[rows]
    labelled = y >= 0
    inputs = apply_in_batches(features.eval(), samples, rows)
    if not np.isfinite(inputs).all():
        raise ValueError(
            "The initial features are not finite. Scale the samples, for example with "
            "SampleNormalizer."
        )
    lambda1 = auto_lambda1(inputs) if lambda1 == "auto" else float(lambda1)
    if n_components is None:
        n_components = int(atoms_per_class(y[labelled]).sum())
    if init == "class-odl":
        dictionary, n_redrawn = class_dictionary(
            inputs[labelled],
            y[labelled],
            n_components=n_components,
            lambda1=lambda1,
            lambda2=lambda2,
            random_state=rng,
        )
    elif init == "odl":
        odl = OnlineDictionaryLearning(
            n_components, lambda1=lambda1, lambda2=lambda2, random_state=rng
        ).fit(inputs)
        dictionary, n_redrawn = odl.components_, odl.n_redrawn_
    else:
        dictionary, n_redrawn = draw_atoms(inputs, n_components, rng), 0

    code = SparseCode(n_features_out, n_components, lambda1=lambda1, lambda2=lambda2)
    network = TaskDrivenNetwork(features, code, n_classes, bias=fit_intercept).to(samples.dtype)
    with torch.no_grad():
        code.dictionary.copy_(torch.from_numpy(dictionary))
        codes = code(torch.from_numpy(inputs[labelled])).numpy()
        warn_of_zero_codes(code.problem, inputs[labelled], dictionary)
        weight, bias = _best_classifier(
            codes, y[labelled], sample_weight[labelled], n_classes, nu1, fit_intercept
        )
        network.classifier.weight.copy_(torch.from_numpy(weight))
        if fit_intercept:
            network.classifier.bias.copy_(torch.from_numpy(bias))
    return Start(network, n_redrawn)


def _draw_rows(y: NDArray[np.intp], rng: np.random.RandomState) -> NDArray[np.intp]:
    """At most 60,000 rows, at least one of each class among them."""
    rows = np.flatnonzero(y != LEFT_OUT)
    if len(rows) <= _MAX_INIT_SAMPLES:
        return rows
    drawn = rng.choice(rows, _MAX_INIT_SAMPLES, replace=False)
    return np.union1d(drawn, rows[np.unique(y[rows], return_index=True)[1]])


def _best_classifier(
    codes: NDArray[Any],
    y: NDArray[np.intp],
    sample_weight: NDArray[Any],
    n_classes: int,
    nu1: float,
    fit_intercept: bool,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """W of the convex problem (5), ``mean loss + nu1/2 ||W||^2``, and the intercept.

    Both are zero for classes not in `y`.
    """
    weight = np.zeros((n_classes, codes.shape[1]), dtype=codes.dtype)
    intercept = np.zeros(n_classes, dtype=codes.dtype)
    present = np.unique(y)
    if len(present) == 1:
        return weight, intercept
    # scikit-learn minimises C sum loss + 1/2 ||W||^2. Of two classes it learns one row, the
    # difference w of our two, whose penalty is least where they are -w/2 and w/2: nu1/4 ||w||^2.
    scale = float(sample_weight.sum()) * nu1 * (0.5 if len(present) == 2 else 1.0)
    model = LogisticRegression(
        C=1 / scale if scale > 0 else np.inf, fit_intercept=fit_intercept, max_iter=500
    )
    with warnings.catch_warnings():
        # A start need not be exact.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(codes, y, sample_weight=sample_weight)
    for ours, theirs in ((weight, model.coef_), (intercept, model.intercept_)):
        ours[present] = np.concatenate([-theirs / 2, theirs / 2]) if len(present) == 2 else theirs
    return weight, intercept
