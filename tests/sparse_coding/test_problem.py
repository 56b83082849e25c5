"""Tests of skddl.sparse_coding._problem: objective, optimality, lambda_max."""

import math

import numpy as np
import pytest
import torch

from skddl.sparse_coding import kkt_residual
from skddl.sparse_coding._problem import ElasticNetProblem

from .problems import PROBLEMS, lambda_max, objective, residual_of_definition


@pytest.fixture
def arrays():
    X, dictionary = PROBLEMS["random_wide"]()
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(len(X), len(dictionary)))
    codes[rng.random(codes.shape) < 0.7] = 0.0
    return X, dictionary, codes


@pytest.mark.parametrize("lambda2", [0.0, 0.7])
def test_objective_is_that_of_equation_3(arrays, lambda2):
    problem = ElasticNetProblem(0.3, lambda2)
    actual = problem.objective(*map(torch.from_numpy, arrays)).numpy()
    np.testing.assert_allclose(actual, objective(*arrays, 0.3, lambda2), rtol=1e-12)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("lambda2", [0.0, 0.7])
def test_residual_is_the_distance_from_the_subdifferential(arrays, lambda2, positive):
    X, dictionary, codes = arrays
    codes[: len(X) // 2] = np.abs(codes[: len(X) // 2])
    actual = kkt_residual(X, dictionary, codes, lambda1=0.3, lambda2=lambda2, positive=positive)
    expected = residual_of_definition(X, dictionary, codes, 0.3, lambda2, positive)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert np.isinf(actual).any() == positive


@pytest.mark.parametrize("positive", [False, True])
def test_residual_of_codes_that_are_not_numbers_is_not_small(positive):
    problem = ElasticNetProblem(1.0, positive=positive)
    codes = torch.tensor([[math.nan, 0.0], [0.0, 0.0]])
    residual = problem.kkt_residual(torch.zeros(2, 2), torch.eye(2), codes)
    assert math.isnan(residual[0])
    assert residual[1] == 0


@pytest.mark.parametrize("positive", [False, True])
def test_lambda_max_is_where_zero_becomes_optimal(arrays, positive):
    X, dictionary, _ = arrays
    tensors = torch.from_numpy(X), torch.from_numpy(dictionary)
    per_sample = ElasticNetProblem(1.0, positive=positive).lambda_max(*tensors).numpy()
    assert per_sample.max() == pytest.approx(lambda_max(X, dictionary, positive), rel=1e-12)
    zeros = np.zeros((1, len(dictionary)))
    for x, largest in zip(X, per_sample, strict=True):
        for factor, is_optimal in ((1 + 1e-9, True), (0.99, False)):
            options = {"lambda1": factor * largest, "positive": positive}
            assert (kkt_residual(x[None], dictionary, zeros, **options) == 0) == is_optimal


@pytest.mark.parametrize("name", ["lambda1", "lambda2"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_weights_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number"):
        ElasticNetProblem(**{"lambda1": 1.0, name: value})


def test_lambda1_of_zero_is_refused():
    with pytest.raises(ValueError, match="lambda1 must be a finite number > 0, got 0"):
        ElasticNetProblem(0.0)


@pytest.mark.parametrize("name", ["lambda1", "lambda2"])
@pytest.mark.parametrize("value", ["0.1", True, None, 1j, [0.1]])
def test_weights_of_a_wrong_type_are_refused_by_name(name, value):
    with pytest.raises(TypeError, match=f"{name} must be a real number"):
        ElasticNetProblem(**{"lambda1": 1.0, name: value})


@pytest.mark.parametrize("value", ["no", 1, None])
def test_positive_must_be_a_flag(value):
    with pytest.raises(TypeError, match="positive must be True or False"):
        ElasticNetProblem(1.0, positive=value)


def test_scalars_of_numpy_become_plain_numbers():
    problem = ElasticNetProblem(np.float32(0.5), np.int64(2), np.bool_(True))
    assert (problem.lambda1, problem.lambda2, problem.positive) == (0.5, 2.0, True)
    assert {type(problem.lambda1), type(problem.lambda2)} == {float}
    assert type(problem.positive) is bool
