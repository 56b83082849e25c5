"""Features of a network that has been trained under a linear classifier before."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from ._network_classifier import NetworkClassifier
from ._training_data import LABELLED, LEFT_OUT, TrainingData
from .convnet import ConvNetClassifier

# How long the recommended network is trained: whichever is longer.
_MIN_STEPS, _MIN_EPOCHS, _BATCH_SIZE = 1000, 15, 50


def recommended_network(n_samples: int) -> ConvNetClassifier:
    """What ``features="convnet"`` means for so many labelled samples."""
    n_batches = -(-n_samples // _BATCH_SIZE)
    return ConvNetClassifier(
        architecture="conv-3",
        dropout=(0.0, 0.5),
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=1e-4,
        lr_schedule="cosine",
        batch_size=_BATCH_SIZE,
        max_epochs=max(_MIN_EPOCHS, -(-_MIN_STEPS // n_batches)),
    )


def pretrained_features(
    network: NetworkClassifier, data: TrainingData, rng: np.random.RandomState, **shared: Any
) -> nn.Module:
    """The features of a copy of `network`, fitted to the labelled samples.

    `shared` are parameters that it is to have: device, dtype, checkpoint, verbose.
    """
    network = _for_samples_of(data.input_shape, network)
    network.set_params(random_state=rng.randint(2**31), **shared)
    targets = data.targets
    role = np.where(targets.role == LABELLED, LABELLED, LEFT_OUT)
    network._fit_inside(replace(data, targets=replace(targets, role=role)))
    return network.module_.features


def empty_features(
    network: NetworkClassifier, input_shape: tuple[int, ...], shapes: Mapping[str, torch.Size]
) -> nn.Module:
    """Features such as `pretrained_features` returns, in a network of `shapes`, of any weights."""
    # As if of two classes; the features are the same.
    shapes = {**shapes, "classifier.weight": torch.Size((2, 1))}
    module = _for_samples_of(input_shape, network)._empty_module(input_shape, shapes, [])
    return module.features


def _for_samples_of(input_shape: tuple[int, ...], network: NetworkClassifier) -> NetworkClassifier:
    """A copy that is not fitted."""
    image_shape = input_shape if len(input_shape) == 3 else None
    return clone(network).set_params(image_shape=image_shape)
