"""The state from which task-driven dictionary learning starts (paper 1, section IV)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._base import Samples, apply_in_batches, range_error
from ._first_atoms import auto_lambda1, draw_atoms, warn_of_zero_codes
from ._first_output import fit_output_
from ._training_data import LABELLED, UNLABELLED, Targets
from ._user_network import count_features, make_user_module
from .dictionary import OnlineDictionaryLearning, atoms_per_class, class_dictionary
from .nn import LeNetFeatures, LinearFeatures, SparseCode
from .nn._losses import Loss
from .nn.task_driven import TaskDrivenNetwork
from .sparse_coding._problem import ElasticNetProblem

# Samples from which dictionary and W start: all of MNIST; more would only cost memory.
_MAX_INIT_SAMPLES = 60_000
# Samples whose mean norm is taken for that of all.
_SCALE_SAMPLES = 1000
# Atoms of a regressor, unless the user says otherwise or there are fewer samples.
_N_ATOMS = 100


def make_features(
    features: Any,
    input_shape: tuple[int, ...],
    n_features_out: int | None,
    scale: float,
    dtype: torch.dtype,
    *,
    bias: bool,
    pretrained: nn.Module | None,
) -> tuple[nn.Module, int]:
    """The feature map for flat rows of samples of `input_shape`, and the length of its output.

    `features` is what the user gave, `pretrained` what has become of it, if that was a network to
    be trained first. `scale` is that of the samples, see `sample_scale`; `bias` is for linear
    features.
    """
    n_features = prod(input_shape)
    if pretrained is not None:
        module = pretrained
    elif features == "identity":
        module = nn.Identity()
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
    if features in ("linear", "lenet") and scale != 1:
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


def sample_scale(samples: Samples, rows: NDArray[np.intp]) -> float:
    """Mean norm of (at most 1,000 of) some rows of the samples, to the nearest power of two.

    Samples of unit norm are what the papers train on; others are brought near it, since the largest
    learning rate at which training is stable depends on their scale. Dividing by a power of two
    rounds nothing, and leaves samples of unit norm as they are.
    """
    return nearest_power_of_two(probe_samples(samples, rows), samples.dtype)


def probe_samples(samples: Samples, rows: NDArray[np.intp]) -> Tensor:
    """At most 1,000 of some rows of the samples; an error if their dtype cannot hold them."""
    rows = rows[np.linspace(0, len(rows) - 1, num=min(len(rows), _SCALE_SAMPLES), dtype=np.intp)]
    x = samples[rows]
    if not x.isfinite().all() or (not x.any() and samples.X[rows].any()):
        raise range_error(samples.dtype)
    return x


def first_inputs(
    below: Callable[[Tensor], Tensor], samples: Samples, rows: NDArray[np.intp]
) -> NDArray[Any]:
    """What a dictionary is to start from: some samples, as the network below it gives them."""
    inputs = apply_in_batches(below, samples, rows)
    if not np.isfinite(inputs).all():
        raise ValueError(
            "The initial features are not finite. Scale the samples, for example with "
            "SampleNormalizer."
        )
    return inputs


def nearest_power_of_two(x: Tensor, dtype: torch.dtype) -> float:
    """The power of two nearest to the mean norm of the rows, within `dtype`; 1 if that is 0."""
    x = x.double()
    largest = x.abs().max()
    if largest == 0:
        return 1.0
    # The squares in a norm must not overflow, nor must the power of two in the type of the samples.
    norm = largest.log2().item() + (x / largest).norm(dim=1).mean().log2().item()
    limits = torch.finfo(dtype)
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
    targets: Targets,
    *,
    n_components: int | None,
    lambda1: float | str,
    lambda2: float,
    loss: Loss,
    nu1: float,
    fit_intercept: bool,
    init: str,
    rng: np.random.RandomState,
) -> Start:
    """Dictionary of the initial features, then the best W for their codes (paper 1, Eq. 5)."""
    rows = draw_rows(targets, rng)
    labelled = targets.role[rows] == LABELLED
    values = targets.values[rows[labelled]]
    inputs = first_inputs(features.eval(), samples, rows)
    lambda1 = auto_lambda1(inputs) if lambda1 == "auto" else float(lambda1)
    if n_components is None and targets.of_classes:
        n_components = int(atoms_per_class(values).sum())
    elif n_components is None:
        n_components = min(_N_ATOMS, len(rows))
    code = SparseCode(n_features_out, n_components, lambda1=lambda1, lambda2=lambda2)
    if init == "class-odl":
        dictionary, n_redrawn = class_dictionary(
            inputs[labelled],
            values,
            n_components=n_components,
            lambda1=lambda1,
            lambda2=lambda2,
            random_state=rng,
        )
    else:
        dictionary, n_redrawn = first_dictionary(
            inputs, code.problem, n_components, init=init, rng=rng
        )

    network = TaskDrivenNetwork(features, code, targets.n_outputs, bias=fit_intercept)
    network.to(samples.dtype)
    with torch.no_grad():
        code.dictionary.copy_(torch.from_numpy(dictionary))
        codes = code(torch.from_numpy(inputs[labelled]))
        warn_of_zero_codes(code.problem, inputs[labelled], dictionary)
    fit_first_output_(network.classifier, codes, targets, rows[labelled], loss, nu1)
    return Start(network, n_redrawn)


def first_dictionary(
    inputs: NDArray[Any],
    problem: ElasticNetProblem,
    n_components: int,
    *,
    init: str,
    rng: np.random.RandomState,
) -> tuple[NDArray[Any], int]:
    """Atoms learned ("odl") or drawn ("samples") without labels, and how many were re-drawn."""
    if init == "samples":
        return draw_atoms(inputs, n_components, rng), 0
    odl = OnlineDictionaryLearning(n_components, **vars(problem), random_state=rng).fit(inputs)
    return odl.components_, odl.n_redrawn_


def fit_first_output_(
    output: nn.Linear,
    codes: Tensor,
    targets: Targets,
    rows: NDArray[np.intp],
    loss: Loss,
    nu1: float,
) -> None:
    """Set W and b to the best ones for the first codes, those of labelled rows (paper 1, Eq. 5)."""
    values, sample_weight = (
        torch.from_numpy(array[rows]) for array in (targets.values, targets.sample_weight)
    )
    fit_output_(output, codes, values, sample_weight, loss, nu1)


def draw_rows(targets: Targets, rng: np.random.RandomState) -> NDArray[np.intp]:
    """About 60,000 rows at most: those with labels first; of classes, at least one of each."""
    labelled, unlabelled = targets.rows(LABELLED), targets.rows(UNLABELLED)
    if (room := _MAX_INIT_SAMPLES - len(labelled)) >= 0:
        if len(unlabelled) > room:
            unlabelled = rng.choice(unlabelled, room, replace=False)
        return np.union1d(labelled, unlabelled)
    drawn = rng.choice(labelled, _MAX_INIT_SAMPLES, replace=False)
    if not targets.of_classes:
        return np.sort(drawn)
    first = labelled[np.unique(targets.values[labelled], return_index=True)[1]]
    return np.union1d(drawn, first)
