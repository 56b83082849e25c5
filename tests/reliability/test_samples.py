"""Samples of every type, order and container: a right answer or a clear error."""

import functools
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone

from tests.data import assert_finite

from .estimators import (
    ESTIMATORS,
    assert_same_outputs,
    each_estimator,
    each_learner,
    outputs_of,
    targets_for,
    unchanged,
)
from .samples import SAMPLES, WHOLE, X, y

# Samples in float32 against float64, in units of the largest output.
TOLERANCE = 1e-4

pytestmark = [
    # What these samples happen to be like is not what is tested.
    pytest.mark.filterwarnings("ignore:What is coded"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


each_case = pytest.mark.parametrize("case", SAMPLES.values(), ids=SAMPLES.keys())


def fit(estimator, samples):
    return clone(estimator).fit(samples, targets_for(estimator, y))


@functools.cache
def reference(estimator, means, shape):
    """The outputs of a model that learns the same numbers, as a plain array in float64."""
    samples = np.frombuffer(means).reshape(shape)
    return outputs_of(fit(estimator, samples), samples)


@functools.cache
def fitted(estimator):
    return fit(estimator, X)


def assert_as_reference(estimator, actual, means):
    means = means.astype(np.float64)
    assert_same_outputs(actual, reference(estimator, means.tobytes(), means.shape), TOLERANCE)


@each_estimator
@each_case
def test_what_is_learned_from_samples_of_any_kind(estimator, case, tried):
    samples, model = case.make(), clone(estimator)
    with unchanged(samples), case.outcome():
        model.fit(samples, targets_for(estimator, y))
    if case.error is None:
        assert_finite(model)
        assert_as_reference(estimator, outputs_of(model, case.make()), case.means)
    else:
        assert vars(model).keys() == vars(clone(model)).keys(), "it is fitted"
    tried("inputs: samples to fit")


@each_estimator
@each_case
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_what_a_model_says_of_samples_of_any_kind(estimator, case, tried):
    model = fitted(estimator)
    for name in outputs_of(model, X[:1]):
        method, samples = getattr(model, name), case.make()
        with unchanged(samples, model), case.outcome():
            output = method(samples)
        if case.error is None:
            expected = method(case.means.astype(np.float64))
            assert_same_outputs({name: output}, {name: expected}, TOLERANCE)
        tried("inputs: samples to predict")


@each_learner
@each_case
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_what_a_model_goes_on_to_learn_from_samples_of_any_kind(estimator, case, tried):
    model, samples = deepcopy(fitted(estimator)), case.make()
    before = pickle.dumps(model)
    with unchanged(samples), case.outcome():
        model.partial_fit(samples, targets_for(estimator, y))
    assert_finite(model)
    assert (pickle.dumps(model) == before) == (case.error is not None)
    tried("inputs: samples to partial_fit")


@each_estimator
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_samples_in_files(estimator, mode, tmp_path, tried):
    np.save(tmp_path / "X.npy", X)
    samples = np.load(tmp_path / "X.npy", mmap_mode=mode)
    with unchanged(samples):
        actual = outputs_of(fit(estimator, samples), samples)
    assert_as_reference(estimator, actual, X)
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)
    tried("inputs: samples in files")


@each_estimator
def test_bytes_are_scaled_where_a_network_learns_from_them(estimator, tried):
    samples = WHOLE.astype(np.uint8)
    scaled = WHOLE / 255 if hasattr(estimator, "image_shape") else WHOLE
    for given in (samples, torch.from_numpy(samples), np.asfortranarray(samples)):
        actual = outputs_of(fit(estimator, given), given)
        assert_as_reference(estimator, actual, scaled)
        tried("inputs: samples to fit")


IMAGES = X.reshape(60, 1, 8, 8)


@each_estimator
@pytest.mark.parametrize(
    "make",
    [
        IMAGES.copy,
        lambda: list(IMAGES),
        lambda: list(torch.from_numpy(IMAGES)),
        lambda: torch.from_numpy(IMAGES),
        lambda: torch.from_numpy(IMAGES).to(memory_format=torch.channels_last),
        lambda: np.asfortranarray(IMAGES),
        lambda: IMAGES.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        lambda: IMAGES.tolist(),
    ],
)
def test_images(estimator, make, tried):
    tried("inputs: images")
    if estimator is ESTIMATORS["online"]:
        with pytest.raises(ValueError, match="dim 4"):
            fit(estimator, make())
        return
    actual = outputs_of(fit(estimator, make()), make())
    assert_as_reference(estimator, actual, IMAGES)
