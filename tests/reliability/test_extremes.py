"""Samples that are tiny, huge, degenerate or few: a finite, right model or a clear error."""

import numpy as np
import pytest
from sklearn.base import clone

from skddl import ConvNetClassifier, DeepDictionaryClassifier, DeTraMeClassifier, SampleNormalizer
from skddl import TaskDrivenDictionaryClassifier as TaskDriven
from tests.data import assert_finite

from .estimators import (
    ESTIMATORS,
    assert_same_outputs,
    each_estimator,
    fit_or_refuse,
    unchanged,
)
from .samples import WHOLE, X, y

_RNG = np.random.default_rng(0)
# Gradients of few, degenerate samples in float32 against float64, in units of the largest output.
TOLERANCE = 0.05


def scaled(exponent, dtype=np.float64):
    return lambda: (np.ldexp(X, exponent).astype(dtype), y)


def with_entry(value, dtype=np.float64):
    def make():
        samples = X.astype(dtype)
        samples[5, 6] = value
        return samples, y

    return make


def shifted(offset):
    return lambda: (X + offset, y)


EXTREMES = {
    **{f"2^{e}": scaled(e) for e in [-1070, -1000, -500, -300, -150, -100, -20, 20, 60, 100, 120]},
    **{f"2^{e} ": scaled(e) for e in [130, 300, 500, 1000, 1020]},
    **{f"f4, 2^{e}": scaled(e, "f4") for e in [-148, -130, -100, -60, -30, 30, 60, 100, 124]},
    **{f"f2, 2^{e}": scaled(e, "f2") for e in [-20, -14, 10, 15]},
    **{f"1e{e}": lambda e=e: (X * 10.0**e, y) for e in [-30, 30]},
    **{f"an entry of {value}": with_entry(value) for value in [5e-324, 1e10, 1e30, 1e100, 1e300]},
    "f4, an entry of 3e38": with_entry(3e38, "f4"),
    **{f"around {offset}": shifted(offset) for offset in [1e3, 1e6, 1e10, -1e13]},
    "zeros": lambda: (0 * X, y),
    "-0": lambda: (-0.0 * X, y),
    "all equal": lambda: (0 * X + 0.1, y),
    "smallest float": lambda: (np.where(X > 0.5, 5e-324, 0.0), y),
    "largest float": lambda: (np.where(X > 0.5, np.finfo(float).max, 0.0), y),
    "largest ints": lambda: (np.where(X > 0.5, 2**63 - 1, -(2**63)), y),
    "largest unsigned ints": lambda: (np.where(X > 0.5, np.uint64(2**64 - 1), np.uint64(0)), y),
    "one sample again and again": lambda: (np.repeat(X[:1], 60, axis=0), y),
    "two samples again and again": lambda: (X[np.arange(60) % 2], np.arange(60) % 2),
    "equal columns": lambda: (np.repeat(X[:, 20:21], 64, axis=1), y),
    "one column": lambda: (X[:, 20:21], y),
    "one column, all equal": lambda: (X[:, :1] * 0 + 3, y),
    "one sample of each class": lambda: (X[:3], y[:3]),
    "two samples": lambda: (X[:2], y[:2]),
    "one sample": lambda: (X[:1], y[:1]),
    "a class of one sample": lambda: (X, (np.arange(60) == 7).astype(int)),
    "a class for each sample": lambda: (X, np.arange(60)),
    "more classes than columns": lambda: (_RNG.standard_normal((90, 2)), np.arange(90) // 2),
    "columns of all sizes": lambda: (X * np.logspace(-30, 30, 64), y),
    "rows of all sizes": lambda: (X * np.logspace(-30, 30, 60)[:, None], y),
    "heavy tails": lambda: (np.random.default_rng(0).standard_cauchy((60, 64)), y),
    "one entry": lambda: (np.where(np.arange(60 * 64).reshape(60, 64) == 999, 1.0, 0.0), y),
}
# Several models fit these equally well, and rounding chooses among them.
AMBIGUOUS = [
    "an entry of",
    "all equal",
    "one entry",
    "columns of all sizes",
    "rows of all sizes",
    "one column",  # whose linear features, and atoms, lie in a plane
]


# These are learned, not refused.
USUAL = {
    *("2^-20", "2^20", "f4, 2^-30", "f4, 2^30", "f2, 2^10", "zeros", "all equal", "heavy tails"),
    *("equal columns", "one sample again and again", "a class of one sample"),
    "a class for each sample",
}


@each_estimator
@pytest.mark.parametrize("name", EXTREMES)
def test_samples_of_extreme_size(estimator, name, tried):
    samples, labels = EXTREMES[name]()
    if estimator is ESTIMATORS["online"]:
        estimator = clone(estimator).set_params(n_components=min(6, len(samples)))
    with unchanged(samples, labels):
        outputs, warned = fit_or_refuse(estimator, samples, labels)
    tried(f"inputs: extreme samples, {'refused' if outputs is None else 'learned'}")
    assert outputs is not None or name not in USUAL
    is_ambiguous = any(words in name for words in AMBIGUOUS)
    if outputs is None or warned or is_ambiguous:
        return
    if estimator is ESTIMATORS["task-driven, identity"]:
        return  # it takes samples as they are: the steps of large ones multiply what is rounded
    if "dtype" in estimator.get_params():
        exact = clone(estimator).set_params(dtype="float64")
    else:
        exact, samples = estimator, samples.astype(np.float64)
    reference, _ = fit_or_refuse(exact, samples, labels)
    probabilities = outputs.get("predict_proba")
    if probabilities is not None:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert_same_outputs(outputs, reference, TOLERANCE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, ">f8"])
def test_normalizer_against_exact_arithmetic(dtype, tried):
    limits = np.finfo(np.float32 if dtype == np.float32 else np.float64)
    for exponent in range(limits.minexp, limits.maxexp - 4, 50):
        samples = np.ldexp(WHOLE[:5], exponent).astype(dtype)
        centred = WHOLE[:5] - WHOLE[:5].mean(axis=1, keepdims=True)
        expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        actual = SampleNormalizer().fit_transform(samples)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
        tried("inputs: extreme samples, learned")


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        TaskDriven(max_iter=3, random_state=0),
        TaskDriven(50, max_iter=20, init="samples", random_state=0),
        DeepDictionaryClassifier((20, 20), max_iter=10, random_state=0),
        DeTraMeClassifier((10,), max_epochs=1, random_state=0),
        ConvNetClassifier((10,), max_epochs=1, random_state=0),
    ],
)
def test_ten_thousand_classes_of_one_sample_each(estimator, tried):
    samples = np.random.default_rng(0).standard_normal((10_000, 20))
    model = estimator.fit(samples, np.arange(10_000))
    assert_finite(model)
    assert len(model.classes_) == 10_000
    assert set(model.predict(samples[:200])) <= set(range(10_000))
    np.testing.assert_allclose(model.predict_proba(samples[:200]).sum(axis=1), 1, rtol=1e-4)
    tried("inputs: extreme samples, learned")
