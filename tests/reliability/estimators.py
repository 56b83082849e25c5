"""Every estimator, quick to fit, and what has to hold of it whatever it was given."""

import pickle
import re
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from tests.data import assert_finite

_CODES = {"max_iter": 2, "batch_size": 20, "init": "samples", "random_state": 0}
_NETWORK = {"max_epochs": 1, "batch_size": 20, "random_state": 0}
_IMAGES = {"width": 0.1, "image_shape": (1, 8, 8)}

ESTIMATORS = {
    "task-driven": TaskDrivenDictionaryClassifier(6, features="linear", optimizer="sgd", **_CODES),
    "task-driven, identity": TaskDrivenDictionaryClassifier(6, features="identity", **_CODES),
    "regressor": TaskDrivenDictionaryRegressor(6, **_CODES),
    "deep": DeepDictionaryClassifier((6, 5), **_CODES),
    "dense": DeTraMeClassifier((8,), **_NETWORK),
    "plain-3": DeTraMeClassifier(architecture="plain-3", **_NETWORK, **_IMAGES),
    "relu": ConvNetClassifier((8,), **_NETWORK),
    "online": OnlineDictionaryLearning(6, max_iter=3, random_state=0),
    "normalizer": SampleNormalizer(),
}

# All of them read samples by the same code: in the quick tests one of each kind does.
_QUICK = ("task-driven", "dense", "online", "normalizer")

_PARAMS = [
    pytest.param(estimator, id=name, marks=[] if name in _QUICK else pytest.mark.soak)
    for name, estimator in ESTIMATORS.items()
]
each_estimator = pytest.mark.parametrize("estimator", _PARAMS)
each_learner = pytest.mark.parametrize(
    "estimator", [param for param in _PARAMS if param.id != "normalizer"]
)

# What says most, of the methods that give numbers.
_NUMBERS = ("decision_function", "predict", "transform")


# Where there is no right answer, one of these says so.
CLEAR = (
    "contains NaN|contains infinity|do not fit into dtype=|squares of the samples are beyond|"
    "squared norms of the samples|not finite at iteration|initial features are not finite|"
    "too little for float|vary too little|at least two classes|output for sample .* is not finite|"
    "image_shape=|beyond float32"
)
CLEAR_WARNINGS = ("What is coded", "The number of unique classes is greater", "lambda1=")


def targets_for(estimator, labels):
    """Labels as the estimator learns from them."""
    return labels.astype(np.float64) if is_regressor(estimator) else labels


def outputs_of(model, X):
    """What the methods of a model say of samples, by name."""
    names = ("predict_proba", "predict_log_proba", *_NUMBERS)
    return {name: getattr(model, name)(X) for name in names if hasattr(model, name)}


def assert_same_outputs(actual, expected, tolerance):
    """Up to `tolerance`, in units of the largest number; classes are told by their scores."""
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        if values.dtype.kind == "f" and name != "predict_log_proba":
            scale = max(np.abs(values).max(), 1e-30)
            np.testing.assert_allclose(
                actual[name] / scale, values / scale, rtol=0, atol=tolerance, err_msg=name
            )


def fit_or_refuse(estimator, samples, labels):
    """The outputs of a model, or None if it is refused in clear words; whether it was warned of."""
    model = clone(estimator)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outputs = outputs_of(model.fit(samples, targets_for(estimator, labels)), samples)
        except ValueError as error:
            assert re.search(CLEAR, str(error)), error
            outputs = None
    for warning in caught:
        assert warning.category is ConvergenceWarning or str(warning.message).startswith(
            CLEAR_WARNINGS
        ), warning.message
    assert_finite(model)
    assert_finite(outputs)
    return outputs, bool(caught)


@contextmanager
def unchanged(*values):
    """Fail if what is inside changes what it was given."""

    def contents():
        return [_content(value) for value in values]

    before = contents()
    yield
    assert contents() == before, "the input has changed"


def _content(value):
    if isinstance(value, pd.DataFrame | pd.Series):
        return str(value.to_dict())  # their pickles hold caches
    if isinstance(value, torch.Tensor) and (value.is_conj() or value.is_neg() or value.grad_fn):
        return str(value.tolist())
    if hasattr(value, "__next__") or isinstance(value, pl.LazyFrame):
        return None
    return pickle.dumps(value)
