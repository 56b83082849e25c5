"""The active-set method in Triton: compiled where there is a GPU, else interpreted on the CPU."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skddl.sparse_coding import _active_set_triton as active_set_triton
from skddl.sparse_coding import kkt_residual, sparse_encode
from skddl.sparse_coding._active_set_triton import SupportFactors, is_available
from skddl.sparse_coding._problem import ElasticNetProblem
from skddl.sparse_coding._support import SupportSystem

from .problems import PROBLEMS, UNIQUE, lambda_max, unit_rows
from .test_solvers import degenerate_problems

pytest.importorskip("triton")

# Triton asks for it once, when it is imported: so it must be there when the process starts.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
PROMISED = {np.float64: 1e-6, np.float32: 1e-4}

on_each_device = pytest.mark.parametrize(
    "device",
    [
        pytest.param(
            "cpu",
            marks=pytest.mark.skipif(not INTERPRETED, reason="run by test_kernels_interpreted"),
        ),
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU"
            ),
        ),
    ],
)


@pytest.mark.skipif(INTERPRETED, reason="this is the process that it starts")
@pytest.mark.parametrize(
    "tests",
    [
        # The interpreter takes its time.
        "rank_deficient or solved_systems or few_rounds",
        pytest.param("test", marks=pytest.mark.slow),
    ],
)
def test_kernels_interpreted(tests):
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, "-k", tests, __file__],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def to_tensors(*arrays, device):
    return [torch.tensor(array, device=device) for array in arrays]


def solve(X, dictionary, device, *, init=None, tol=None, max_iter=None, **weights):
    """Codes and residuals as arrays, the factors as they are."""
    x, atoms = to_tensors(X, dictionary, device=device)
    start = None if init is None else torch.tensor(init, device=device)
    codes, residual, factors = active_set_triton.solve(
        ElasticNetProblem(**weights), x, atoms, init=start, tol=tol, max_iter=max_iter
    )
    assert codes.dtype == residual.dtype == x.dtype
    assert codes.device == x.device
    return codes.cpu().numpy(), residual.cpu().numpy(), factors


@pytest.fixture
def no_other_method(monkeypatch):
    """Fail where the kernel leaves a sample to another solver."""

    def refuse(problem, X, *arguments):
        raise AssertionError(f"{len(X)} samples were left to another solver.")

    monkeypatch.setattr(active_set_triton, "_solve_on_cpu", refuse)


@on_each_device
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("lambda2", "positive"), [(0.0, False), (0.0, True), (0.1, False)])
@pytest.mark.parametrize("fraction", [0.5, 0.03])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_code_is_optimal(device, no_other_method, name, fraction, lambda2, positive, dtype):
    X, dictionary = (values.astype(dtype) for values in PROBLEMS[name]())
    weights = {"lambda1": fraction * lambda_max(X, dictionary), "lambda2": lambda2}
    weights["positive"] = positive
    X = X[:3]
    codes, residual, _ = solve(X, dictionary, device, **weights)
    actual = kkt_residual(X, dictionary, codes, **weights)
    assert actual.max() <= PROMISED[dtype]
    np.testing.assert_allclose(residual, actual, rtol=1e-5, atol=1e-12)


@on_each_device
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
@pytest.mark.parametrize("name", UNIQUE)
def test_codes_equal_those_of_another_solver(device, name, lambda2, positive):
    X, dictionary = PROBLEMS[name]()
    weights = {"lambda1": 0.1 * lambda_max(X, dictionary), "lambda2": lambda2}
    weights["positive"] = positive
    X = X[:3]
    expected = sparse_encode(X, dictionary, solver="fista", **weights)
    assert expected.any()
    for dtype, atol in ((np.float64, 1e-10), (np.float32, 2e-4)):
        codes, _, _ = solve(X.astype(dtype), dictionary.astype(dtype), device, **weights)
        np.testing.assert_allclose(codes, expected, rtol=0, atol=atol)


@on_each_device
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    problem=degenerate_problems(),
    fraction=st.sampled_from([0.02, 0.1, 0.5, 1.0, 2.0]),
    lambda2=st.sampled_from([0.0, 1e-3, 0.5]),
    positive=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_every_code_of_a_degenerate_problem_is_optimal(
    device, problem, fraction, lambda2, positive, dtype
):
    X, dictionary = (values.astype(dtype) for values in problem)
    weights = {"lambda1": fraction * (lambda_max(X, dictionary) or 1.0), "lambda2": lambda2}
    weights["positive"] = positive
    codes, _, _ = solve(X, dictionary, device, **weights)
    assert kkt_residual(X, dictionary, codes, **weights).max() <= PROMISED[dtype]
    if fraction > 1:
        assert not codes.any()


@on_each_device
@pytest.mark.parametrize("positive", [False, True])
def test_codes_are_exactly_zero_from_lambda_max_on(device, positive):
    X, dictionary = PROBLEMS["random_wide"]()
    X = X[:3]
    largest = lambda_max(X, dictionary, positive)
    options = {"positive": positive}
    codes, _, _ = solve(X, dictionary, device, lambda1=(1 + 1e-11) * largest, **options)
    assert not codes.any()
    codes, _, factors = solve(X, dictionary, device, lambda1=10 * largest, **options)
    assert not codes.any()
    assert not factors.solve(torch.ones_like(factors.codes)).any()
    codes, _, _ = solve(X, dictionary, device, lambda1=0.99 * largest, **options)
    assert codes.any()


@on_each_device
def test_zero_samples_and_zero_atoms_are_not_used(device):
    X, dictionary = PROBLEMS["random_wide"]()
    X, dictionary = X[:2].copy(), dictionary.copy()
    X[1] = dictionary[7] = 0.0
    codes, residual, _ = solve(X, dictionary, device, lambda1=0.3)
    assert codes[0].any()
    assert not codes[1].any()
    assert not codes[:, 7].any()
    assert residual.max() <= 1e-6


@on_each_device
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_samples_give_no_codes(device, dtype):
    codes, residual, factors = solve(
        np.zeros((0, 3), dtype), np.eye(4, 3, dtype=dtype), device, lambda1=1.0
    )
    assert codes.shape == (0, 4)
    assert residual.shape == (0,)
    assert factors.solve(torch.zeros_like(factors.codes)).shape == (0, 4)


@on_each_device
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
def test_code_does_not_depend_on_the_neighbours_of_a_sample(device, lambda2, monkeypatch):
    X, dictionary = PROBLEMS["coherent"]()
    X = X[:4]
    weights = {"lambda1": 0.1 * lambda_max(X, dictionary), "lambda2": lambda2}
    together, _, _ = solve(X, dictionary, device, **weights)
    alone, _, _ = solve(X[1:2], dictionary, device, **weights)
    np.testing.assert_allclose(alone, together[1:2], rtol=0, atol=1e-10)
    monkeypatch.setattr(active_set_triton, "_CHUNK_ELEMENTS", 3 * len(dictionary))
    in_chunks, residual, factors = solve(X, dictionary, device, init=together, **weights)
    np.testing.assert_allclose(in_chunks, together, rtol=0, atol=1e-10)
    assert residual.shape == (4,)
    assert factors.width == np.count_nonzero(together, axis=1).max()


@on_each_device
@pytest.mark.parametrize("start", ["optimum", "random", "dense", "negative"])
@pytest.mark.parametrize("positive", [False, True])
def test_result_does_not_depend_on_the_start(device, no_other_method, start, positive):
    X, dictionary = PROBLEMS["random_wide"]()
    weights = {"lambda1": 0.1 * lambda_max(X, dictionary), "positive": positive}
    X = X[:3]
    cold, _, _ = solve(X, dictionary, device, **weights)
    rng = np.random.default_rng(0)
    init = {
        "optimum": cold,
        "random": rng.normal(size=cold.shape) * (rng.random(cold.shape) < 0.1),
        "dense": rng.normal(size=cold.shape),
        "negative": np.full(cold.shape, -1.0),
    }[start]
    before = init.copy()
    warm, _, _ = solve(X, dictionary, device, init=init, **weights)
    np.testing.assert_allclose(warm, cold, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(init, before)


@on_each_device
@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_residual_tells_of_too_few_rounds(device, no_other_method, max_iter):
    X, dictionary = PROBLEMS["coherent"]()
    weights = {"lambda1": 0.02 * lambda_max(X, dictionary)}
    X = X[:3]
    codes, residual, _ = solve(X, dictionary, device, max_iter=max_iter, **weights)
    assert residual.max() > 1e-6
    np.testing.assert_allclose(residual, kkt_residual(X, dictionary, codes, **weights), rtol=1e-6)


@on_each_device
def test_tolerance_is_kept(device):
    X, dictionary = PROBLEMS["random_wide"]()
    lambda1 = 0.1 * lambda_max(X, dictionary)
    for tol in (1e-2, 1e-10):
        codes, _, _ = solve(X[:3], dictionary, device, lambda1=lambda1, tol=tol)
        assert kkt_residual(X[:3], dictionary, codes, lambda1=lambda1).max() <= tol


@on_each_device
def test_float32_codes_are_optimal_but_for_their_rounding(device):
    rng = np.random.default_rng(0)
    dictionary = unit_rows(0.03 * rng.normal(size=(40, 24)) + rng.normal(size=24))
    X, dictionary = rng.normal(size=(3, 24)).astype(np.float32), dictionary.astype(np.float32)
    lambda1 = 1e-4 * lambda_max(X, dictionary)
    codes, _, _ = solve(X, dictionary, device, lambda1=lambda1)
    residual = kkt_residual(X, dictionary, codes, lambda1=lambda1)
    assert residual.max() > 1e-4
    # A relative error of eps / 2 in each entry.
    rounding = np.finfo(np.float32).eps / 2 * np.abs(codes.astype(float)).sum(1) / lambda1
    assert (residual <= 1e-6 + rounding).all()


@on_each_device
def test_supports_that_outgrow_the_slots_get_more(device, no_other_method, monkeypatch):
    X, dictionary = PROBLEMS["random_wide"]()
    X = X[:3]
    weights = {"lambda1": 0.1 * lambda_max(X, dictionary)}
    expected, _, _ = solve(X, dictionary, device, **weights)
    assert 8 < np.count_nonzero(expected, axis=1).max() <= 32
    monkeypatch.setattr(active_set_triton, "_STAGES", ((8, 1), (32, 1)))
    codes, _, factors = solve(X, dictionary, device, **weights)
    np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-10)
    assert_solves_support_systems(factors, dictionary)


@on_each_device
def test_supports_beyond_all_slots_are_left_to_another_solver(device, monkeypatch):
    X, dictionary = PROBLEMS["random_wide"]()
    X = X[:3]
    weights = {"lambda1": 0.05 * lambda_max(X, dictionary), "lambda2": 0.1}
    expected, _, _ = solve(X, dictionary, device, **weights)
    assert np.count_nonzero(expected, axis=1).max() > dictionary.shape[1]
    monkeypatch.setattr(active_set_triton, "_STAGES", ((8, 1), (16, 1)))
    codes, residual, factors = solve(X, dictionary, device, **weights)
    np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-8)
    assert residual.max() <= 1e-6
    assert_solves_support_systems(factors, dictionary, lambda2=0.1)


def assert_solves_support_systems(factors, dictionary, lambda2=0.0, rtol=1e-9):
    """The solutions are those of `SupportSystem`."""
    codes = factors.codes
    (atoms,) = to_tensors(dictionary, device=codes.device)
    system = SupportSystem(atoms @ atoms.T, lambda2, codes != 0)
    rng = np.random.default_rng(0)
    rhs = torch.tensor(rng.normal(size=codes.shape), dtype=codes.dtype, device=codes.device)
    expected = system.scatter(system.solve(system.gather(rhs)))
    actual = factors.solve(rhs)
    assert actual.dtype == codes.dtype
    assert not actual[codes == 0].any()
    difference = (actual - expected).abs().amax(1)
    assert (difference <= rtol * expected.abs().amax(1)).all()


@on_each_device
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-3), (np.float64, 1e-9)])
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
@pytest.mark.parametrize("name", UNIQUE)
def test_systems_on_the_supports_are_solved(device, name, lambda2, dtype, rtol):
    X, dictionary = (values.astype(dtype) for values in PROBLEMS[name]())
    weights = {"lambda1": 0.05 * lambda_max(X, dictionary), "lambda2": lambda2}
    _, _, factors = solve(X[:3], dictionary, device, **weights)
    assert_solves_support_systems(factors, dictionary, lambda2, rtol)


@on_each_device
def test_ill_conditioned_systems_are_solved_in_float32(device):
    rng = np.random.default_rng(0)
    dictionary = unit_rows(0.1 * rng.normal(size=(80, 40)) + rng.normal(size=40))
    X = rng.normal(size=(4, 40))
    codes = sparse_encode(X, dictionary, lambda1=0.01 * lambda_max(X, dictionary), solver="fista")
    dictionary = dictionary.astype(np.float32)
    atoms, codes = to_tensors(dictionary, codes.astype(np.float32), device=device)
    factors = SupportFactors(atoms @ atoms.T, codes, int(codes.count_nonzero(1).max()))
    system = SupportSystem(atoms.double() @ atoms.T.double(), 0.0, codes != 0)
    assert torch.linalg.cond(system.matrix).max() > 1e4
    assert_solves_support_systems(factors, dictionary, rtol=5e-3)


@on_each_device
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-3), (np.float64, 1e-6)])
@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-5])
def test_nearly_singular_systems_have_the_same_ridge(device, distance, dtype, rtol):
    rng = np.random.default_rng(0)
    dictionary = rng.normal(size=(9, 12))
    dictionary[5] = dictionary[2] + distance * rng.normal(size=12)
    dictionary = unit_rows(dictionary).astype(dtype)
    codes = np.zeros((3, 9), dtype)
    codes[0, [1, 2, 5, 7]] = codes[1, [0, 2, 3]] = 1.0
    atoms, codes = to_tensors(dictionary, codes, device=device)
    factors = SupportFactors(atoms @ atoms.T, codes, 4)
    assert_solves_support_systems(factors, dictionary, rtol=rtol)


@on_each_device
def test_solved_systems_are_the_derivative_of_the_codes(device):
    X, dictionary = PROBLEMS["random_wide"]()
    weights = {"lambda1": 0.2 * lambda_max(X, dictionary), "lambda2": 0.01}
    X = X[:2]
    rng = np.random.default_rng(0)
    direction, grad_codes = rng.normal(size=X.shape), rng.normal(size=(2, len(dictionary)))
    _, _, factors = solve(X, dictionary, device, **weights)
    beta = factors.solve(torch.tensor(grad_codes, device=device)).cpu().numpy()
    step = 1e-6
    ahead, behind = (
        solve(X + sign * step * direction, dictionary, device, **weights)[0] for sign in (1, -1)
    )
    expected = ((ahead - behind) / (2 * step) * grad_codes).sum(1)
    np.testing.assert_allclose((beta @ dictionary * direction).sum(1), expected, rtol=1e-6)


def test_is_available_with_cuda_or_the_interpreter_only():
    assert is_available(torch.device("cuda"))
    assert is_available(torch.device("cpu")) == INTERPRETED
    assert not is_available(torch.device("mps"))
