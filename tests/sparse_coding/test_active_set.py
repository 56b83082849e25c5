"""Tests of solver="active-set": what only it promises, and what it shares with the gradient."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skddl.sparse_coding import _exact, _threads, kkt_residual, sparse_encode
from skddl.sparse_coding._gradient import gradient_of_beta, solve_on_supports
from skddl.sparse_coding._problem import ElasticNetProblem
from skddl.sparse_coding._solution import Supports
from skddl.sparse_coding._solvers import solve

from .problems import PROBLEMS, UNIQUE, lambda_max, unit_rows

pytestmark = pytest.mark.usefixtures("core")


def assert_same_codes(actual, expected):
    """As far as they may depend on batch and start, relative to the largest entry of a code."""
    equal = {torch.float32: 1e-6, torch.float64: 1e-12}[expected.dtype]
    difference = (actual - expected).abs().amax(1)
    assert (difference <= equal * expected.abs().amax(1)).all()


def many_nonzeros():
    """Supports larger than the room that the solver starts with."""
    rng = np.random.default_rng(0)
    dictionary = unit_rows(rng.normal(size=(250, 200)))
    return rng.normal(size=(12, 200)), dictionary


UNIQUE_CODES = {**{name: PROBLEMS[name] for name in UNIQUE}, "many_nonzeros": many_nonzeros}


@pytest.fixture(params=UNIQUE_CODES)
def arrays(request):
    return UNIQUE_CODES[request.param]()


@pytest.fixture
def two_threads(monkeypatch):
    """Two threads, also for little work."""
    monkeypatch.setattr(_threads, "_WORK_OF_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fraction", [0.3, 0.05])
def test_codes_are_the_same_however_they_are_found(arrays, dtype, fraction, two_threads):
    X, dictionary = (values.astype(dtype) for values in arrays)
    lambda1 = fraction * lambda_max(X, dictionary)

    def encode(X, **options):
        return sparse_encode(X, dictionary, lambda1=lambda1, solver="active-set", **options)

    codes = encode(X)
    assert codes.any()
    torch.set_num_threads(1)
    np.testing.assert_array_equal(encode(X), codes)
    np.testing.assert_array_equal(encode(X[::-1])[::-1], codes)
    rng = np.random.default_rng(0)
    others = [np.concatenate([encode(x[None]) for x in X])]
    for start in (codes, codes[::-1], rng.normal(size=codes.shape) * (codes != 0)):
        others.append(encode(X, init=start.astype(dtype)))
    for other in others:
        assert_same_codes(torch.from_numpy(other), torch.from_numpy(codes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", UNIQUE_CODES)
def test_with_and_without_the_gram_matrix_codes_and_gradients_are_the_same(name, dtype):
    X, dictionary = (torch.from_numpy(values).to(dtype) for values in UNIQUE_CODES[name]())
    problem = ElasticNetProblem(0.05 * lambda_max(X.numpy(), dictionary.numpy()))
    direction = torch.randn(
        (len(X), len(dictionary)), dtype=dtype, generator=torch.Generator().manual_seed(0)
    )

    def by(X, direction, gram):
        solution = solve(
            problem, X, dictionary, solver="active-set", differentiable=True, gram=gram
        )
        return solution.codes, *solution.gradient(direction, True)

    # For one sample it would not pay to form it.
    alone = [by(x, d, None) for x, d in zip(X.split(1), direction.split(1), strict=True)]
    codes, of_samples, of_dictionary = zip(*alone, strict=True)
    found = [
        by(X, direction, dictionary @ dictionary.T),
        (torch.cat(codes), torch.cat(of_samples), sum(of_dictionary)),
    ]
    for with_gram, without in zip(*found, strict=True):
        scale = float(with_gram.abs().max())
        tolerance = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
        torch.testing.assert_close(with_gram, without, rtol=0, atol=tolerance * scale)
    assert_same_codes(*(codes for codes, *_ in found))


def test_in_float64_no_sample_is_left_to_another_method(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a sample was left to another method")

    monkeypatch.setattr(_exact, "polish", refuse)
    rng = np.random.default_rng(0)
    for n_components in (5, 20, 80):
        for lambda1 in (1.0, 0.1, 0.01):
            # Small integers: many atoms are alike, many correlations equal.
            X, dictionary = (
                rng.integers(-1, 2, size=(n, 12)).astype(float) for n in (100, n_components)
            )
            start = rng.normal(size=(100, n_components)) * (rng.random((100, n_components)) < 0.2)
            cold, warm = (
                sparse_encode(X, dictionary, lambda1=lambda1, solver="active-set", init=init)
                for init in (None, start)
            )
            assert kkt_residual(X, dictionary, cold, lambda1=lambda1).max() <= 1e-9
            assert kkt_residual(X, dictionary, warm, lambda1=lambda1).max() <= 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_to_start_from_are_made_use_of(dtype):
    X, dictionary = (torch.from_numpy(values).to(dtype) for values in PROBLEMS["digits"]())
    problem = ElasticNetProblem(0.05 * lambda_max(X.numpy(), dictionary.numpy()))
    supports = Supports.empty(len(X), 100)
    codes = solve(problem, X, dictionary, solver="active-set", init=supports).codes
    # The round that finds a code, and the one that sees that it is optimal.
    one_round = {"solver": "active-set", "max_iter": 2}
    for init in (codes, supports):
        again = solve(problem, X, dictionary, init=init, **one_round).codes
        assert_same_codes(again, codes)
    assert torch.equal(again, codes)  # a fit that goes on from a checkpoint has no supports
    with pytest.warns(ConvergenceWarning):
        solve(problem, X, dictionary, **one_round)


def test_supports_of_something_else_are_no_start_and_no_danger():
    X, dictionary = (torch.from_numpy(values) for values in PROBLEMS["digits"]())
    problem = ElasticNetProblem(0.05 * lambda_max(X.numpy(), dictionary.numpy()))
    expected = solve(problem, X, dictionary, solver="active-set").codes
    supports = Supports.empty(len(X), 7)
    supports.sizes[:] = 7
    supports.sizes[0], supports.sizes[1] = -3, 2**30
    supports.atoms[:] = torch.tensor([3, 3, 0, 101, -(2**31), 2**31 - 1, -50])
    codes = solve(problem, X, dictionary, solver="active-set", init=supports).codes
    torch.testing.assert_close(codes, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="one support for each sample"):
        solve(problem, X, dictionary, solver="active-set", init=Supports.empty(3, 7))


def test_threads_are_limited_as_those_of_torch(monkeypatch, two_threads):
    monkeypatch.setattr(_threads, "_count_processors", lambda: 3)
    assert [_threads.count_threads(work) for work in (0, 1, 2, 3)] == [1, 1, 2, 2]
    with threadpool_limits(1):
        assert _threads.count_threads(100) == 1
    torch.set_num_threads(64)  # on a host of 64, of which a container may use 3
    assert _threads.count_threads(100) == 3


def test_threads_are_those_of_torch():
    maps = Path("/proc/self/maps")
    loaded = maps.read_text() if maps.exists() else ""
    assert _threads.team().is_openmp == ("libgomp" in loaded)


def test_lambda1_below_what_float32_can_multiply():
    X, dictionary = np.full((1, 2), 1e-30, np.float32), 1e-20 * np.eye(2, dtype=np.float32)
    codes = sparse_encode(X, dictionary, lambda1=1e-51, solver="active-set")
    assert kkt_residual(X, dictionary, codes, lambda1=1e-51).max() <= 1e-4


def test_tensors_that_are_negated_on_the_fly():
    X, dictionary = (torch.from_numpy(values) for values in PROBLEMS["digits"]())
    negated = torch.complex(X, X).conj().imag  # -X, by a mark at the tensor
    assert negated.is_neg()
    expected = sparse_encode(-X, dictionary, lambda1=0.1, solver="active-set")
    assert torch.equal(
        sparse_encode(negated, dictionary, lambda1=0.1, solver="active-set"), expected
    )


def dense_problem():
    """Codes of which many have more atoms than there is room for their factors."""
    generator = torch.Generator().manual_seed(0)
    X, dictionary = (torch.randn(n, 200, generator=generator) for n in (60, 250))
    return X, torch.nn.functional.normalize(dictionary)


def test_gradients_have_the_same_bits_each_time(two_threads):
    X, dictionary = dense_problem()
    direction = torch.randn(60, 250, generator=torch.Generator().manual_seed(1))
    gradients = []
    for _ in range(10):
        solution = solve(
            ElasticNetProblem(0.5), X, dictionary, solver="active-set", differentiable=True
        )
        gradients.append(solution.gradient(direction, True))
    assert solution.codes.count_nonzero(1).float().mean() > 80
    for gradient in gradients[1:]:
        assert all(map(torch.equal, gradient, gradients[0]))


def test_gradients_of_the_same_codes_in_several_threads(two_threads):
    X, dictionary = dense_problem()
    solution = solve(
        ElasticNetProblem(2.0), X, dictionary, solver="active-set", differentiable=True
    )
    directions = torch.randn(40, 60, 250, generator=torch.Generator().manual_seed(1))
    expected = [solution.gradient(direction, True) for direction in directions]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda direction: solution.gradient(direction, True), directions))
    for gradient, reference in zip(found, expected, strict=True):
        assert all(map(torch.equal, gradient, reference))


def test_threads_of_python_give_the_same_bits(monkeypatch, two_threads, core):
    X, dictionary = PROBLEMS["digits"]()
    lambda1 = 0.05 * lambda_max(X, dictionary)
    expected = sparse_encode(X, dictionary, lambda1=lambda1, solver="active-set")
    monkeypatch.setattr(_exact, "team", lambda: core.Team(""))
    actual = sparse_encode(X, dictionary, lambda1=lambda1, solver="active-set")
    np.testing.assert_array_equal(actual, expected)


def test_float32_codes_are_those_of_float64_rounded():
    X, dictionary = (values.astype(np.float32) for values in PROBLEMS["digits"]())
    lambda1 = 0.05 * lambda_max(X, dictionary)
    codes = sparse_encode(X, dictionary, lambda1=lambda1, solver="active-set")
    exact = sparse_encode(
        X.astype(float), dictionary.astype(float), lambda1=lambda1, solver="active-set"
    )
    np.testing.assert_allclose(codes, exact, rtol=np.finfo(np.float32).eps, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("positive", [False, True])
def test_more_nonzeros_than_there_is_room_for_at_first(dtype, positive):
    X, dictionary = (values.astype(dtype) for values in many_nonzeros())
    options = {"lambda1": 0.02 * lambda_max(X, dictionary), "positive": positive}
    codes = sparse_encode(X, dictionary, solver="active-set", **options)
    assert (codes != 0).sum(1).min() > 70
    residual = kkt_residual(X, dictionary, codes, **options)
    assert residual.max() <= {np.float32: 1e-5, np.float64: 1e-9}[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
@pytest.mark.parametrize("fraction", [0.3, 0.02])
@pytest.mark.parametrize("name", [*PROBLEMS, "many_nonzeros"])
def test_gradient_by_its_factors_is_that_by_dense_products(name, fraction, lambda2, dtype):
    make = PROBLEMS.get(name, many_nonzeros)
    X, dictionary = (torch.from_numpy(values).to(dtype) for values in make())
    problem = ElasticNetProblem(fraction * lambda_max(X.numpy(), dictionary.numpy()), lambda2)
    solution = solve(problem, X, dictionary, solver="active-set", differentiable=True)
    codes = solution.codes
    direction = torch.randn(codes.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    # In float64: in float32 the error of the dense products would decide.
    X, dictionary, codes, direction64 = (v.double() for v in (X, dictionary, codes, direction))
    beta = solve_on_supports(problem, dictionary @ dictionary.T, codes, direction64)
    expected = gradient_of_beta(X, dictionary, codes, beta, True)
    actual = solution.gradient(direction, True)
    for ours, reference in zip(actual, expected, strict=True):
        scale = float(reference.abs().max())
        tolerance = {torch.float32: 3e-3, torch.float64: 1e-9}[dtype]
        torch.testing.assert_close(ours.double(), reference, rtol=0, atol=tolerance * scale)
    without_dictionary, nothing = solution.gradient(direction, False)
    assert nothing is None
    assert torch.equal(without_dictionary, actual[0])


def test_supports_are_brought_up_to_date_in_the_rows_that_are_meant():
    X, dictionary = (torch.from_numpy(values) for values in PROBLEMS["digits"]())
    problem = ElasticNetProblem(0.05 * lambda_max(X.numpy(), dictionary.numpy()))
    memory = Supports.empty(60, 40)
    rows = torch.tensor([50, 3, 7])
    codes = solve(problem, X[:3], dictionary, solver="active-set", init=memory.at(rows)).codes
    assert memory.sizes[rows].tolist() == codes.count_nonzero(1).tolist()
    assert memory.sizes.count_nonzero() == 3
    for row, code in zip(rows, codes, strict=True):
        atoms = code.nonzero()[:, 0]
        expected = ((atoms + 1) * code[atoms].sign()).tolist()
        assert memory.atoms[row, : len(atoms)].tolist() == expected
    again = solve(problem, X[:3], dictionary, solver="active-set", init=memory.at(rows)).codes
    assert torch.equal(again, codes)


def test_memory_for_fewer_atoms_than_a_code_has_is_a_start_all_the_same():
    X, dictionary = (torch.from_numpy(values) for values in PROBLEMS["digits"]())
    problem = ElasticNetProblem(0.02 * lambda_max(X.numpy(), dictionary.numpy()))
    memory = Supports.empty(len(X), 3)
    codes = solve(problem, X, dictionary, solver="active-set", init=memory).codes
    assert codes.count_nonzero(1).max() > 3
    assert memory.sizes.max() == 3
    again = solve(
        problem, X, dictionary, solver="active-set", init=memory, differentiable=True
    ).codes
    assert torch.equal(again, codes)
