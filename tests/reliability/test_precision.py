"""Fits and codes in float32 are those in float64, within a tolerance."""

import numpy as np
import pytest

from skddl.sparse_coding import sparse_encode
from tests.sparse_coding.problems import PROBLEMS, UNIQUE, lambda_max

from .usual import FITS, X, deviations, fit, result_of

# Relative to the largest entry; three times as much as was seen, at least.
TOLERANCES = {
    "weights": 3e-4,
    "losses": 3e-5,
    "predict_proba": 1e-5,
    "predict": 1e-4,
    "transform": 3e-5,
}
# Its first output is as exact as an optimisation in float32 can be that need not be exact.
OF_REGRESSOR = {**TOLERANCES, "weights": 3e-3, "losses": 5e-4, "predict": 1e-3}
BOUNDS = {"regressor, sgd": OF_REGRESSOR}
QUICK = ("detrame", "plain-3", "online")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.soak)
        for n in FITS
        if n != "regressor"
    ],
)
def test_a_fit_in_float32_is_that_in_float64(name, tried):
    if name == "online":
        exact = fit(name, X.astype(np.float64))
    else:
        exact = fit(name, dtype="float64")
    worst = deviations(result_of(fit(name)), result_of(exact))
    bounds = BOUNDS.get(name, TOLERANCES)
    assert all(deviation <= bounds[kind] for kind, deviation in worst.items()), worst
    tried("fits in float32 compared with float64")


@pytest.mark.soak
def test_by_adam_the_regressor_is_as_good_in_float32():
    """Not the same: where a pixel says nothing, a first step of Adam is that of rounding alone."""
    scores = [
        fit("regressor", dtype=dtype).score(X, X[:, 20:22]) for dtype in ("float32", "float64")
    ]
    assert scores[1] > 0.5
    assert abs(scores[0] - scores[1]) < 0.02


@pytest.mark.parametrize("solver", ["auto", "spams", "fista"])
@pytest.mark.parametrize("name", UNIQUE)
@pytest.mark.parametrize("weights", [{}, {"lambda2": 0.1}, {"positive": True}])
def test_a_code_in_float32_is_that_in_float64(name, solver, weights, tried):
    samples, atoms = (values.astype(np.float32) for values in PROBLEMS[name]())
    for fraction in (0.5, 0.05):
        options = {"lambda1": fraction * lambda_max(samples, atoms), "solver": solver, **weights}
        codes = sparse_encode(samples, atoms, **options)
        exact = sparse_encode(samples.astype(float), atoms.astype(float), **options)
        # Rounded, and no more: half a last digit is 6e-8.
        error = np.abs(codes - exact) / np.abs(exact).max()
        assert error.max() <= 1e-7
        tried("batches of codes in float32 compared with float64")
