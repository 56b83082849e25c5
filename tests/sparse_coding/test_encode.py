"""Tests of the public functions: what goes in and what comes out."""

import importlib
import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning

from skddl.sparse_coding import (
    _active_set_triton,
    _encode,
    _spams,
    kkt_residual,
    sparse_encode,
)
from skddl.sparse_coding._optional import can_import
from skddl.sparse_coding._solvers import get_solver

from .problems import PROBLEMS

LAMBDA1 = 0.3


@pytest.fixture
def arrays():
    return PROBLEMS["random_wide"]()


@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("of_samples", "of_atoms", "expected"),
    [
        ("float32", "float32", "float32"),
        ("float64", "float64", "float64"),
        ("float32", "float64", "float64"),
        ("float64", "float32", "float64"),
        ("int64", "float32", "float64"),
        ("uint8", "float32", "float64"),
        ("float16", "float32", "float64"),
    ],
)
def test_kind_and_type_of_the_codes_are_those_of_the_input(
    solver, as_kind, of_samples, of_atoms, expected
):
    X = as_kind(np.array([[3, 0, 2], [0, 1, 0]]).astype(of_samples))
    dictionary = as_kind(np.eye(3).astype(of_atoms))
    codes = sparse_encode(X, dictionary, lambda1=1.0, solver=solver)
    assert type(codes) is type(X)
    assert str(codes.dtype).removeprefix("torch.") == expected
    np.testing.assert_allclose(np.asarray(codes), [[2, 0, 1], [0, 0, 0]], atol=1e-6)
    residual = kkt_residual(X, dictionary, codes, lambda1=1.0)
    assert type(residual) is type(X)
    assert residual.shape == (2,)


def fortran(array):
    return np.asfortranarray(array)


def strided(array):
    return np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3]


def reversed_twice(array):
    return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def big_endian(array):
    return array.astype(">f8")


