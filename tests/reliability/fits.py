"""Fits of all kinds, small ones, and the processes in which they are killed.

The processes are forked from one that has imported everything, see warm.py: that takes seconds.
"""

import multiprocessing
import pickle
import time
from pathlib import Path

import numpy as np
import torch

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from skddl.training import _checkpoint
from tests.data import small_digits

X, y = small_digits(90, n_classes=3)
SOME = np.where(np.arange(len(y)) % 3, y, -1)  # with samples that have no label
TDDL = {"n_components": 10, "batch_size": 30, "max_iter": 40, "random_state": 0}
NETWORK = {"batch_size": 30, "max_epochs": 12, "random_state": 0}
NARROW = {**NETWORK, "image_shape": (1, 8, 8), "width": 0.1}
FITS = {
    "linear": (TaskDrivenDictionaryClassifier, TDDL, y),
    "lenet": (
        TaskDrivenDictionaryClassifier,
        {**TDDL, "features": "lenet", "image_shape": (1, 8, 8)},
        y,
    ),
    "unlabelled, early stopping": (
        TaskDrivenDictionaryClassifier,
        {
            **TDDL,
            "unlabeled_weight": 0.5,
            "early_stopping": True,
            "validation_fraction": 0.3,
            "n_iter_no_change": 8,
        },
        SOME,
    ),
    "network trained first": (
        TaskDrivenDictionaryClassifier,
        {
            **TDDL,
            "features": ConvNetClassifier((8,), **NETWORK, dropout=0.2),
            "lambda2": 0.1,
            "max_iter": 20,
        },
        y,
    ),
    "regressor": (TaskDrivenDictionaryRegressor, TDDL, X[:, 20:22]),
    "dropout, batch norm, momentum": (
        DeTraMeClassifier,
        {**NETWORK, "hidden_layer_sizes": (12, 8), "dropout": 0.3, "learning_rate": 0.05},
        y,
    ),
    "maps": (DeTraMeClassifier, {**NARROW, "architecture": "plain-3"}, y),
    "deep": (DeepDictionaryClassifier, {**TDDL, "n_components": (8, 6)}, y),
    "online": (
        OnlineDictionaryLearning,
        {"n_components": 12, "batch_size": 20, "max_iter": 60, "random_state": 0},
        None,
    ),
}


def make(name, **parameters):
    """The estimator of a fit, and its labels."""
    estimator, own, labels = FITS[name]
    if estimator is OnlineDictionaryLearning:
        parameters.setdefault("solver", "active-set")  # SPAMS learns in one call
    return estimator(**{**own, **parameters}), labels


def found_in(model):
    """All that a fit finds."""
    if isinstance(model, OnlineDictionaryLearning):
        return {
            "atoms": model.components_,
            "means": model._means,
            "counts": (model.n_iter_, model.n_redrawn_),
            "codes": model.transform(X),
        }
    return {
        "state": {name: value.numpy() for name, value in model.module_.state_dict().items()},
        "history": model.history_,
        "curve": model.loss_curve_,
        "predictions": model.predict(X),
    }


def assert_same(first, second):
    """Bit for bit."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, tuple):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(first, second)


def fit_in_this_process(name, folder, steps_between=3, prepare=None, arguments=()):
    """Fit with a checkpoint in `folder`; what was found, and how long it took, goes there, too."""
    torch.set_num_threads(1)
    _checkpoint._STEPS_BETWEEN = steps_between
    if prepare is not None:
        prepare(*arguments)
    model, labels = make(name, checkpoint=folder / "fit.checkpoint")
    begin = time.monotonic()
    model.fit(X, labels)
    with open(folder / "found.pickle", "wb") as file:
        pickle.dump((found_in(model), time.monotonic() - begin), file)


def start(function, *arguments):
    """Call `function` in a process of its own, forked from one that is warm."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.warm"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def found(folder):
    """What `fit_in_this_process` has written: what was found, and the seconds."""
    return pickle.loads((Path(folder) / "found.pickle").read_bytes())
