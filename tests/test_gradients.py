"""The derivatives of the sparse code: against differences, unrolled solvers and closed forms."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from skddl.nn import LinearFeatures, SparseCode
from skddl.sparse_coding._problem import ElasticNetProblem
from skddl.sparse_coding._solution import Solution
from skddl.sparse_coding._support import SupportSystem


def normal(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make_code(dictionary, lambda1, lambda2=0.0, positive=False, solver="auto"):
    code = SparseCode(
        *dictionary.T.shape, lambda1=lambda1, lambda2=lambda2, positive=positive, solver=solver
    )
    code.dictionary = nn.Parameter(dictionary.clone())
    return code


def encode(code, x, dictionary):
    return torch.func.functional_call(code, {"dictionary": dictionary}, (x,))


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
def test_implicit_gradient_matches_finite_differences(solver, lambda2, positive):
    x = normal(0, 2, 3).requires_grad_()
    dictionary = nn.functional.normalize(normal(1, 5, 3), dim=1).requires_grad_()
    code = make_code(dictionary.detach(), 0.2, lambda2, positive, solver)
    assert all(0 < used < 5 for used in code(x).count_nonzero(1))
    # A step small enough to keep the supports, and errors well below the tolerance.
    assert gradcheck(lambda x, d: encode(code, x, d), (x, dictionary), eps=1e-6, atol=1e-6)


def unrolled(problem, x, dictionary, n_steps):
    """ISTA, its steps recorded by autograd; the step size is no function of the dictionary."""
    with torch.no_grad():
        step = 1 / (torch.linalg.matrix_norm(dictionary, 2) ** 2 + problem.lambda2)
    a = x.new_zeros(len(x), len(dictionary))
    for _ in range(n_steps):
        gradient = (a @ dictionary - x) @ dictionary.T + problem.lambda2 * a
        a = nn.functional.softshrink(a - step * gradient, float(step * problem.lambda1))
        a = a.relu() if problem.positive else a
    return a


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("lambda2", [0.0, 0.1])
def test_implicit_gradient_equals_backpropagation_through_ista(lambda2, positive):
    x = normal(2, 4, 10).requires_grad_()
    dictionary = nn.functional.normalize(normal(3, 12, 10), dim=1).requires_grad_()
    weight = normal(4, 4, 12)
    code = make_code(dictionary.detach(), 0.5, lambda2, positive)
    implicit = encode(code, x, dictionary)
    explicit = unrolled(code.problem, x, dictionary, 2000)
    torch.testing.assert_close(implicit, explicit, rtol=0, atol=1e-8)
    assert implicit.count_nonzero() > 4
    for actual, expected in zip(
        torch.autograd.grad((weight * implicit).sum(), (x, dictionary)),
        torch.autograd.grad((weight * explicit).sum(), (x, dictionary)),
        strict=True,
    ):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lambda2", [0.0, 0.1])
def test_gradients_of_paper_1_come_out_of_autograd(solver, lambda2):
    n_samples, n_inputs, n_features, n_components, n_classes = 5, 9, 7, 11, 3
    x = normal(5, n_samples, n_inputs)
    y = torch.tensor([0, 1, 2, 1, 0])
    torch.manual_seed(0)
    features = LinearFeatures(n_inputs, n_features).double()
    dictionary = nn.functional.normalize(normal(6, n_components, n_features), dim=1)
    code = make_code(dictionary, 1.0, lambda2, solver=solver)
    classifier = nn.Linear(n_components, n_classes, bias=False).double()
    projected = features(x)
    codes = code(projected)
    codes.retain_grad()
    nn.functional.cross_entropy(classifier(codes), y, reduction="sum").backward()

    # As in the paper: columns, one sample at a time.
    D, Z, W = (p.detach().numpy().T for p in (code.dictionary, features.weight, classifier.weight))
    Z = Z.T
    gradient_Z, gradient_D, gradient_W = np.zeros_like(Z), np.zeros_like(D), np.zeros_like(W)
    for sample, alpha, label, gradient_alpha in zip(
        x.numpy(), codes.detach().numpy(), y.numpy(), codes.grad.numpy(), strict=True
    ):
        P = np.exp(W.T @ alpha) / np.exp(W.T @ alpha).sum()  # Eq. (16)
        eq17 = sum((W[:, c] - W[:, label]) * P[c] for c in range(n_classes))
        np.testing.assert_allclose(gradient_alpha, eq17, rtol=0, atol=1e-12)
        delta = np.arange(n_classes) == label
        gradient_W += np.outer(alpha, P - delta)  # Eq. (18)
        support = np.flatnonzero(alpha)
        assert 0 < len(support) < n_components
        beta = np.zeros(n_components)  # Algorithm 1
        gram = D[:, support].T @ D[:, support] + lambda2 * np.eye(len(support))
        beta[support] = np.linalg.solve(gram, eq17[support])
        gradient_Z += np.outer(D @ beta, sample)  # Eq. (14)
        residual = Z @ sample - D @ alpha
        gradient_D += np.outer(residual, beta) - np.outer(D @ beta, alpha)  # Algorithm 1
    np.testing.assert_allclose(classifier.weight.grad.numpy().T, gradient_W, rtol=0, atol=1e-10)
    np.testing.assert_allclose(features.weight.grad.numpy(), gradient_Z, rtol=0, atol=1e-10)
    np.testing.assert_allclose(code.dictionary.grad.numpy().T, gradient_D, rtol=0, atol=1e-10)


def test_gradient_with_respect_to_one_argument_alone(solver):
    x, dictionary = normal(0, 3, 4), nn.functional.normalize(normal(1, 6, 4), dim=1)
    code = make_code(dictionary, 0.2, solver=solver)
    both = x.clone().requires_grad_()
    code(both).square().sum().backward()
    of_dictionary = code.dictionary.grad
    code.dictionary.grad = None
    code(x).square().sum().backward()
    torch.testing.assert_close(code.dictionary.grad, of_dictionary, rtol=0, atol=0)
    alone = x.clone().requires_grad_()
    code.requires_grad_(False)
    code(alone).square().sum().backward()
    torch.testing.assert_close(alone.grad, both.grad, rtol=0, atol=0)


def test_code_that_is_zero_has_zero_gradients(solver):
    x = normal(0, 3, 4).requires_grad_()
    code = make_code(normal(1, 6, 4), 1e3, solver=solver)
    codes = code(x)
    assert not codes.any()
    codes.sum().backward()
    assert not x.grad.any()
    assert not code.dictionary.grad.any()


def test_no_samples_have_no_gradient(solver):
    x = torch.zeros(0, 4, requires_grad=True)
    code = SparseCode(4, 6, lambda1=0.1, solver=solver)
    code(x).sum().backward()
    assert x.grad.shape == (0, 4)
    assert not code.dictionary.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_singular_support_has_finite_bounded_gradients(monkeypatch, dtype, scale):
    # Four atoms of one direction, all in use: solvers avoid such a support, but need not.
    atom = nn.functional.normalize(normal(7, 1, 5), dim=1).to(dtype)
    dictionary = scale * torch.cat([atom, atom, -atom, 2 * atom, normal(8, 2, 5).to(dtype)])
    codes = torch.tensor([[1.0, 2.0, -1.0, 1.0, 0.0, 0.5], [1.0, 1.0, 0, 0, 0, 0]], dtype=dtype)
    solution = Solution(codes.clone(), torch.zeros(2))
    monkeypatch.setattr("skddl.sparse_coding._implicit.solve", lambda *_, **__: solution)
    code = make_code(dictionary, 0.1 * scale**2)
    x = (codes @ dictionary).requires_grad_()
    code(x).backward(torch.ones_like(codes))
    assert code.dictionary.grad.isfinite().all()
    assert x.grad.isfinite().all()
    # The gradients of a code scale as 1 / scale; the ridge amplifies by no more than eps^-1/2.
    bound = 100 / torch.finfo(dtype).eps ** 0.5 / scale
    assert x.grad.abs().max() <= bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ridge_of_a_nearly_singular_support_sets_in_without_a_jump(dtype):
    """Of two atoms of cosine 1 - d the smallest pivot is nearly 2 d."""
    eps = torch.finfo(dtype).eps
    d = torch.logspace(-3, 3, 121, dtype=dtype, base=10) * eps**0.5
    gram = torch.stack([torch.stack([torch.ones_like(d), 1 - d], 1)] * 2, 1)
    gram[:, 1] = gram[:, 1].flip(1)
    rhs = torch.tensor([[1.0, -1.0]], dtype=dtype)
    solutions = [
        SupportSystem(matrix, 0.0, torch.ones(1, 2, dtype=torch.bool)).solve(rhs)[0, 0]
        for matrix in gram
    ]
    solution = torch.stack(solutions)
    # The grid goes in steps of 12 %.
    assert (solution[1:] / solution[:-1]).min() > 0.85
    assert (solution[1:] / solution[:-1]).max() < 1.15
    np.testing.assert_allclose((solution * d)[d > eps**0.5], 1, rtol=1e-2)
    assert solution.max() < 2.1 / eps**0.5


def test_support_of_duplicate_atoms_has_finite_gradients(solver):
    atoms = nn.functional.normalize(normal(9, 3, 6), dim=1)
    code = make_code(torch.cat([atoms, atoms, torch.zeros(1, 6)]).double(), 0.1, solver=solver)
    x = (2 * atoms).requires_grad_()
    code(x).square().sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.any()
    assert code.dictionary.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lambda2", [0.0, 0.5])
def test_support_system_solves_each_system_on_its_own(dtype, lambda2):
    dictionary = normal(10, 9, 12).to(dtype)
    gram = dictionary @ dictionary.T
    mask = normal(11, 6, 9) > torch.linspace(-3, 3, 6, dtype=torch.float64)[:, None]
    mask[2] = False
    values = normal(12, 6, 9).to(dtype)
    system = SupportSystem(gram, lambda2, mask)
    solution = system.scatter(system.solve(system.gather(values)))
    for used, value, actual in zip(mask, values, solution, strict=True):
        block = gram[used][:, used] + lambda2 * torch.eye(int(used.sum()), dtype=dtype)
        expected = torch.zeros_like(value)
        expected[used] = torch.linalg.solve(block, value[used])
        tolerance = 1e-10 if dtype == torch.float64 else 1e-3
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    assert torch.equal(system.scatter(system.gather(values)), values.where(mask, 0.0))


def test_support_system_of_empty_supports_is_empty():
    system = SupportSystem(torch.eye(4), 0.0, torch.zeros(3, 4, dtype=torch.bool))
    padded = system.gather(torch.ones(3, 4))
    assert padded.shape == (3, 0)
    assert torch.equal(system.scatter(system.solve(padded)), torch.zeros(3, 4))


def test_second_derivative_is_refused():
    code = make_code(normal(1, 6, 4), 0.2)
    x = normal(0, 3, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(code(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


def test_nothing_is_warned_about_in_the_backward_pass(solver):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        code = make_code(normal(1, 6, 4), 0.2, solver=solver)
        code(normal(0, 3, 4).requires_grad_()).sum().backward()
    assert not caught


def test_objective_decreases_along_the_gradient_of_the_problem():
    # Danskin: the optimal value differentiates as if the code were constant.
    x, dictionary = normal(2, 4, 10), nn.functional.normalize(normal(3, 14, 10), dim=1)
    problem = ElasticNetProblem(0.3, 0.1)
    code = make_code(dictionary, 0.3, 0.1)
    problem.objective(x, code.dictionary, code(x)).sum().backward()
    codes = code(x).detach()
    expected = -codes.T @ (x - codes @ dictionary)
    torch.testing.assert_close(code.dictionary.grad, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_autocast_changes_neither_codes_nor_gradients(solver, where):
    x = normal(5, 4, 6).float()
    code = make_code(nn.functional.normalize(normal(6, 9, 6), dim=1).float(), 0.2, solver=solver)

    def gradients(autocast_forward, autocast_backward):
        code.zero_grad()
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast_forward):
            codes = code(inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast_backward):
            codes.sum().backward()
        return codes.detach(), inputs.grad, code.dictionary.grad.clone()

    expected = gradients(False, False)
    actual = gradients(where == "forward", where == "backward")
    for value, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=0, atol=0)


def test_what_is_not_finite_has_no_gradient():
    dictionary = nn.functional.normalize(normal(7, 9, 6), dim=1)
    x = normal(8, 3, 6)
    x[1, 0] = torch.nan
    x.requires_grad_()
    make_code(dictionary, 0.2)(x).sum().backward()
    assert x.grad.isfinite().all(1).tolist() == [True, False, True]
    broken = make_code(torch.full_like(dictionary, torch.nan), 0.2)
    broken(x).sum().backward()
    assert broken.dictionary.grad.isnan().all()


def test_a_second_derivative_is_refused_not_invented():
    x = normal(0, 3, 4).double().requires_grad_()
    code = make_code(normal(1, 6, 4).double(), 0.1)
    weight = torch.ones(3, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((weight * code(x)).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.square().sum().backward()
