"""The state from which task-driven dictionary learning starts (paper 1, section IV)."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn

from ._base import Samples
from ._class_dictionary import atoms_per_class
from ._first_atoms import auto_lambda1, warn_of_scale
from ._first_output import auto_nu1
from ._sparsity import require_sparsity
from ._start import draw_rows, first_inputs, fit_first_output_, start_dictionary_
from ._training_data import LABELLED, Targets
from ._user_network import count_features, make_user_module
from .nn import LeNetFeatures, LinearFeatures, SparseCode
from .nn._inputs import Rescale
from .nn._losses import Loss
from .nn.task_driven import TaskDrivenNetwork
from .sparse_coding import sparse_encode

# Atoms of a regressor, unless the user says otherwise or there are fewer samples.
_N_ATOMS = 100
# Samples for each of its atoms, at the least.
_SAMPLES_PER_ATOM = 10
# Atoms of each class where more samples will come.
_ATOMS_PER_CLASS_OF_STREAM = 20


@dataclass(frozen=True)
class Start:
    """Where training starts.

    Attributes
    ----------
    network : TaskDrivenNetwork
    n_redrawn : int
        How many atoms were re-drawn.
    nu1 : float
        The weight of half the squared norm of W.
    code_size : float
        Mean l1 norm of the codes.
    """

    network: TaskDrivenNetwork
    n_redrawn: int
    nu1: float
    code_size: float


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
        width = int(n_features_out or max(64, n_features // 4))
        module = LinearFeatures(n_features, width, bias=bias)
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


def atoms_of_stream(targets: Targets) -> int:
    """How many atoms suit samples of which nobody knows how many will come."""
    return _ATOMS_PER_CLASS_OF_STREAM * targets.n_outputs if targets.of_classes else _N_ATOMS


def start_network(
    features: nn.Module,
    n_features_out: int,
    samples: Samples,
    targets: Targets,
    *,
    n_components: int | None,
    lambda1: float | str,
    lambda2: float,
    n_nonzero_coefs: int | None,
    positive: bool,
    positive_dict: bool,
    loss: Loss,
    nu1: float | str,
    fit_intercept: bool,
    init: str,
    rng: np.random.RandomState,
) -> Start:
    """Dictionary of the initial features, then the best W for their codes (paper 1, Eq. 5)."""
    rows = draw_rows(targets, rng)
    labelled = targets.role[rows] == LABELLED
    values = targets.values[rows[labelled]]
    inputs = first_inputs(features.eval(), samples, rows)
    warn_of_scale(inputs, nu1)
    lambda1 = auto_lambda1(inputs) if lambda1 == "auto" else float(lambda1)
    if n_components is None and targets.of_classes:
        n_components = int(atoms_per_class(values).sum())
    elif n_components is None:
        n_components = max(1, min(_N_ATOMS, len(rows) // _SAMPLES_PER_ATOM))
    n_components = int(n_components)
    require_sparsity("auto", n_nonzero_coefs, n_components)
    code = SparseCode(
        n_features_out,
        n_components,
        lambda1=lambda1,
        lambda2=lambda2,
        positive=positive,
        positive_dict=positive_dict,
    ).to(samples.dtype)
    n_redrawn = start_dictionary_(
        code,
        inputs,
        n_nonzero_coefs=n_nonzero_coefs,
        init=init,
        rng=rng,
        labelled=labelled,
        classes=values,
    )

    network = TaskDrivenNetwork(features, code, targets.n_outputs, bias=fit_intercept)
    network.to(samples.dtype)
    atoms = code.dictionary.detach().numpy()
    codes = torch.from_numpy(sparse_encode(inputs[labelled], atoms, **vars(code.problem)))
    if nu1 == "auto":
        nu1 = auto_nu1(
            codes,
            values,
            targets.sample_weight[rows[labelled]],
            n_samples=len(targets.rows(LABELLED)),
            of_classes=targets.of_classes,
            fit_intercept=fit_intercept,
        )
    nu1 = float(nu1)
    fit_first_output_(network.classifier, codes, targets, rows[labelled], loss, nu1)
    code_size = float(codes.double().abs().sum(1).mean())
    return Start(network, n_redrawn, nu1, code_size or 1.0)
