"""What hypothesis draws: samples, labels and weights of any kind together, for any estimator."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from .estimators import (
    ESTIMATORS,
    assert_same_outputs,
    fit_or_refuse,
    unchanged,
)
from .samples import read_only, unaligned

ORDERS = [np.asarray, np.asfortranarray, read_only, unaligned, lambda a: np.repeat(a, 2, 0)[::2]]
CONTAINERS = [
    lambda a: a,
    np.ndarray.tolist,
    pd.DataFrame,
    lambda a: pl.DataFrame(np.ascontiguousarray(a)),
    lambda a: torch.from_numpy(np.array(a)),
    lambda a: np.ma.masked_array(a),
    lambda a: a.astype(object),
]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.1, 5e-324, 1e-30, 1e30, 1e38, 1e300, np.nan, np.inf, -np.inf]
LABELS = [
    lambda y: y,
    lambda y: y.astype(float),
    lambda y: np.array([f"class {label}" for label in y.tolist()]),
    lambda y: y - 7,
    lambda y: y.tolist(),
    pd.Series,
    torch.from_numpy,
]


@st.composite
def problems(draw):
    """Samples as an array in float64, as they are passed, labels, and whether all is as usual."""
    shape = draw(st.integers(2, 30)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["f2", "f4", "f8", "i1", "i4", "i8", "u2", "?"]))
    scale = draw(st.sampled_from([1.0, 1.0, 1.0, 1e-30, 1e-5, 1e5, 1e30, 1e-300, 1e300]))
    scale = scale if kind in ("f4", "f8") else 10
    n_special, has_special_column = draw(st.integers(0, 3)), draw(st.booleans())
    values = rng.standard_normal(shape) * scale
    for _ in range(n_special):
        row, column = (draw(st.integers(0, size - 1)) for size in shape)
        values[row, column] = draw(st.sampled_from(SPECIAL))
    if has_special_column:
        values[:, draw(st.integers(0, shape[1] - 1))] = draw(st.sampled_from(SPECIAL[:7]))
    if draw(st.booleans()):
        values[draw(st.integers(0, shape[0] - 1))] = values[0]
    if kind not in ("f2", "f4", "f8"):
        values = np.nan_to_num(values, posinf=9, neginf=0).clip(-100, 100)
    with np.errstate(all="ignore"):
        samples = draw(st.sampled_from(ORDERS))(np.abs(values).astype(kind))
    labels = rng.integers(0, draw(st.integers(1, 8)), shape[0])
    passed = draw(st.sampled_from(CONTAINERS))(samples)
    is_usual = 1e-5 <= scale <= 1e5 and n_special == 0 and not has_special_column
    given_labels = draw(st.sampled_from(LABELS))(labels)
    return samples.astype(np.float64), passed, given_labels, labels, is_usual


@pytest.mark.parametrize(
    "n_examples", [100, pytest.param(5000, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_anything_is_learned_or_refused_in_clear_words(n_examples, tried):
    drawn = st.tuples(st.sampled_from([n for n in ESTIMATORS if n != "plain-3"]), problems())

    @settings(max_examples=n_examples, deadline=None, derandomize=True, database=None)
    @given(drawn)
    def run(name_and_problem):
        name, (means, samples, given_labels, labels, is_usual) = name_and_problem
        estimator = clone(ESTIMATORS[name])
        if name == "online":
            estimator.set_params(n_components=2)
        if name == "regressor":
            given_labels = labels
        with unchanged(samples, given_labels):
            outputs, warned = fit_or_refuse(estimator, samples, given_labels)
        tried(f"inputs: drawn by hypothesis, {'refused' if outputs is None else 'learned'}")
        is_finite = bool(np.isfinite(means).all())
        has_classes = len(np.unique(labels)) > 1 or name in ("regressor", "online", "normalizer")
        if not (is_finite and has_classes):
            assert outputs is None
        elif is_usual:
            assert outputs is not None
        if outputs is not None and not warned and np.asarray(samples).dtype != np.float16:
            expected, _ = fit_or_refuse(estimator, means, labels)
            assert_same_outputs(outputs, expected, 0.01)

    run()