@pytest.mark.parametrize(
    "layout", [fortran, strided, reversed_twice, read_only, big_endian, np.ndarray.tolist]
)
def test_layout_of_arrays_makes_no_difference(solver, arrays, layout):
    expected = sparse_encode(*arrays, lambda1=LAMBDA1, solver=solver)
    X, dictionary = map(layout, arrays)
    actual = sparse_encode(X, dictionary, lambda1=LAMBDA1, solver=solver, init=layout(expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
    assert kkt_residual(X, dictionary, layout(actual), lambda1=LAMBDA1).max() <= 1e-6
    assert actual.flags.writeable


def test_data_frames_are_taken(arrays):
    X, dictionary = map(pytest.importorskip("pandas").DataFrame, arrays)
    codes = sparse_encode(X, dictionary, lambda1=LAMBDA1)
    np.testing.assert_array_equal(codes, sparse_encode(*arrays, lambda1=LAMBDA1))


def test_zeros_have_no_sign(solver, arrays):
    codes = sparse_encode(*arrays, lambda1=LAMBDA1, solver=solver)
    assert not np.signbit(codes[codes == 0]).any()


def test_tensors_that_are_not_contiguous_or_need_gradients_are_taken(solver, arrays):
    expected = sparse_encode(*arrays, lambda1=LAMBDA1, solver=solver)
    X, dictionary = (torch.from_numpy(a.T.copy()).requires_grad_().T for a in arrays)
    codes = sparse_encode(X, dictionary, lambda1=LAMBDA1, solver=solver)
    assert not codes.requires_grad
    np.testing.assert_allclose(codes.numpy(), expected, rtol=0, atol=1e-12)
    assert not kkt_residual(X, dictionary, codes, lambda1=LAMBDA1).requires_grad


def test_input_is_not_changed(solver, arrays):
    copies = [array.copy() for array in arrays]
    sparse_encode(*arrays, lambda1=LAMBDA1, solver=solver)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_samples_give_no_codes(solver, dtype):
    X, dictionary = np.zeros((0, 3), dtype), np.eye(4, 3, dtype=dtype)
    codes = sparse_encode(X, dictionary, lambda1=1.0, solver=solver)
    assert codes.shape == (0, 4)
    assert codes.dtype == dtype
    assert kkt_residual(X, dictionary, codes, lambda1=1.0).shape == (0,)
    tensors = torch.from_numpy(X), torch.from_numpy(dictionary)
    assert sparse_encode(*tensors, lambda1=1.0, solver=solver).shape == (0, 4)


@pytest.mark.parametrize("with_init", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_output_is_the_dense_one_without_its_zeros(
    solver, arrays, dtype, with_init, monkeypatch
):
    X, dictionary = (array.astype(dtype) for array in arrays)
    expected = sparse_encode(X, dictionary, lambda1=LAMBDA1, solver=solver)
    init = {"init": expected} if with_init else {}
    # Parts of three samples, of which the last is a shorter one.
    monkeypatch.setattr(_encode, "_ENTRIES_AT_A_TIME", {"cpu": 3 * max(dictionary.shape)})
    assert len(X) % 3
    dense, codes = (
        sparse_encode(X, dictionary, lambda1=LAMBDA1, solver=solver, sparse_output=flag, **init)
        for flag in (False, True)
    )
    tolerance = 1e-6 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(dense, expected, rtol=0, atol=tolerance)
    assert type(codes) is csr_matrix
    assert codes.dtype == dtype
    np.testing.assert_array_equal(codes.toarray(), dense)
    assert codes.nnz == np.count_nonzero(dense) > 0
    assert codes.indices.dtype == codes.indptr.dtype == np.int32
    assert csr_matrix((codes.data, codes.indices, codes.indptr)).has_canonical_format


def test_sparse_output_without_non_zeros(arrays):
    X, dictionary = arrays
    for samples in (X, X[:0]):
        codes = sparse_encode(samples, dictionary, lambda1=1e6, sparse_output=True)
        assert codes.shape == (len(samples), len(dictionary))
        assert codes.nnz == 0


def test_sparse_output_is_a_flag_for_arrays(arrays):
    with pytest.raises(TypeError, match="sparse_output must be True or False, got 'csr'"):
        sparse_encode(*arrays, lambda1=LAMBDA1, sparse_output="csr")
    with pytest.raises(TypeError, match="needs numpy arrays, not tensors"):
        sparse_encode(*map(torch.from_numpy, arrays), lambda1=LAMBDA1, sparse_output=True)


def test_long_doubles_beyond_float64_are_refused(arrays):
    X, dictionary = arrays
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("long doubles are doubles here")
    X = X.astype(np.longdouble)
    X[1, 2] = np.longdouble(10) ** 400
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="Input X contains infinity"):
        sparse_encode(X, dictionary, lambda1=LAMBDA1)


@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("name", ["X", "dictionary", "init"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(arrays, as_kind, name, value):
    X, dictionary = arrays
    named = {"X": X, "dictionary": dictionary, "init": np.zeros((len(X), len(dictionary)))}
    named[name][1, 2] = value
    named = {key: as_kind(array) for key, array in named.items()}
    with pytest.raises(ValueError, match=f"Input {name} contains (NaN|infinity)"):
        sparse_encode(**named, lambda1=LAMBDA1)


@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"X": (4,)}, "(?i)(expected 2d array|x must be 2-d)"),
        ({"X": (2, 4, 1)}, "(?i)(dim 3|x must be 2-d)"),
        ({"X": (2, 3)}, "X has 3 features, but the atoms of dictionary have 4"),
        ({"dictionary": (4,)}, "(?i)(expected 2d array|dictionary must be 2-d)"),
        ({"dictionary": (0, 4)}, "dictionary is empty"),
        ({"init": (2, 4)}, r"init must have shape \(2, 5\), got \(2, 4\)"),
        ({"init": (1, 5)}, r"init must have shape \(2, 5\), got \(1, 5\)"),
    ],
)
def test_wrong_shapes_are_refused(as_kind, shapes, message):
    shapes = {"X": (2, 4), "dictionary": (5, 4), "init": (2, 5)} | shapes
    named = {name: as_kind(np.ones(shape)) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        sparse_encode(**named, lambda1=LAMBDA1)


def test_codes_of_a_wrong_shape_are_refused(arrays):
    with pytest.raises(ValueError, match=r"codes must have shape \(25, 50\), got \(25, 49\)"):
        kkt_residual(*arrays, np.zeros((25, 49)), lambda1=LAMBDA1)


@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_complex_numbers_are_refused(as_kind):
    with pytest.raises(ValueError, match=r"(?i)(complex|must be real)"):
        sparse_encode(as_kind(np.ones((2, 3)) * 1j), as_kind(np.eye(3)), lambda1=1.0)


def test_arrays_and_tensors_cannot_be_mixed(arrays):
    X, dictionary = arrays
    with pytest.raises(TypeError, match="cannot be mixed"):
        sparse_encode(torch.from_numpy(X), dictionary, lambda1=LAMBDA1)
    with pytest.raises(TypeError, match="cannot be mixed"):
        init = torch.zeros(len(X), len(dictionary))
        sparse_encode(X, dictionary, init=init, lambda1=LAMBDA1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"lambda1": 0.0}, ValueError),
        ({"lambda1": 10**400}, ValueError),
        ({"lambda1": "0.1"}, TypeError),
        ({"lambda2": -0.1}, ValueError),
        ({"positive": "yes"}, TypeError),
        ({"tol": 0.0}, ValueError),
        ({"tol": math.nan}, ValueError),
        ({"tol": math.inf}, ValueError),
        ({"tol": "1e-3"}, TypeError),
        ({"tol": True}, TypeError),
        ({"tol": 10**400}, ValueError),
        ({"max_iter": 0}, ValueError),
        ({"max_iter": -5}, ValueError),
        ({"max_iter": 2.5}, TypeError),
        ({"max_iter": True}, TypeError),
        ({"solver": "lars"}, ValueError),
        ({"solver": None}, ValueError),
    ],
)
def test_wrong_options_are_refused_by_name(arrays, options, error):
    (name,) = options
    with pytest.raises(error, match=f"{name} must be"):
        sparse_encode(*arrays, **{"lambda1": LAMBDA1, **options})


