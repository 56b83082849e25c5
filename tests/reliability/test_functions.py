"""The public functions on arrays of every type, order and container, and of every size."""

import functools
import itertools
import math
import re
import warnings
from contextlib import suppress

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skddl import ConvNetClassifier, OnlineDictionaryLearning
from skddl.dictionary import class_dictionary
from skddl.inspection import DictionaryDisplay, ExplanationDisplay, SparsityDisplay
from skddl.sparse_coding import kkt_residual, sparse_encode
from tests.data import assert_finite

from .estimators import ESTIMATORS, unchanged
from .samples import SAMPLES, X, y

matplotlib.use("Agg")

LAMBDA1 = 0.5
ATOMS = np.random.default_rng(0).standard_normal((64, 64))
ATOMS /= np.linalg.norm(ATOMS, axis=1, keepdims=True)
CODES = sparse_encode(X, ATOMS, lambda1=LAMBDA1)
ONLINE = OnlineDictionaryLearning(64, init=ATOMS, max_iter=2, random_state=0).fit(X)


def beside(samples, array):
    """`array` as a tensor if `samples` are."""
    return torch.from_numpy(array) if isinstance(samples, torch.Tensor) else array


def encode(samples):
    return sparse_encode(samples, beside(samples, ATOMS), lambda1=LAMBDA1)


def encode_in(samples):
    return sparse_encode(beside(samples, X), samples, lambda1=LAMBDA1)


def encode_from(samples):
    arrays = (beside(samples, array) for array in (X, ATOMS))
    return sparse_encode(*arrays, init=samples, lambda1=LAMBDA1)


def judge(samples):
    return kkt_residual(*(beside(samples, a) for a in (X, ATOMS)), samples, lambda1=LAMBDA1)


def learn_from(samples):
    return OnlineDictionaryLearning(60, init=samples, max_iter=2, random_state=0).fit(X).components_


def by_class(samples):
    return class_dictionary(samples, y, n_components=6, lambda1=LAMBDA1, random_state=0)[0]


@functools.cache
def fitted(name):
    """A model under which atoms are shown by samples."""
    model = clone(ESTIMATORS[name])
    if name == "task-driven":
        model.set_params(features=ConvNetClassifier((8,), max_epochs=1, random_state=0))
    return model.fit(X, y)


def score(samples):
    return fitted("task-driven").score(samples, y)


def closed(display):
    plt.close(display.figure_)
    return display


def count(samples):
    return closed(SparsityDisplay.from_predictions(samples)).n_nonzero


def count_coded(samples):
    return closed(SparsityDisplay.from_estimator(ONLINE, samples)).n_nonzero


def show(samples):
    return closed(DictionaryDisplay.from_estimator(fitted("task-driven"), samples)).atoms


def show_layer(samples):
    return closed(DictionaryDisplay.from_estimator(fitted("deep"), samples, layer=1)).atoms


def explain_by(samples):
    model = fitted("task-driven")
    return closed(ExplanationDisplay.from_estimator(model, X[0], samples)).atoms


def explain(samples):
    """One of them, if they can be cut."""
    with suppress(TypeError, IndexError, KeyError, NotImplementedError):
        samples = samples[5:6]
    model = fitted("task-driven")
    return closed(ExplanationDisplay.from_estimator(model, samples, X)).contributions


