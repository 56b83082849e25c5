"""Tests of skddl.nn.SparseCode; its derivatives are in tests/test_gradients.py."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

from skddl.nn import SparseCode
from skddl.sparse_coding import kkt_residual, sparse_encode


@pytest.fixture
def code(solver):
    torch.manual_seed(0)
    return SparseCode(10, 16, lambda1=0.3, lambda2=0.01, solver=solver)


@pytest.fixture
def x():
    return torch.randn(6, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_output_is_the_sparse_code(solver, dtype, positive, x):
    code = SparseCode(10, 16, lambda1=0.3, positive=positive, solver=solver).to(dtype)
    x = x.to(dtype)
    codes = code(x)
    assert codes.dtype == dtype
    assert codes.requires_grad
    expected = sparse_encode(x, code.dictionary, lambda1=0.3, positive=positive, solver=solver)
    torch.testing.assert_close(codes.detach(), expected, rtol=0, atol=0)


def test_atoms_may_be_kept_non_negative():
    code = SparseCode(10, 16, lambda1=0.3, positive_dict=True)
    assert (code.dictionary >= 0).all()
    with torch.no_grad():
        code.dictionary.copy_(torch.randn(16, 10, generator=torch.Generator().manual_seed(0)))
    raw = code.dictionary.detach().clone()
    code.project_()
    expected = raw.clamp(min=0)
    expected /= torch.linalg.vector_norm(expected, dim=1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(code.dictionary.detach(), expected)
    with pytest.raises(TypeError, match="positive_dict must be True or False"):
        SparseCode(10, 16, lambda1=0.3, positive_dict=1)


def test_atoms_start_as_different_directions_of_unit_norm(code):
    norms = torch.linalg.vector_norm(code.dictionary, dim=1)
    torch.testing.assert_close(norms, torch.ones(16), rtol=0, atol=1e-6)
    cosines = (code.dictionary @ code.dictionary.T).detach().fill_diagonal_(0)
    assert cosines.abs().max() < 0.99


def test_projection_shortens_long_atoms_and_leaves_the_others(code):
    with torch.no_grad():
        code.dictionary *= torch.linspace(0, 3, 16)[:, None]
    before = code.dictionary.detach().clone()
    parameter = code.dictionary
    assert code.project_() is None
    assert code.dictionary is parameter
    assert code.dictionary.requires_grad
    norms = torch.linalg.vector_norm(before, dim=1, keepdim=True)
    after = code.dictionary.detach()
    short = norms[:, 0] <= 1
    assert 0 < short.sum() < 16
    assert torch.equal(after[short], before[short])
    torch.testing.assert_close(after[~short], (before / norms)[~short], rtol=0, atol=1e-6)


def test_leading_dimensions_are_kept(code, x):
    codes = code(x).detach()
    torch.testing.assert_close(code(x.reshape(2, 3, 10)).detach(), codes.reshape(2, 3, 16))
    torch.testing.assert_close(code(x[0]).detach(), codes[0])
    assert code(x[:0]).shape == (0, 16)
    assert code(x.reshape(2, 3, 10)[:, :0]).shape == (2, 0, 16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_code_is_solved_in_float32_under_autocast(code, x, dtype):
    features = torch.nn.Linear(10, 10)
    with torch.autocast("cpu", dtype=dtype):
        projected = features(x)
        codes = code(projected)
    assert projected.dtype == dtype
    assert codes.dtype == torch.float32
    expected = code(projected.detach().float())
    torch.testing.assert_close(codes, expected, rtol=0, atol=0)
    options = {"lambda1": 0.3, "lambda2": 0.01}
    residual = kkt_residual(projected.float(), code.dictionary, codes, **options)
    assert residual.max() <= 1e-4
    codes.square().sum().backward()
    assert code.dictionary.grad.dtype == torch.float32
    assert features.weight.grad.isfinite().all()
    assert features.weight.grad.any()


def test_code_is_in_the_type_of_the_input(code, x):
    codes = code(x.double())
    assert codes.dtype == torch.float64
    atoms = code.dictionary.detach().double()
    options = {"lambda1": 0.3, "lambda2": 0.01}
    assert kkt_residual(x.double(), atoms, codes.detach(), **options).max() <= 1e-6
    codes.sum().backward()
    assert code.dictionary.grad.dtype == torch.float32


@pytest.mark.parametrize("shape", [(6, 9), (6,), (10, 6), ()])
def test_inputs_of_a_wrong_length_are_refused(code, shape):
    with pytest.raises(ValueError, match="Inputs must have 10 features"):
        code(torch.zeros(shape))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_torch_jit_cannot_trace_is_refused(code, x):
    """Compiled loops took sizes from it that were none, and ended the process."""
    with pytest.raises(RuntimeError, match=r"SparseCode cannot be traced by torch\.jit"):
        torch.jit.trace(code, x)


def test_repr_tells_the_sizes_and_the_weights():
    code = SparseCode(10, 16, lambda1=0.3, lambda2=0.01, positive=True, solver="fista")
    text = repr(code)
    for part in (
        "n_features=10",
        "n_components=16",
        "lambda1=0.3",
        "lambda2=0.01",
        "positive=True",
        "solver='fista'",
    ):
        assert part in text


@pytest.mark.parametrize("differentiated", [False, True])
def test_graph_is_gone_with_its_codes(code, x, differentiated):
    gc.disable()  # which would find cycles, later
    try:
        features = x.clone().requires_grad_() * 1
        codes = code(features)
        if differentiated:
            codes.sum().backward()
        held = weakref.ref(features)
        del codes, features
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "copy_of",
    [copy.deepcopy, lambda code: pickle.loads(pickle.dumps(code))],
    ids=["copy", "pickle"],
)
def test_copies_compute_the_same(code, x, copy_of):
    twin = copy_of(code)
    assert torch.equal(twin(x), code(x))
    with torch.no_grad():
        twin.dictionary.zero_()
    assert code(x).any()


def test_state_holds_the_dictionary_alone(code, x):
    state = code.state_dict()
    assert list(state) == ["dictionary"]
    other = SparseCode(10, 16, lambda1=0.3, lambda2=0.01, solver=code.solver)
    assert not torch.equal(other(x), code(x))
    other.load_state_dict(state)
    assert torch.equal(other(x), code(x))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_features": 0}, ValueError, "n_features must be an int of at least 1, got 0"),
        ({"n_components": -1}, ValueError, "n_components must be an int of at least 1, got -1"),
        ({"lambda1": 0}, ValueError, "lambda1 must be"),
        ({"lambda1": "0.3"}, TypeError, "lambda1 must be"),
        ({"lambda2": -0.1}, ValueError, "lambda2 must be"),
        ({"positive": None}, TypeError, "positive must be"),
        ({"solver": "lars"}, ValueError, "solver must be one of"),
    ],
)
def test_wrong_options_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        SparseCode(**{"n_features": 3, "n_components": 4, "lambda1": 0.1, **options})


def test_projected_gradient_steps_lower_the_coding_error(solver):
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(8, 6))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    X = torch.from_numpy((rng.normal(size=(40, 8)) * (rng.random((40, 8)) < 0.3)) @ atoms)
    torch.manual_seed(0)
    code = SparseCode(6, 8, lambda1=0.05, solver=solver).double()
    optimizer = torch.optim.SGD(code.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        loss = code.problem.objective(X, code.dictionary, code(X)).sum()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        code.project_()
    assert torch.linalg.vector_norm(code.dictionary, dim=1).max() <= 1 + 1e-12
    assert losses[-1] < 0.8 * losses[0]


def test_a_gram_matrix_of_another_type_is_not_used(code, x):
    code.fix_(1000)
    code.double()
    with torch.no_grad():
        kept = code(x.double())
    assert torch.equal(kept, code(x.double()).detach())


def test_inference_mode_leaves_nothing_behind(code, x):
    with torch.inference_mode():
        codes = code(x)
    assert torch.equal(codes, code(x).detach())
    code(x).sum().backward()
    assert code.dictionary.grad.isfinite().all()


def test_gram_matrix_that_is_kept_changes_nothing_in_either_type(code, x):
    with torch.no_grad():
        before = code(x), code(x.double())
        code.fix_(1000)
        for codes, expected in zip((code(x), code(x.double())), before, strict=True):
            torch.testing.assert_close(codes, expected, rtol=0, atol=1e-6)
