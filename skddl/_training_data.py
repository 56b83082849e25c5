"""Samples and labels as training sees them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import compute_class_weight
from torch import Tensor

from ._base import Samples
from .sparse_coding._solution import Supports

LABELLED, UNLABELLED, LEFT_OUT = 1, 0, -1


def number_of_equal_weight(sample_weight: NDArray[Any]) -> float:
    """How many samples of equal weight tell as much as these (Kish's effective sample size)."""
    weight = sample_weight / sample_weight.max()
    return float(weight.sum() ** 2 / np.square(weight).sum())


@dataclass
class Targets:
    """Labels as the loss sees them.

    Attributes
    ----------
    values : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Positions of the classes, or numbers; of samples that are not LABELLED they mean nothing.
    role : ndarray of shape (n_samples,)
        LABELLED, UNLABELLED, or LEFT_OUT (samples of weight 0, or held out).
    sample_weight : ndarray of shape (n_samples,)
        Of mean 1 over the labelled samples, where all samples are known.
    n_outputs : int
        How many classes, or numbers per sample.
    """

    values: NDArray[Any]
    role: NDArray[np.int8]
    sample_weight: NDArray[Any]
    n_outputs: int

    @classmethod
    def of(
        cls,
        values: NDArray[Any],
        role: NDArray[Any],
        sample_weight: NDArray[Any],
        n_outputs: int,
        *,
        of_fit: bool,
    ) -> "Targets":
        """With weights of mean 1, for which the learning rate is, if these are all the samples.

        What a `partial_fit` gets is not: later weights are not known.
        """
        if of_fit:
            sample_weight = sample_weight / sample_weight.max()  # whose sum might overflow
            sample_weight = sample_weight / sample_weight[role == LABELLED].mean()
        return cls(values, role.astype(np.int8), sample_weight, n_outputs)

    @property
    def of_classes(self) -> bool:
        """Whether the values are positions of classes."""
        return self.values.ndim == 1

    def rows(self, *roles: int) -> NDArray[np.intp]:
        """The samples that have one of these roles."""
        return np.flatnonzero(np.isin(self.role, roles))


def encode_labels(
    y: NDArray[Any],
    unlabelled: NDArray[np.bool_],
    sample_weight: NDArray[Any],
    *,
    classes: NDArray[Any] | None,
    class_weight: dict[Any, float] | str | None,
    of_fit: bool,
) -> tuple[NDArray[Any], Targets]:
    """The classes, and the labels as positions among them, weighted by sample and class.

    `classes` None: those that occur. `of_fit`: whether `y` is all there will ever be.
    """
    weight = sample_weight.copy()
    # A sample without weight is left out, also where its class is the only member.
    labelled = ~unlabelled & (weight > 0)
    occurring = np.unique(y[labelled])
    classes = occurring if classes is None else classes
    if len(unknown := np.setdiff1d(occurring, classes)):
        advice = (
            "with warm_start they are those of the first fit"
            if of_fit
            else "the first call of partial_fit is to name all that will ever occur"
        )
        raise ValueError(
            f"y has classes {unknown.tolist()}, which are not in classes={classes.tolist()}: "
            f"{advice}."
        )
    if len(classes) < 2:
        raise ValueError(
            "Classification needs samples of at least two classes, got "
            f"{len(classes)} class(es) among {labelled.sum()} samples that have a label and a "
            "weight > 0." + ("" if of_fit else " Name those that come later in classes.")
        )
    if not len(occurring):
        raise ValueError(f"None of the {len(y)} samples has a label and a weight > 0.")
    positions = np.zeros(len(y), dtype=np.intp)
    positions[labelled] = np.searchsorted(classes, y[labelled])
    if class_weight is not None:
        given = class_weight
        if isinstance(given, dict) and not of_fit:
            # One call need not show all the classes that have a weight.
            given = {label: weight for label, weight in given.items() if label in occurring}
        by_class = compute_class_weight(given, classes=occurring, y=y[labelled])
        if by_class.min() < 0 or by_class.max() == 0:
            raise ValueError(
                f"class_weight={class_weight!r} must hold weights >= 0, and one > 0 for a class "
                f"among those of y, {occurring.tolist()}."
            )
        weight[labelled] *= by_class[np.searchsorted(occurring, y[labelled])]
    role = np.where(labelled, LABELLED, np.where(weight > 0, UNLABELLED, LEFT_OUT))
    return classes, Targets.of(positions, role, weight, len(classes), of_fit=of_fit)


def target_statistics(
    targets: NDArray[np.float64], weight: NDArray[Any], *, centered: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean (zeros, unless `centered`) and scale of each output; no square overflows."""
    largest = np.abs(targets).max(axis=0)
    largest[largest == 0] = 1
    targets, weight = targets / largest, weight / weight.max()
    mean = np.average(targets, axis=0, weights=weight) * centered
    scale = np.sqrt(np.average(np.square(targets - mean), axis=0, weights=weight))
    scale[scale <= 8 * np.finfo(np.float64).eps] = 1  # constant but for rounding
    return mean * largest, scale * largest


@dataclass
class TrainingData:
    """Validated samples and labels.

    Attributes
    ----------
    samples : Samples
    input_shape : tuple of int
        Shape of one sample for the network: (C, H, W) where that is known, else (n_features,).
    labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        As the user gave them.
    targets : Targets
    held_out : ndarray
        Rows kept for early stopping.
    """

    samples: Samples
    input_shape: tuple[int, ...]
    labels: NDArray[Any]
    targets: Targets
    held_out: NDArray[np.intp]

    def hold_out(
        self, fraction: float, rng: np.random.RandomState, *, stratify: bool
    ) -> "TrainingData":
        """The same data, a part of whose labelled samples is held out, perhaps class by class."""
        targets = self.targets
        labelled = targets.rows(LABELLED)
        strata = self.labels[labelled] if stratify else None  # errors name them
        try:
            rows = train_test_split(
                labelled, test_size=fraction, stratify=strata, random_state=rng
            )[1]
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={fraction} cannot be held out: {error}"
            ) from error
        if len(rows) < 2 and not targets.of_classes:
            raise ValueError(
                f"validation_fraction={fraction} holds out a single sample, which has no R^2."
            )
        role = targets.role.copy()
        role[rows] = LEFT_OUT
        return replace(self, targets=replace(targets, role=role), held_out=np.sort(rows))


@dataclass
class Batch:
    """What one step of training sees: samples, and where the supports of their codes are kept.

    `unlabelled_weight` is that of the mean over the samples without labels.
    """

    x: Tensor
    y: Tensor
    sample_weight: Tensor
    supports: Supports | None = None
    unlabelled: Tensor | None = None
    unlabelled_supports: Supports | None = None
    unlabelled_weight: float = 1.0
