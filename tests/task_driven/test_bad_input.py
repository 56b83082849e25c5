"""What bad input gets: an error that names it, and a model that is as it was."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skddl import (
    DeepDictionaryClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from tests.data import assert_same_model, model_state, small_digits

from .data import quick, small_net

X, y = small_digits(100, n_classes=3)


@pytest.fixture
def fitted():
    return quick(max_iter=3, n_components=6).fit(X, y)


def assert_fails_and_changes_nothing(model, call, error, message):
    attributes, state = dict(vars(model)), model_state(model)
    probabilities = model.predict_proba(X)
    with pytest.raises(error, match=message):
        call()
    assert vars(model) == attributes
    for name, value in model_state(model).items():
        np.testing.assert_array_equal(value, state[name])
    np.testing.assert_array_equal(model.predict_proba(X), probabilities)


@pytest.mark.parametrize(
    "estimator",
    [quick(features="identity", n_features_out=None), DeepDictionaryClassifier(9, max_iter=9)],
)
def test_samples_so_small_that_nu1_decides_are_warned_of(estimator):
    with pytest.warns(UserWarning, match=r"mean norm of 0\.01\. .* scale the samples"):
        estimator.fit(0.01 * X / np.linalg.norm(X, axis=1).mean(), y)


@pytest.mark.parametrize("estimator", [quick(), DeepDictionaryClassifier(9)])
def test_an_offset_that_dwarfs_the_samples_is_warned_of(estimator):
    with pytest.warns(UserWarning, match=r"varies by .* all samples have in common: subtract it"):
        estimator.fit(X + 100, y)


def test_divergence_to_finite_values_is_warned_of():
    columns, kinds = load_wine(return_X_y=True)
    model = quick(features="identity", max_iter=30, learning_rate=0.05)
    with pytest.warns(ConvergenceWarning, match=r"diverged: .* Lower learning_rate \(it is 0\.05"):
        model.fit(columns, kinds)


def with_entry(value):
    bad = X.copy()
    bad[7, 3] = value
    return bad


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("samples", "labels", "error", "message"),
    [
        (with_entry(np.nan), y, ValueError, "X contains NaN"),
        (with_entry(np.inf), y, ValueError, "X contains infinity"),
        (sparse.csr_matrix(X), y, TypeError, "Sparse data"),
        (X.reshape(-1, 8, 8), y, ValueError, "Images must have"),
        (X[0], y, ValueError, "2D array"),
        (X[:0], y[:0], ValueError, "0 sample"),
        (X, y[:-1], ValueError, "inconsistent numbers of samples"),
        (X, X[:, 0], ValueError, "Unknown label type"),
        (X, np.where(y > 0, np.nan, 1.0), ValueError, "y contains NaN"),
        (X.astype(complex), y, ValueError, "Complex data"),
    ],
)
def test_bad_samples_or_labels(fitted, method, samples, labels, error, message):
    def call():
        getattr(fitted, method)(samples, labels)

    assert_fails_and_changes_nothing(fitted, call, error, message)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "transform"])
@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (with_entry(np.nan), ValueError, "X contains NaN"),
        (sparse.csr_matrix(X), TypeError, "Sparse data"),
        (X[:, :-1], ValueError, "63 features"),
        (X[:0], ValueError, "0 sample"),
    ],
)
def test_bad_samples_to_predict(fitted, method, samples, error, message):
    def call():
        getattr(fitted, method)(samples)

    assert_fails_and_changes_nothing(fitted, call, error, message)


def test_one_class(fitted):
    def call():
        fitted.fit(X, np.ones(100))

    assert_fails_and_changes_nothing(fitted, call, ValueError, r"at least two classes, got 1 class")


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(100, -1.0), "[Nn]egative"),
        (np.full(100, np.nan), "NaN"),
        (np.zeros(100), "weight|at least two classes, got 0"),
        ((y == 1).astype(float), "at least two classes, got 1 class"),
        (np.ones(99), "shape"),
    ],
)
def test_bad_sample_weight(fitted, weight, message):
    def call():
        fitted.fit(X, y, sample_weight=weight)

    assert_fails_and_changes_nothing(fitted, call, ValueError, message)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter"),
        ({"features": "resnet"}, "'features' parameter"),
        ({"n_features_out": 0}, "'n_features_out' parameter"),
        ({"lambda1": 0.0}, "'lambda1' parameter"),
        ({"lambda1": -1.0}, "'lambda1' parameter"),
        ({"lambda2": -1.0}, "'lambda2' parameter"),
        ({"nu1": -1.0}, "'nu1' parameter"),
        ({"nu2": -1.0}, "'nu2' parameter"),
        ({"learning_rate": 0.0}, "'learning_rate' parameter"),
        ({"t0": 0}, "'t0' parameter"),
        ({"max_iter": 0}, "'max_iter' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"init": "zeros"}, "'init' parameter"),
        ({"unlabeled_weight": 1.0}, "'unlabeled_weight' parameter"),
        ({"class_weight": "heavy"}, "'class_weight' parameter"),
        ({"class_weight": {0: -1.0, 1: 1.0, 2: 1.0}}, "class_weight=.* must hold weights >= 0"),
        ({"class_weight": {0: 0.0, 1: 0.0, 2: 0.0}}, "class_weight=.* must hold weights >= 0"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
        ({"dtype": "float16"}, "'dtype' parameter"),
        ({"optimizer": "lbfgs"}, "'optimizer' parameter"),
        ({"random_state": "seed"}, "'random_state' parameter"),
        ({"device": "abacus"}, "device='abacus' cannot be used here"),
        ({"features": "lenet"}, "features='lenet' needs images"),
        ({"image_shape": (1, 7, 8)}, r"image_shape=\(1, 7, 8\) means 56 features, but X has 64"),
        ({"image_shape": (8, 8)}, r"image_shape must be \(channels, height, width\)"),
        ({"image_shape": (1, 8.0, 8)}, r"image_shape must be \(channels, height, width\)"),
        ({"image_shape": (-1, 8, -8)}, r"image_shape must be \(channels, height, width\)"),
        ({"features": "identity", "n_features_out": 7}, "features='identity' gives an output"),
        ({"features": small_net, "n_features_out": 7}, "gives an output of shape"),
        ({"features": lambda shape: 3}, "must return a torch.nn.Module, got 3"),
        ({"features": lambda shape: nn.Unflatten(1, (8, 8))}, "gives an output of shape"),
        ({"checkpoint": "fit.checkpoint", "random_state": None}, "checkpoint needs random_state"),
        ({"checkpoint": "missing/fit.checkpoint"}, "folder of checkpoint="),
    ],
)
def test_bad_parameter(fitted, parameters, message):
    fitted.set_params(**parameters)

    def call():
        fitted.fit(X, y)

    attributes, state = dict(vars(fitted)), model_state(fitted)
    with pytest.raises((ValueError, TypeError), match=message):
        call()
    assert vars(fitted) == attributes
    for name, value in model_state(fitted).items():
        np.testing.assert_array_equal(value, state[name])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("method", ["fit", "predict"])
def test_device_that_is_not_here_is_named_with_the_way_out(fitted, method):
    fitted.set_params(device="cuda")
    arguments = (X, y) if method == "fit" else (X,)
    with pytest.raises(ValueError, match="device='cuda' cannot be used here, pass device='auto'"):
        getattr(fitted, method)(*arguments)


def test_images_of_another_shape():
    images = X.reshape(-1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), but image_shape=\(1, 4, 16\)"):
        quick(image_shape=(1, 4, 16)).fit(images, y)
    model = quick(max_iter=2).fit(images, y)
    # Channels last: the same number of features, and a wrong answer if it went unnoticed.
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), but image_shape=\(1, 8, 8\)"):
        model.predict(X.reshape(-1, 8, 8, 1))


def test_images_too_small_for_lenet():
    with pytest.raises(ValueError, match="LeNet"):
        quick(features="lenet").fit(np.random.default_rng(0).random((10, 1, 2, 2)), [0, 1] * 5)


def test_a_class_too_small_to_be_held_out_is_reported_before_anything_is_computed():
    labels = np.where(np.arange(100) == 0, 3, y)
    with pytest.raises(ValueError, match="least populated class"):
        quick(early_stopping=True).fit(X, labels)


# On the way there, features become too large for float32 codes.
@pytest.mark.filterwarnings("ignore:Some codes are not optimal")
def test_divergence_names_iteration_and_learning_rate_and_keeps_a_finite_model():
    model = quick(learning_rate=1e6, max_iter=500)
    with pytest.raises(
        ValueError, match=r"at iteration \d+\. Lower learning_rate \(it is 1e\+06\)"
    ):
        model.fit(X, y)
    assert 0 < model.n_iter_ < 500
    assert all(np.isfinite(value).all() for value in model_state(model).values())
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-6


class Overflow(nn.Module):
    """Features that overflow in their fourth training step."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64))
        self.register_buffer("n_steps", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.n_steps += 1
        return x * self.weight * (torch.inf if self.n_steps == 4 else 1)


def test_features_that_overflow_name_the_iteration_and_keep_the_last_good_state():
    model = quick(features=lambda shape: Overflow())
    with pytest.raises(ValueError, match="not finite at iteration 4"):
        model.fit(X, y)
    assert model.n_iter_ == 3
    assert model.module_.features.n_steps == 3
    assert_same_model(model, quick(features=lambda shape: Overflow(), t0=1.2, max_iter=3).fit(X, y))
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("scale", [1e300, 1e-60])
def test_samples_that_the_dtype_cannot_hold(scale):
    with pytest.raises(ValueError, match="do not fit into dtype='float32'"):
        quick().fit(scale * X.astype(np.float64), y)


def test_divergence_inside_the_user_s_features_leaves_the_model_as_it_was(fitted):
    def features(input_shape):
        quick(learning_rate=1e30, max_iter=500).fit(X, y)

    attributes = dict(vars(fitted.set_params(features=features)))
    with pytest.raises(ValueError, match="not finite at iteration"):
        fitted.fit(X[y < 2], y[y < 2])
    assert vars(fitted) == attributes


class OnlyFloat32(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 8)

    def forward(self, x):
        return self.linear(x.float())


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (nn.Linear(64, 8), TypeError, r"got a module itself, .* Pass `lambda shape: module`"),
        (lambda shape: OnlyFloat32(), ValueError, r"network of features fails on torch\.float64"),
        (lambda shape: 3, TypeError, "must return a torch.nn.Module"),
    ],
)
def test_features_that_are_no_network_for_both_types(features, error, message):
    with pytest.raises(error, match=message):
        quick(features=features).fit(X, y)