FUNCTIONS = {
    "X": encode,
    "dictionary": encode_in,
    "init": encode_from,
    "codes": judge,
    "init of learning": learn_from,
    "codes to invert": ONLINE.inverse_transform,
    "class_dictionary": by_class,
    "codes to show": count,
    "samples to show": count_coded,
    "samples to score": score,
    "samples to show atoms by": show,
    "samples to show a layer by": show_layer,
    "samples to explain by": explain_by,
    "sample to explain": explain,
}
# What one of them takes although estimators do not.
ALSO_TAKEN = {
    ("X", "no samples"),
    ("init", "None"),
    ("init of learning", "None"),
    *((name, "pandas, names of several types") for name in FUNCTIONS if "sample" not in name),
    ("samples to show a layer by", "None"),
    ("sample to explain", "3-d"),
    ("codes to invert", "pandas, sparse"),
    ("codes to show", "pandas, sparse"),
    *(
        (function, f"{layout} {kind}")
        for function in ["codes to invert", "codes to show"]
        for layout in ["csr", "csc", "coo", "bsr", "lil", "dok"]
        for kind in ["matrix", "array"]
    ),
}
# Some say it in their own words, and sizes are checked first.
OTHER_WORDS = (
    "2-D|must have shape|dictionary is empty|columns, but there are|features, but|"
    "must be None or an array-like|pass samples X|sample must be a single one|has no len|"
    "Found array with (dim 6|0 feature)|Expected 2D array"
)


# Those that fit or draw take their time.
SLOW = {"class_dictionary", "sample to explain", "samples to explain by", "samples to show"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(f, marks=pytest.mark.slow) if f in SLOW else f for f in FUNCTIONS],
)
@pytest.mark.parametrize("case", SAMPLES)
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.filterwarnings("ignore:What is coded")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_arrays_of_any_kind(name, case, tried):
    function, samples, details = FUNCTIONS[name], SAMPLES[case].make(), SAMPLES[case]
    tried("inputs: arrays to functions")
    if (name, case) in ALSO_TAKEN:
        assert_finite(function(samples))
        return
    if details.error is not None:
        with unchanged(samples), pytest.raises((ValueError, TypeError)) as caught:
            function(samples)
        caught.match(f"{details.message}|{OTHER_WORDS}")
        return
    with unchanged(samples):
        actual = function(samples)
    assert isinstance(actual, torch.Tensor) == (
        isinstance(samples, torch.Tensor) and name in ("X", "dictionary", "init", "codes")
    )
    actual, expected = np.asarray(actual), function(details.means.astype(np.float64))
    scale = np.abs(expected).max() or 1
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", ["active-set", "spams", "fista"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("positive", "lambda2"), [(False, 0.0), (True, 0.5)])
def test_codes_of_samples_and_atoms_of_any_size(solver, dtype, positive, lambda2, tried):
    samples, atoms = X[:5, :20].astype(dtype), ATOMS[:8, :20].astype(dtype)
    options = {"positive": positive, "solver": solver}
    expected = sparse_encode(samples, atoms, lambda1=0.125, lambda2=lambda2, **options)
    assert 0 < np.count_nonzero(expected) < expected.size
    exponents = range(-1000, 1001, 125) if dtype == np.float64 else range(-120, 121, 15)
    for s, t in ((s, t) for s in exponents for t in exponents):
        weights = [math.ldexp(0.125, s + t) if abs(s + t) < 1020 else 0]
        weights += [math.ldexp(lambda2, 2 * t) if abs(t) < 500 else 0] if lambda2 else []
        largest_code = math.ldexp(1.0, s - t) if abs(s - t) < 1020 else 0
        tiny, largest = (float(getattr(np.finfo(dtype), name)) for name in ("tiny", "max"))
        if 0 in weights or not 16 * tiny < largest_code < largest / 16:
            continue  # no float64 number can say so
        scaled = np.ldexp(samples, s), np.ldexp(atoms, t)
        weights = dict(zip(["lambda1", "lambda2"], weights, strict=False))
        codes = sparse_encode(*scaled, **weights, **options)
        np.testing.assert_allclose(
            np.ldexp(codes, t - s), expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-9
        )
        assert kkt_residual(*scaled, codes, **weights, positive=positive).max() < 1e-3
        tried("inputs: sizes of samples and atoms")


