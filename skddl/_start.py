"""What the starts of all estimators with dictionaries share: samples, scales, dictionary, W."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._base import Samples, apply_in_batches, dtype_name, range_error
from ._class_dictionary import class_dictionary
from ._first_atoms import draw_atoms, warn_of_zero_codes
from ._first_output import fit_output_
from ._online_dictionary import OnlineDictionaryLearning
from ._sparsity import with_nonzeros
from ._standardization import LARGEST_LOSS, ULPS
from ._training_data import LABELLED, UNLABELLED, Targets
from .nn import SparseCode
from .nn._losses import Loss

# Samples from which dictionary and W start: all of MNIST; more would only cost memory.
_MAX_INIT_SAMPLES = 60_000
# Samples whose mean norm is taken for that of all.
_SCALE_SAMPLES = 1000


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
    too_small = x.abs().max() < torch.finfo(x.dtype).tiny and samples.raw(rows).any()
    if not x.isfinite().all() or too_small:
        raise range_error(samples.dtype)
    if not np.can_cast(samples.X.dtype, dtype_name(x.dtype)):
        _require_spread(x.cpu().numpy(), samples.raw(rows).astype(np.float64) / samples.divisor)
    return x


def _require_spread(rounded: NDArray[Any], exact: NDArray[np.float64]) -> None:
    """Raise ValueError if rounding takes away what samples differ by."""
    lost, spread = np.linalg.norm(rounded - exact), np.linalg.norm(exact - exact.mean(axis=0))
    varies = spread > ULPS * np.finfo(np.float64).eps * np.linalg.norm(exact)
    if varies and lost > LARGEST_LOSS * spread:
        raise ValueError(
            f"The samples vary too little around their mean for {rounded.dtype}. Subtract it "
            "first, for example with StandardScaler, or pass dtype='float64'."
        )


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
    lowest, highest = (math.frexp(value)[1] - 1 for value in (limits.tiny, limits.max))
    return float(2.0 ** np.clip(np.round(norm), lowest, highest))


def start_dictionary_(
    code: SparseCode,
    inputs: NDArray[Any],
    *,
    n_nonzero_coefs: int | None,
    init: str,
    rng: np.random.RandomState,
    labelled: NDArray[np.bool_] | None = None,
    classes: NDArray[Any] | None = None,
) -> int:
    """Have atoms learned ("odl", "class-odl") or drawn ("samples"); how many were re-drawn.

    "class-odl" learns from the inputs that are `labelled`, with their `classes`. With
    `n_nonzero_coefs` lambda1 is found, and may change in training. Warns if the atoms leave every
    code zero.
    """
    n_components, n_redrawn = len(code.dictionary), 0
    if n_nonzero_coefs is not None:  # of atoms that are not learned yet
        atoms = draw_atoms(inputs, n_components, rng, positive=code.positive_dict)
        code.problem = with_nonzeros(code.problem, inputs, atoms, n_nonzero_coefs)
    if init == "class-odl":
        atoms, n_redrawn = class_dictionary(
            inputs[labelled],
            classes,
            n_components=n_components,
            **vars(code.problem),
            positive_dict=code.positive_dict,
            random_state=rng,
        )
    elif init == "samples":
        atoms = draw_atoms(inputs, n_components, rng, positive=code.positive_dict)
    else:
        odl = OnlineDictionaryLearning(
            n_components, **vars(code.problem), positive_dict=code.positive_dict
        )._fit_inside(inputs, rng)
        atoms, n_redrawn = odl.components_, odl.n_redrawn_
    warn_of_zero_codes(code.problem, inputs if labelled is None else inputs[labelled], atoms)
    if n_nonzero_coefs is not None:
        code.problem = with_nonzeros(code.problem, inputs, atoms, n_nonzero_coefs)
        code.let_lambda1_change_()
    with torch.no_grad():
        code.dictionary.copy_(torch.from_numpy(atoms))
    return n_redrawn


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