class Interrupting(nn.Module):
    """The user's network, during the sixth step of which the user presses Ctrl-C."""

    error = KeyboardInterrupt

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 16)
        self.n_steps = 0

    def forward(self, x):
        if self.training:
            self.n_steps += 1
            if self.n_steps == 6:
                raise self.error
        return self.linear(x)


def test_interrupted_fit_keeps_the_model_so_far():
    model = quick(features=lambda shape: Interrupting())
    with pytest.warns(UserWarning, match="interrupted after 5 of 12 iterations"):
        model.fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 5
    assert model.score(X, y) > 0.8
    assert model.partial_fit(X, y).n_iter_ == 8


def test_interrupted_start_leaves_the_model_as_it_was(fitted):
    def features(input_shape):
        raise KeyboardInterrupt

    attributes = dict(vars(fitted.set_params(features=features)))
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X, y)
    assert vars(fitted) == attributes


@pytest.mark.parametrize(
    "estimator",
    [
        TaskDrivenDictionaryClassifier(init="class-odl"),
        TaskDrivenDictionaryClassifier(init="odl"),
        TaskDrivenDictionaryRegressor(),
        DeepDictionaryClassifier(),
    ],
)
def test_interrupted_learning_of_the_first_dictionary_ends_the_fit(estimator, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(OnlineDictionaryLearning, "_learn", interrupt)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)


def test_error_in_the_user_s_network_leaves_the_model_as_it_was(fitted):
    class Failing(Interrupting):
        error = RuntimeError("mine")

    fitted.set_params(features=lambda shape: Failing(), n_features_out=None, max_iter=12)
    attributes = dict(vars(fitted))
    with pytest.raises(RuntimeError, match="mine"):
        fitted.fit(X, y)
    assert vars(fitted) == attributes


def test_nothing_is_computed_in_the_constructor():
    model = TaskDrivenDictionaryClassifier(features=3, lambda1=-1, device="abacus")
    assert isinstance(model, BaseEstimator)
    assert model.get_params()["device"] == "abacus"