@pytest.mark.parametrize("solver", ["active-set", "spams", "fista"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_atoms_and_lambda2_of_any_sizes(solver, dtype, tried):
    """Right, or a warning that rounding leaves no room for lambda1, or an error."""
    exponents = range(-960, 961, 120) if dtype == np.float64 else range(-120, 121, 15)
    outcomes = []
    for s, t, k in itertools.product((-50, 0, 50), exponents, exponents):
        samples, atoms = (np.ldexp(a[:5, :20].astype(dtype), e) for a, e in [(X, s), (ATOMS, t)])
        weights = {"lambda1": math.ldexp(0.125, s + t), "lambda2": math.ldexp(0.5, k)}
        tried("inputs: sizes of samples and atoms")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                codes = sparse_encode(samples, atoms, solver=solver, **weights)
            except ValueError as error:
                assert re.match("lambda2=.* is too large beside|Some codes, or", str(error))
                outcomes.append("refused")
                continue
        assert {warning.category for warning in caught} <= {ConvergenceWarning}
        assert_finite(codes)
        if not caught:
            assert kkt_residual(samples, atoms, codes, **weights).max() < 1e-3
            outcomes.append("right")
    assert {"refused", "right"} == set(outcomes)
    assert outcomes.count("right") > len(outcomes) / 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_of_any_size_with_the_same_lambda1(dtype, tried):
    """Right, or a warning that rounding leaves no room for lambda1, or an error."""
    limits = np.finfo(dtype)
    atoms = ATOMS[:8].astype(dtype)
    for exponent in range(limits.minexp, limits.maxexp - 4, 20):
        samples = np.ldexp(X[:5].astype(dtype), exponent)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            codes = sparse_encode(samples, atoms, lambda1=LAMBDA1)
        assert {warning.category for warning in caught} <= {ConvergenceWarning}
        assert_finite(codes)
        if not caught:
            residual = kkt_residual(samples, atoms, codes, lambda1=LAMBDA1)
            assert residual.max() < (1e-3 if dtype == np.float32 else 1e-5)
        tried("inputs: sizes of samples and atoms")


def test_codes_beyond_the_float_type_are_refused():
    samples, atoms = np.full((2, 3), 1e30, np.float32), 1e-30 * np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=r"codes, or what .* are beyond float32: scale"):
        sparse_encode(samples, atoms, lambda1=1e-3)
    with pytest.raises(ValueError, match=r"codes, or what .* are beyond float32: scale"):
        sparse_encode(
            1e-20 * np.ones((2, 3), np.float32), 1e30 * np.eye(3, dtype="f4"), lambda1=1e9
        )
    with pytest.raises(ValueError, match="lambda1 is too small beside the samples"):
        sparse_encode(samples, np.eye(3, dtype=np.float32), lambda1=1e-40)
    with pytest.raises(ValueError, match=r"lambda2=1e\+10 is too large beside the atoms"):
        sparse_encode(np.eye(3), 1e-300 * np.eye(3), lambda1=1e-300, lambda2=1e10)
    with pytest.raises(ValueError, match=r"lambda2=1e-05 is too large beside the atoms"):
        sparse_encode(
            np.ones((1, 3), "f4"), 1e-25 * np.eye(3, dtype="f4"), lambda1=1e-26, lambda2=1e-5
        )


@pytest.mark.parametrize("solver", ["active-set", "spams", "fista"])
@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((3, 64)),
        -np.zeros((3, 64)),
        np.ones((3, 64)),
        np.repeat(X[:1], 3, axis=0),
        np.full((3, 64), 5e-324),
        np.r_[1e-30 * X[:2], X[:2], 1e3 * X[:2]],
        X[:1],
    ],
)
@pytest.mark.parametrize(
    "atoms",
    [
        ATOMS[:9],
        np.repeat(ATOMS[:1], 4, axis=0),
        np.r_[ATOMS[:3], np.zeros((2, 64))],
        np.zeros((4, 64)),
        ATOMS[:1],
        np.r_[ATOMS[:4], -ATOMS[:4]],
        np.ones((4, 64)),
    ],
)
def test_degenerate_samples_in_degenerate_atoms(solver, samples, atoms, tried):
    codes = sparse_encode(samples, atoms, lambda1=0.1, solver=solver)
    assert kkt_residual(samples, atoms, codes, lambda1=0.1).max() < 1e-5
    tried("inputs: degenerate samples and atoms")