def test_scalars_of_numpy_are_taken(solver, arrays):
    options = {"lambda1": np.float32(0.25), "lambda2": np.int64(1), "tol": np.float64(1e-9)}
    options["max_iter"] = np.int64(1000)
    actual = sparse_encode(*arrays, positive=np.bool_(True), solver=solver, **options)
    expected = sparse_encode(*arrays, lambda1=0.25, lambda2=1.0, positive=True, solver=solver)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-7)


def test_so_many_iterations_are_as_good_as_no_bound(solver, arrays):
    actual = sparse_encode(*arrays, lambda1=LAMBDA1, solver=solver, max_iter=10**30)
    np.testing.assert_array_equal(actual, sparse_encode(*arrays, lambda1=LAMBDA1, solver=solver))


def test_auto_takes_the_first_solver_that_works(monkeypatch, core):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert get_solver("auto", cpu).name == "active-set"
    monkeypatch.setattr(_active_set_triton, "is_available", lambda device: True)
    assert get_solver("auto", cuda).name == "active-set"
    monkeypatch.setattr(_active_set_triton, "is_available", lambda device: False)
    assert get_solver("auto", cuda).name == "fista"
    for name in ("active-set", "spams"):
        with pytest.raises(ValueError, match=rf"solver='{name}' does not work here.*'cuda'"):
            get_solver(name, cuda)
    with pytest.raises(ValueError, match=r"does it support device 'mps'.*on a CPU or with CUDA"):
        get_solver("auto", torch.device("mps"))


def test_spams_comes_next_where_the_core_was_not_compiled(without_core):
    name = get_solver("auto", torch.device("cpu")).name
    assert name == ("spams" if _spams.spams else "fista")


def test_a_package_that_cannot_be_imported_is_done_without(monkeypatch):
    def refuse(name):
        raise ImportError("triton needs torch 2.6 or more")

    can_import.cache_clear()
    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.warns(RuntimeWarning, match=r"json .* cannot be imported, .*torch 2\.6 or more"):
        assert not can_import("json")
    can_import.cache_clear()


def test_all_works_with_neither_the_core_nor_spams(arrays, without_core, monkeypatch):
    monkeypatch.setattr(_spams, "spams", None)
    assert get_solver("auto", torch.device("cpu")).name == "fista"
    codes = sparse_encode(*arrays, lambda1=LAMBDA1)
    assert kkt_residual(*arrays, codes, lambda1=LAMBDA1).max() <= 1e-6
    for name in ("active-set", "spams"):
        with pytest.raises(ValueError, match=rf"solver='{name}' does not work.*solver='auto'"):
            sparse_encode(*arrays, lambda1=LAMBDA1, solver=name)


def test_warning_points_at_the_caller(solver, arrays):
    with pytest.warns(ConvergenceWarning) as caught:
        sparse_encode(*arrays, lambda1=0.01, solver=solver, max_iter=1)
    assert [warning.filename for warning in caught] == [__file__]
