"""Samples and labels as the training of a classifier sees them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor

from ._base import Samples

UNLABELLED, LEFT_OUT = -1, -2


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
        rows = train_test_split(
            labelled, test_size=fraction, stratify=self.y[labelled], random_state=rng
        )[1]
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
