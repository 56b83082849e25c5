"""Labels, targets and weights of every type and container: a right answer or a clear error."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import r2_score

from skddl.dictionary import class_dictionary
from tests.data import assert_finite

from .estimators import ESTIMATORS, assert_same_outputs, outputs_of, unchanged
from .samples import X, read_only, refused, taken, y

NAMES = np.array(["zero", "one", "two"])[y]
FOREIGN = np.array(["é", "猫", "Я"])[y]
TENSOR = torch.from_numpy(y)
WEIGHTS = 1.0 + np.arange(60) % 3

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

each_classifier = pytest.mark.parametrize(
    "name", ["task-driven", "dense", pytest.param("deep", marks=pytest.mark.soak)]
)


def some(value, dtype=object):
    return np.where(y == 1, value, y.astype(dtype))


def long_text(length):
    return np.char.add(NAMES, "x" * length)


ONE_DIMENSION = "1d array|dim 3|1 dimension|inconsistent"
_UNKNOWN = "Unknown label type"
LABELS = {
    **{
        dtype: taken(y, lambda dtype=dtype: y.astype(dtype))
        for dtype in ["i1", "i2", "i4", "i8", ">i4", "u1", "u8", "f2", "f4", "f8", "longdouble"]
    },
    "bools": taken(y > 0, lambda: y > 0),
    "words": taken(NAMES, NAMES.copy),
    "objects: words": taken(NAMES, lambda: NAMES.astype(object)),
    "long words": taken(long_text(1000), lambda: long_text(1000)),
    "no words": taken(np.where(y > 0, "a", ""), lambda: np.where(y > 0, "a", "")),
    "words beyond ASCII": taken(FOREIGN, FOREIGN.copy),
    "negative": taken(y - 5, lambda: y - 5),
    "largest ints": taken(y + 2**62, lambda: y + 2**62),
    "largest unsigned ints": taken(
        y.astype("u8") + np.uint64(2**63), lambda: y.astype("u8") + np.uint64(2**63)
    ),
    "dates": taken(y.astype("datetime64[D]"), lambda: y.astype("datetime64[D]")),
    "list": taken(y, y.tolist),
    "tuple of words": taken(NAMES, lambda: tuple(NAMES.tolist())),
    "series": taken(y, lambda: pd.Series(y)),
    "series in another order": taken(y, lambda: pd.Series(y, index=range(60, 0, -1))),
    "series of words": taken(NAMES, lambda: pd.Series(NAMES)),
    "categories": taken(NAMES, lambda: pd.Series(NAMES).astype("category")),
    "nullable ints": taken(y, lambda: pd.Series(y).astype("Int64")),
    "polars": taken(y, lambda: pl.Series(y)),
    "polars, words": taken(NAMES, lambda: pl.Series(NAMES)),
    "polars, categories": taken(NAMES, lambda: pl.Series(NAMES).cast(pl.Categorical)),
    "tensor": taken(y, lambda: TENSOR),
    "tensor, floats": taken(y, TENSOR.float),
    "tensor, bfloat16": taken(y, TENSOR.bfloat16),
    "tensor with gradients": taken(y, lambda: TENSOR.double().requires_grad_()),
    "part of a conjugate": taken(y, lambda: (TENSOR * -1j).conj().imag),
    "list of tensors": taken(y, lambda: list(TENSOR)),
    "read-only": taken(y, lambda: read_only(y)),
    "strided": taken(y, lambda: np.repeat(y, 2)[::2]),
    "reversed": taken(y, lambda: y[::-1].copy()[::-1]),
    "mask of nothing": taken(y, lambda: np.ma.masked_array(y)),
    "mask": refused(ValueError, "y has masked", lambda: np.ma.masked_array(y, y == 1)),
    "objects: ints": refused(ValueError, _UNKNOWN, lambda: y.astype(object)),
    # scikit-learn 1.6 warns first.
    "bytes": refused((TypeError, FutureWarning), "bytes is", lambda: NAMES.astype("S")),
    "continuous": refused(ValueError, _UNKNOWN, lambda: y + 0.5),
    "NaN": refused(ValueError, "y contains NaN", lambda: some(np.nan, float)),
    "infinity": refused(ValueError, "y contains infinity", lambda: some(np.inf, float)),
    "None": refused(ValueError, "requires y", lambda: None),
    "some None": refused(ValueError, _UNKNOWN, lambda: some(None)),
    "words and None": refused(
        TypeError, "NoneType and str", lambda: np.where(y == 1, None, NAMES.astype(object))
    ),
    "words and ints": refused(
        TypeError, "int and str", lambda: np.where(y == 1, 1, NAMES.astype(object))
    ),
    "nullable ints, NA": refused(
        ValueError, "y contains NaN", lambda: pd.Series(some(np.nan, float)).astype("Int64")
    ),
    "polars, null": refused(ValueError, "y contains NaN", lambda: pl.Series([None, *y[1:]])),
    "words, NA": refused(
        ValueError, "y contains NaN", lambda: pd.Series([None, *NAMES[1:]], dtype="string")
    ),
    "complex": refused(ValueError, "Complex data", lambda: y.astype(complex)),
    "sparse": refused(TypeError, "Sparse data", lambda: sparse.csr_matrix(y[:, None])),
    "sparse tensor": refused(TypeError, "y must be a dense tensor", TENSOR.to_sparse),
    "tensor without data": refused(TypeError, "y must be a dense", lambda: TENSOR.to("meta")),
    "rows": refused(ValueError, ONE_DIMENSION, lambda: y[None]),
    "two columns": refused(ValueError, ONE_DIMENSION, lambda: np.c_[y, y]),
    "one column for each class": refused(ValueError, ONE_DIMENSION, lambda: np.eye(3)[y]),
    "3-d": refused(ValueError, ONE_DIMENSION, lambda: y[:, None, None]),
    "0-d": refused(ValueError, ONE_DIMENSION, lambda: np.int64(3)),
    "too few": refused(ValueError, "inconsistent numbers", lambda: y[:-1]),
    "too many": refused(ValueError, "inconsistent numbers", lambda: np.r_[y, 0]),
    "none": refused(ValueError, "inconsistent numbers", lambda: y[:0]),
    "one class": refused(ValueError, "at least two classes", lambda: np.zeros(60, int)),
    "text": refused(ValueError, ONE_DIMENSION, lambda: "a" * 60),
    "sets": refused(ValueError, _UNKNOWN, lambda: [{1}] * 60),
    "ragged": refused(ValueError, "inhomogeneous", lambda: [[1], [1, 2]] * 30),
    "generator": refused(ValueError, ONE_DIMENSION, lambda: iter(y)),
}


@each_classifier
@pytest.mark.parametrize("case", LABELS.values(), ids=LABELS.keys())
def test_labels(name, case, tried):
    labels, model = case.make(), clone(ESTIMATORS[name])
    with unchanged(labels), case.outcome():
        model.fit(X, labels)
    tried("inputs: labels")
    if case.error is not None:
        assert vars(model).keys() == vars(clone(model)).keys(), "it is fitted"
        return
    assert_finite(model)
    classes, positions = np.unique(case.means, return_inverse=True)
    assert model.classes_.tolist() == classes.tolist()
    expected = clone(model).fit(X, positions)
    assert_same_outputs(outputs_of(model, X), outputs_of(expected, X), 1e-12)
    np.testing.assert_array_equal(model.predict(X), classes[expected.predict(X)])
    assert model.score(X, case.make()) == expected.score(X, positions)


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_class_dictionary(case, tried):
    def learn(labels):
        return class_dictionary(X, labels, n_components=6, lambda1=0.5, random_state=0)[0]

    labels, details = LABELS[case].make(), LABELS[case]
    tried("inputs: labels")
    if case == "one class":
        assert_finite(learn(labels))
        return
    with unchanged(labels), details.outcome():
        dictionary = learn(labels)
    if details.error is None:
        positions = np.unique(details.means, return_inverse=True)[1]
        np.testing.assert_array_equal(dictionary, learn(positions))


# In the words of scikit-learn's metrics.
_OF_METRICS = (
    "'y_true' parameter|y_true contains (NaN|infinity)|can't handle a mix|inconsistent numbers|"
    "not supported between instances|targets are of multilabel|legacy multi-label"
)


@pytest.mark.parametrize("case", [case for case in LABELS if LABELS[case].error is not None])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_labels_that_cannot_be_scored(case, tried):
    labels, model = LABELS[case].make(), clone(ESTIMATORS["task-driven"]).fit(X, y)
    tried("inputs: labels")
    if case == "one class":
        assert model.score(X, labels) == np.mean(model.predict(X) == 0)
        return
    with unchanged(labels), pytest.raises((ValueError, TypeError, FutureWarning)) as caught:
        model.score(X, labels)
    caught.match(f"{LABELS[case].message}|{_OF_METRICS}")


TARGETS = {
    "ints": taken(y, lambda: y),
    "bools": taken(y > 0, lambda: y > 0),
    "f2": taken(y / 2, lambda: (y / 2).astype("f2")),
    "long doubles": taken(y / 2, lambda: (y / 2).astype(np.longdouble)),
    "objects": taken(y / 2, lambda: (y / 2).astype(object)),
    "lists": taken(y / 2, (y / 2).tolist),
    "column": taken(y[:, None], lambda: y[:, None]),
    "columns": taken(np.c_[y, -y], lambda: np.c_[y, -y]),
    "frame": taken(np.c_[y, -y], lambda: pd.DataFrame({"a": y, "b": -y})),
    "polars": taken(y, lambda: pl.Series(y)),
    "nullable": taken(y, lambda: pd.Series(y).astype("Int64")),
    "tensor with gradients": taken(y, lambda: TENSOR.double().requires_grad_()),
    "all equal": taken(y * 0 + 3, lambda: y * 0 + 3),
    "1e-300": taken(y * 1e-300, lambda: y * 1e-300),
    "1e300": taken(y * 1e300, lambda: y * 1e300),
    "mask": refused(ValueError, "masked", lambda: np.ma.masked_array(y, y == 1)),
    "NaN": refused(ValueError, "NaN", lambda: some(np.nan, float)),
    "None": refused(ValueError, "NaN", lambda: some(None)),
    "infinity": refused(ValueError, "infinity", lambda: some(np.inf, float)),
    "words": refused(ValueError, "real numbers", lambda: NAMES),
    "complex": refused(ValueError, "Complex", lambda: y.astype(complex)),
    "dates": refused(TypeError, "y must hold real numbers", lambda: y.astype("datetime64[D]")),
    "durations": refused(TypeError, "real numbers", lambda: y.astype("timedelta64[D]")),
    "records": refused(TypeError, "real numbers", lambda: np.zeros(60, [("a", "f8")])),
    "sparse": refused(TypeError, "Sparse data", lambda: sparse.csr_matrix(y[:, None])),
    "3-d": refused(ValueError, "dim 3", lambda: y[:, None, None]),
    "0-d": refused((TypeError, ValueError), "dimension", lambda: np.float64(3)),
    "too few": refused(ValueError, "inconsistent", lambda: y[:-1]),
    "beyond float64": refused(
        ValueError, "infinity", lambda: y.astype(np.longdouble) * np.longdouble(10) ** 400
    ),
}


@pytest.mark.parametrize("case", TARGETS.values(), ids=TARGETS.keys())
def test_targets(case, tried):
    targets, model = case.make(), clone(ESTIMATORS["regressor"])
    with unchanged(targets), case.outcome():
        model.fit(X, targets)
    tried("inputs: targets")
    if case.error is not None:
        assert vars(model).keys() == vars(clone(model)).keys(), "it is fitted"
        with case.outcome():
            clone(model).fit(X, y).score(X, targets)
        return
    assert_finite(model)
    scale = np.abs(case.means).max()
    of_numbers = r2_score(case.means / scale, model.predict(X) / scale)
    assert model.score(X, targets) == pytest.approx(of_numbers, rel=1e-12)
    expected = clone(model).fit(X, case.means.astype(np.float64))
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert model.predict(X).shape == case.means.shape


SAMPLE_WEIGHTS = {
    **{
        dtype: taken(WEIGHTS, lambda dtype=dtype: WEIGHTS.astype(dtype))
        for dtype in ["f2", "f4", "f8", "longdouble", "i4", "u1", "object", ">f8"]
    },
    "bools": taken(y > 0, lambda: y > 0),
    "list": taken(WEIGHTS, WEIGHTS.tolist),
    "series": taken(WEIGHTS, lambda: pd.Series(WEIGHTS)),
    "polars": taken(WEIGHTS, lambda: pl.Series(WEIGHTS)),
    "tensor with gradients": taken(WEIGHTS, lambda: torch.tensor(WEIGHTS, requires_grad=True)),
    "read-only": taken(WEIGHTS, lambda: read_only(WEIGHTS)),
    "None": taken(np.ones(60), lambda: None),
    "a number": taken(np.ones(60), lambda: 3.0),
    "1e-300": taken(WEIGHTS, lambda: WEIGHTS * 1e-300),
    "1e300": taken(WEIGHTS, lambda: WEIGHTS * 1e300),
    "mask": refused(ValueError, "masked", lambda: np.ma.masked_array(WEIGHTS, y == 1)),
    "negative": refused(ValueError, "[Nn]egative", lambda: -WEIGHTS),
    "zeros": refused(ValueError, "weight|non-zero", lambda: 0 * WEIGHTS),
    "NaN": refused(ValueError, "NaN", lambda: np.where(y == 1, np.nan, 1)),
    "infinity": refused(ValueError, "infinity", lambda: np.where(y == 1, np.inf, 1)),
    "complex": refused(ValueError, "Complex", lambda: WEIGHTS.astype(complex)),
    "words": refused(ValueError, "zero", lambda: NAMES),
    "columns": refused(ValueError, "1D", lambda: np.c_[WEIGHTS, WEIGHTS]),
    "too few": refused(ValueError, "shape", lambda: WEIGHTS[:-1]),
    "sparse": refused(TypeError, "Sparse", lambda: sparse.csr_matrix(WEIGHTS[:, None])),
}


@pytest.mark.parametrize("name", ["task-driven", "regressor", "dense"])
@pytest.mark.parametrize("case", SAMPLE_WEIGHTS.values(), ids=SAMPLE_WEIGHTS.keys())
def test_sample_weights(name, case, tried):
    weights, model = case.make(), clone(ESTIMATORS[name])
    with unchanged(weights), case.outcome():
        model.fit(X, y, sample_weight=weights)
    tried("inputs: weights")
    if case.error is None:
        assert_finite(model)
        expected = clone(model).fit(X, y, sample_weight=case.means.astype(np.float64))
        assert_same_outputs(outputs_of(model, X), outputs_of(expected, X), 1e-6)
        if not isinstance(weights, float):  # which metrics do not take
            found = model.score(X, y, sample_weight=weights)
            assert found == pytest.approx(expected.score(X, y, sample_weight=case.means))
    else:
        assert vars(model).keys() == vars(clone(model)).keys(), "it is fitted"
