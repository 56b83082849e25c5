"""`sparse_encode`: the same bits on any number of threads, the same codes in any batch."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from skddl.sparse_coding import _threads, sparse_encode
from skddl.sparse_coding._encode import samples_at_a_time
from tests.sparse_coding.problems import PROBLEMS, UNIQUE, lambda_max, unit_rows

SOLVERS = ["auto", "active-set", "spams", "fista"]
WEIGHTS = [{}, {"lambda2": 0.1}, {"positive": True}]


def correlated():
    """Samples and atoms that are sums of a few patterns, and noise; three blocks of atoms."""
    rng = np.random.default_rng(5)
    patterns = rng.normal(size=(6, 33))
    X, dictionary = (
        rng.normal(size=(n, 6)) @ patterns + 0.5 * rng.normal(size=(n, 33)) for n in (41, 515)
    )
    return X, unit_rows(dictionary)


def hard_and_easy():
    """Of the samples some are in the span of few atoms, some far away, some tiny or zero."""
    X, dictionary = PROBLEMS["coherent"]()
    X[::4] = dictionary[: len(X[::4])]
    X[1::4] *= 1e4
    X[2::8] = 0
    return X, dictionary


OWN = {"correlated": correlated, "hard and easy": hard_and_easy}
ALL = {**PROBLEMS, **OWN}
CASES = [
    # FISTA takes a hundred times as long as the others.
    pytest.param(solver, name, marks=pytest.mark.soak if solver == "fista" else ())
    for solver in SOLVERS
    for name in (*UNIQUE, *OWN)
]


def encoder(name, solver, dtype, weights):
    X, dictionary = (values.astype(dtype) for values in ALL[name]())
    lambda1 = 0.05 * lambda_max(*ALL[name]())

    def encode(X, **more):
        return sparse_encode(X, dictionary, lambda1=lambda1, solver=solver, **weights, **more)

    return X, encode


def batches(n, rng):
    """Rows in many ways: alone, in other orders, with other neighbours, in pieces of any size."""
    yield from ([row] for row in rng.choice(n, min(n, 5), replace=False))
    yield np.arange(n)[::-1]
    yield rng.permutation(n)
    for size in (2, 3, 5, 16, 17):
        yield rng.choice(n, min(n, size), replace=False)
    yield rng.integers(n, size=2 * n + 1)  # some several times
    first = int(rng.integers(1, n))
    yield np.arange(first)
    yield np.arange(first, n)


def assert_same_codes(actual, expected):
    """To so much of the largest entry of each code."""
    equal = {np.float32: 1e-6, np.float64: 1e-12}[expected.dtype.type]
    difference = np.abs(actual - expected).max(axis=1)
    assert (difference <= equal * np.abs(expected).max(axis=1)).all()


@pytest.fixture
def restored_threads(monkeypatch):
    """Threads also for little work."""
    monkeypatch.setattr(_threads, "_WORK_OF_A_THREAD", 1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:Some codes are not optimal")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("solver", "name"), CASES)
def test_code_is_the_same_in_any_batch_and_has_the_same_bits_on_any_number_of_threads(
    solver, name, dtype, restored_threads, tried
):
    torch.set_num_threads(1)
    for number, weights in enumerate(WEIGHTS):
        X, encode = encoder(name, solver, dtype, weights)
        codes = encode(X)
        assert codes.any() and codes.dtype == dtype
        rng = np.random.default_rng(number)
        for rows in batches(len(X), rng):
            assert_same_codes(encode(X[rows]), codes[rows])
            tried("batches whose codes were the same")
        for n_threads in (2, 4):
            torch.set_num_threads(n_threads)
            np.testing.assert_array_equal(encode(X), codes)
            with threadpool_limits(n_threads):
                assert_same_codes(encode(X[::2]), codes[::2])
            tried("codes on other numbers of threads that had the same bits")
        torch.set_num_threads(1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_parts_in_which_many_samples_are_coded_leave_no_trace(solver, monkeypatch):
    X, encode = encoder("correlated", solver, np.float64, {})
    assert samples_at_a_time(515, 33) > len(X)
    codes = encode(X)
    monkeypatch.setattr("skddl.sparse_coding._encode._ENTRIES_AT_A_TIME", {"cpu": 515 * 7})
    np.testing.assert_array_equal(encode(X), codes)
    np.testing.assert_array_equal(encode(X, sparse_output=True).toarray(), codes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solvers_give_the_same_codes_and_containers_the_same_bits(dtype):
    X, dictionary = (values.astype(dtype) for values in PROBLEMS["digits"]())
    codes = sparse_encode(X, dictionary, lambda1=0.05)
    for solver in SOLVERS:
        assert_same_codes(sparse_encode(X, dictionary, lambda1=0.05, solver=solver), codes)
    tensors = torch.from_numpy(X), torch.from_numpy(dictionary)
    np.testing.assert_array_equal(sparse_encode(*tensors, lambda1=0.05).numpy(), codes)
    fortran = np.asfortranarray(X), np.asfortranarray(dictionary)
    np.testing.assert_array_equal(sparse_encode(*fortran, lambda1=0.05), codes)


@pytest.mark.parametrize("fraction", [1e-3, 1e-5])
@pytest.mark.filterwarnings("ignore:Some codes are not optimal")
def test_codes_that_float32_can_hardly_hold_are_the_same_in_any_batch(fraction, tried):
    """They are found in float64, sample by sample: neighbours that are, too, do not matter."""
    for name in ("coherent", "nearly_duplicated"):
        X, dictionary = (values.astype(np.float32) for values in PROBLEMS[name]())
        lambda1 = fraction * lambda_max(X, dictionary)
        codes = sparse_encode(X, dictionary, lambda1=lambda1)
        for rows in batches(len(X), np.random.default_rng(0)):
            found = sparse_encode(X[rows], dictionary, lambda1=lambda1)
            assert_same_codes(found, codes[rows])
            tried("batches whose codes were the same")


@pytest.mark.parametrize("solver", ["spams", "fista"])
def test_without_core_only_last_digits_depend_on_the_batch(solver, without_core):
    X, encode = encoder("correlated", solver, np.float64, {})
    codes = encode(X)
    for rows in batches(len(X), np.random.default_rng(0)):
        np.testing.assert_allclose(encode(X[rows]), codes[rows], rtol=0, atol=1e-11)
