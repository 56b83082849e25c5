"""Samples and labels as the training of a classifier sees them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import compute_class_weight
from torch import Tensor

from ._base import Samples

UNLABELLED, LEFT_OUT = -1, -2


@dataclass
class EncodedLabels:
    """Labels and weights, as in `TrainingData`."""

    classes: NDArray[Any]
    positions: NDArray[np.intp]
    sample_weight: NDArray[Any]


def encode_labels(
    y: NDArray[Any],
    unlabelled: NDArray[np.bool_],
    sample_weight: NDArray[Any],
    *,
    classes: NDArray[Any] | None,
    class_weight: dict[Any, float] | str | None,
    of_fit: bool,
) -> EncodedLabels:
    """Positions of the labels among the classes, and the weights of samples and classes in one.

    `classes` None: those that occur. `of_fit`: whether `y` is all there will ever be.
    """
    weight = sample_weight.copy()
    # A sample without weight is left out, also where its class is the only member.
    labelled = ~unlabelled & (weight > 0)
    occurring = np.unique(y[labelled])
    classes = occurring if classes is None else classes
    if len(unknown := np.setdiff1d(occurring, classes)):
        raise ValueError(f"y has classes {unknown.tolist()}, which are not in classes.")
    if len(classes) < 2:
        raise ValueError(
            "Classification needs samples of at least two classes, got "
            f"{len(classes)} class(es) among {len(y)} samples."
            + ("" if of_fit else " Name those that come later in classes.")
        )
    if not len(occurring):
        raise ValueError(f"None of the {len(y)} samples has a label and a weight > 0.")
    positions = np.where(unlabelled & (weight > 0), UNLABELLED, LEFT_OUT)
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
    if of_fit:
        # The learning rate is for weights of mean 1; partial_fit cannot know the mean.
        weight /= weight[labelled].mean()
    return EncodedLabels(classes, positions, weight)


@dataclass
class TrainingData:
    """Validated samples and labels.

    Attributes
    ----------
    samples : Samples
    input_shape : tuple of int
        Shape of one sample for the network: (C, H, W) where that is known, else (n_features,).
    classes : ndarray of shape (n_classes,)
    labels : ndarray of shape (n_samples,)
        As the user gave them.
    y : ndarray of shape (n_samples,)
        Position in `classes`, or UNLABELLED, or LEFT_OUT (samples of weight 0, or held out).
    sample_weight : ndarray of shape (n_samples,)
        Sample times class weights, of mean 1 over the labelled samples.
    held_out : ndarray
        Rows kept for early stopping.
    """

    samples: Samples
    input_shape: tuple[int, ...]
    classes: NDArray[Any]
    labels: NDArray[Any]
    y: NDArray[np.intp]
    sample_weight: NDArray[Any]
    held_out: NDArray[np.intp]

    def hold_out(self, fraction: float, rng: np.random.RandomState) -> "TrainingData":
        """The same data, a stratified part of whose labelled samples is held out."""
        labelled = np.flatnonzero(self.y >= 0)
        try:
            rows = train_test_split(
                labelled, test_size=fraction, stratify=self.y[labelled], random_state=rng
            )[1]
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={fraction} cannot be held out: {error}"
            ) from error
        y = self.y.copy()
        y[rows] = LEFT_OUT
        return replace(self, y=y, held_out=np.sort(rows))


@dataclass
class Batch:
    """What one step of training sees."""

    x: Tensor
    y: Tensor
    sample_weight: Tensor
    unlabelled: Tensor | None = None
