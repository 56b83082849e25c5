"""Every solver on every problem: optimality, and agreement with scikit-learn."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso

from skddl.sparse_coding import kkt_residual, sparse_encode
from skddl.sparse_coding._problem import ElasticNetProblem
from skddl.sparse_coding._solvers import solve

from ..data import SOLVERS_HERE
from .problems import PROBLEMS, UNIQUE, lambda_max, objective, unit_rows

PROMISED = {np.float64: 1e-6, np.float32: 1e-4}


def codes_of_scikit_learn(X, dictionary, lambda1, lambda2, positive):
    n_features = X.shape[1]
    # Its objective is ours over n_features; its weights are a sum and a share of l1.
    common = {"fit_intercept": False, "positive": positive, "tol": 1e-14, "max_iter": 100_000}
    if lambda2:
        total = (lambda1 + lambda2) / n_features
        model = ElasticNet(alpha=total, l1_ratio=lambda1 / (lambda1 + lambda2), **common)
    else:
        model = Lasso(alpha=lambda1 / n_features, **common)
    with warnings.catch_warnings():
        # Its duality gap cannot always be brought below 1e-14.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.array([model.fit(dictionary.T, x).coef_ for x in X])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
@pytest.mark.parametrize("fraction", [0.5, 0.1])
@pytest.mark.parametrize("name", UNIQUE)
def test_codes_equal_those_of_scikit_learn(solver, name, fraction, lambda2, positive):
    X, dictionary = PROBLEMS[name]()
    X = X[:8]
    lambda1 = fraction * lambda_max(X, dictionary)
    expected = codes_of_scikit_learn(X, dictionary, lambda1, lambda2, positive)
    options = {"lambda1": lambda1, "lambda2": lambda2, "positive": positive}
    actual = sparse_encode(X, dictionary, solver=solver, **options)
    assert np.count_nonzero(expected) > 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_code_is_optimal(solver, name, fraction, lambda2, positive, dtype):
    X, dictionary = (values.astype(dtype) for values in PROBLEMS[name]())
    options = {
        "lambda1": fraction * lambda_max(X, dictionary),
        "lambda2": lambda2,
        "positive": positive,
    }
    codes = sparse_encode(X, dictionary, solver=solver, **options)
    residual = kkt_residual(X, dictionary, codes, **options)
    assert residual.dtype == np.float64
    assert residual.max() <= PROMISED[dtype]


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("name", ["rank_deficient", "duplicated"])
def test_objective_equals_that_of_scikit_learn_where_codes_are_not_unique(solver, name, positive):
    X, dictionary = PROBLEMS[name]()
    lambda1 = 0.1 * lambda_max(X, dictionary)
    reference = codes_of_scikit_learn(X, dictionary, lambda1, 0.0, positive)
    codes = sparse_encode(X, dictionary, lambda1=lambda1, positive=positive, solver=solver)
    actual, expected = (objective(X, dictionary, a, lambda1, 0.0) for a in (codes, reference))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@st.composite
def degenerate_problems(draw):
    """Small problems with duplicate, opposite and zero atoms, zero samples, lone ones of each."""
    n_samples, n_features = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    n_components = draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Integers make ties: atoms that enter at the same lambda1.
    draw_rows = draw(
        st.sampled_from(
            [lambda size: rng.normal(size=size), lambda size: rng.integers(-2, 3, size)]
        )
    )
    X = draw_rows((n_samples, n_features)).astype(float)
    dictionary = draw_rows((n_components, n_features)).astype(float)
    source = rng.integers(0, n_components, n_components)
    factor = rng.choice([-1.0, 0.0, 1.0], size=(n_components, 1))
    changed = rng.random(n_components) < draw(st.sampled_from([0.0, 0.3, 0.9]))
    dictionary[changed] = (factor * dictionary[source])[changed]
    X[rng.random(n_samples) < 0.2] = 0.0
    return X, dictionary


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    problem=degenerate_problems(),
    fraction=st.sampled_from([0.02, 0.1, 0.5, 1.0, 2.0]),
    lambda2=st.sampled_from([0.0, 1e-3, 0.5]),
    positive=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    solver=st.sampled_from(SOLVERS_HERE),
)
def test_every_code_of_a_degenerate_problem_is_optimal(
    problem, fraction, lambda2, positive, dtype, solver
):
    X, dictionary = (values.astype(dtype) for values in problem)
    options = {
        "lambda1": fraction * (lambda_max(X, dictionary) or 1.0),
        "lambda2": lambda2,
        "positive": positive,
    }
    codes = sparse_encode(X, dictionary, solver=solver, **options)
    assert codes.dtype == dtype
    assert kkt_residual(X, dictionary, codes, **options).max() <= PROMISED[dtype]
    if fraction > 1:
        assert not codes.any()


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("name", PROBLEMS)
def test_codes_are_exactly_zero_from_lambda_max_on(solver, name, positive):
    X, dictionary = PROBLEMS[name]()
    largest = lambda_max(X, dictionary, positive)
    for factor in (1 + 1e-12, 10.0):
        lambda1 = factor * largest
        codes = sparse_encode(X, dictionary, lambda1=lambda1, positive=positive, solver=solver)
        assert not codes.any()
    below = sparse_encode(X, dictionary, lambda1=0.99 * largest, positive=positive, solver=solver)
    assert below.any()


def test_codes_of_the_identity_are_soft_thresholds(solver):
    X = np.array([[3.0, -0.5, -2.0, 0.0]])
    options = {"lambda1": 1.0, "lambda2": 1.0, "solver": solver}
    np.testing.assert_allclose(sparse_encode(X, np.eye(4), **options), [[1.0, 0, -0.5, 0]])
    positive = sparse_encode(X, np.eye(4), positive=True, **options)
    np.testing.assert_allclose(positive, [[1.0, 0, 0, 0]])


@pytest.mark.parametrize("name", PROBLEMS)
def test_code_does_not_depend_on_the_neighbours_of_a_sample(solver, name):
    X, dictionary = PROBLEMS[name]()
    options = {"lambda1": 0.1 * lambda_max(X, dictionary), "lambda2": 0.01, "solver": solver}
    together = sparse_encode(X, dictionary, **options)
    some = [3, 17, 11]
    np.testing.assert_allclose(
        sparse_encode(X[some], dictionary, **options), together[some], rtol=0, atol=1e-10
    )
    alone = sparse_encode(X[5:6], dictionary, **options)
    np.testing.assert_allclose(alone, together[5:6], rtol=0, atol=1e-10)


@pytest.mark.parametrize("start", ["optimum", "random", "dense"])
def test_result_does_not_depend_on_the_start(solver, start):
    X, dictionary = PROBLEMS["random_wide"]()
    options = {"lambda1": 0.1 * lambda_max(X, dictionary), "solver": solver}
    cold = sparse_encode(X, dictionary, **options)
    rng = np.random.default_rng(0)
    init = {
        "optimum": cold,
        "random": rng.normal(size=cold.shape) * (rng.random(cold.shape) < 0.1),
        "dense": rng.normal(size=cold.shape),
    }[start]
    before = init.copy()
    warm = sparse_encode(X, dictionary, init=init, **options)
    np.testing.assert_allclose(warm, cold, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(init, before)


def test_infeasible_start_gives_a_feasible_code():
    X, dictionary = PROBLEMS["random_wide"]()
    options = {"lambda1": 0.2 * lambda_max(X, dictionary), "positive": True, "solver": "fista"}
    init = np.full((len(X), len(dictionary)), -1.0)
    codes = sparse_encode(X, dictionary, init=init, **options)
    assert codes.min() == 0
    np.testing.assert_allclose(codes, sparse_encode(X, dictionary, **options), atol=1e-9)


@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_too_few_iterations_warn(solver, max_iter):
    X, dictionary = PROBLEMS["coherent"]()
    lambda1 = 0.02 * lambda_max(X, dictionary)
    with pytest.warns(ConvergenceWarning, match="Some codes are not optimal.* Increase max_iter"):
        codes = sparse_encode(X, dictionary, lambda1=lambda1, solver=solver, max_iter=max_iter)
    assert kkt_residual(X, dictionary, codes, lambda1=lambda1).max() > 1e-6


def test_float32_warns_where_rounding_of_the_codes_alone_exceeds_the_promise(solver):
    rng = np.random.default_rng(0)
    dictionary = unit_rows(0.03 * rng.normal(size=(40, 24)) + rng.normal(size=24))
    X, dictionary = rng.normal(size=(6, 24)).astype(np.float32), dictionary.astype(np.float32)
    lambda1 = 1e-4 * lambda_max(X, dictionary)
    with pytest.warns(ConvergenceWarning, match="use float64"):
        codes = sparse_encode(X, dictionary, lambda1=lambda1, solver=solver)
    residual = kkt_residual(X, dictionary, codes, lambda1=lambda1)
    assert residual.max() > 1e-4
    # The codes are optimal but for their last bit: a relative error of eps / 2 in each entry.
    rounding = np.finfo(np.float32).eps / 2 * np.abs(codes.astype(float)).sum(1) / lambda1
    assert (residual <= 1e-6 + rounding).all()


def test_tolerance_that_is_asked_for_is_not_warned_about(solver):
    X, dictionary = PROBLEMS["random_wide"]()
    lambda1 = 0.1 * lambda_max(X, dictionary)
    codes = sparse_encode(X, dictionary, lambda1=lambda1, solver=solver, tol=1e-2)
    assert kkt_residual(X, dictionary, codes, lambda1=lambda1).max() <= 1e-2


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_sample_that_overflowed_has_no_code_and_spares_the_others(solver, broken):
    X, dictionary = (torch.from_numpy(values) for values in PROBLEMS["random_wide"]())
    problem = ElasticNetProblem(0.5)
    expected = solve(problem, X, dictionary, solver=solver).codes
    spoilt = X.clone()
    spoilt[4, 2] = broken
    codes = solve(problem, spoilt, dictionary, solver=solver).codes
    assert codes[4].isnan().all()
    others = torch.arange(len(X)) != 4
    torch.testing.assert_close(codes[others], expected[others], rtol=0, atol=1e-10)
    dictionary = dictionary.clone()
    dictionary[0, 0] = broken
    assert solve(problem, X, dictionary, solver=solver).codes.isnan().all()


def test_finite_samples_whose_sum_overflows_are_solved(solver):
    X = torch.tensor([[3e38, 3e38, -1.0]], dtype=torch.float32)
    codes = solve(ElasticNetProblem(1e38), X, torch.eye(3), solver=solver).codes
    torch.testing.assert_close(codes, torch.tensor([[2e38, 2e38, 0.0]]))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_number_of_threads_is_left_alone(solver, n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        X, dictionary = PROBLEMS["random_tall"]()
        sparse_encode(X, dictionary, lambda1=0.5, solver=solver)
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "fraction"), [(np.float32, 0.1), (np.float64, 0.01)])
def test_codes_are_optimal_on_many_very_coherent_atoms(solver, dtype, fraction):
    rng = np.random.default_rng(0)
    dictionary = unit_rows(0.1 * rng.normal(size=(200, 64)) + rng.normal(size=64)).astype(dtype)
    X = rng.normal(size=(50, 64)).astype(dtype)
    lambda1 = fraction * lambda_max(X, dictionary)
    codes = sparse_encode(X, dictionary, lambda1=lambda1, solver=solver)
    assert kkt_residual(X, dictionary, codes, lambda1=lambda1).max() <= PROMISED[dtype]
