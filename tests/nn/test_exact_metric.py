"""QMetricReLU.from_dictionary: Theorems 3.1 and 3.2 of paper 2."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skddl.nn import QMetricReLU, SparseCode
from skddl.nn.q_metric import exact_metric
from skddl.sparse_coding import sparse_encode

from .data import identity, normal


def dictionary_of(coherence, n_components=12, n_features=8):
    atoms = normal(4, n_components, n_features) + coherence
    return nn.functional.normalize(atoms, dim=1)


def test_metric_of_a_dictionary_is_that_of_theorem_3_2():
    D = dictionary_of(0.5)
    alpha, beta, lambda_ = 0.3, 0.2, 0.1
    module = QMetricReLU.from_dictionary(D, lambda_=lambda_, alpha=alpha, beta=beta)
    Q = (D @ D.T + alpha * identity(12)).numpy()
    for i in range(12):
        q_ii = Q[i, i]
        for j in range(12):
            expected = 0 if i == j else -Q[i, j] / (q_ii + beta)
            assert module.weight[i, j].item() == pytest.approx(expected, abs=1e-14)
        assert module.h[i].item() == pytest.approx(q_ii / (q_ii + beta))
        assert module.b[i].item() == pytest.approx(lambda_ / (q_ii + beta))


def test_fixed_point_satisfies_equation_8():
    D, beta, lambda_ = dictionary_of(0.5), 0.2, 0.1
    prox = QMetricReLU.from_dictionary(
        D, lambda_=lambda_, alpha=0.3, beta=beta, tol=1e-13, max_steps=10_000
    )
    z = normal(5, 6, 12)
    u = prox.eval()(z).detach().numpy()
    Q = (D @ D.T + 0.3 * identity(12)).numpy()
    for n, (sample, code) in enumerate(zip(z.numpy(), u, strict=True)):
        assert 0 < np.count_nonzero(code) < 12
        for i in range(12):
            q_ii = Q[i, i]
            others = [j for j in range(12) if j != i]
            v = (lambda_ + Q[i, others] @ (code - sample)[others]) / (q_ii + beta)
            positive = q_ii * sample[i] > (q_ii + beta) * v
            expected = q_ii / (q_ii + beta) * sample[i] - v if positive else 0
            assert u[n, i] == pytest.approx(expected, abs=1e-9)


def spectral_radius(weight):
    return torch.linalg.eigvals(weight).abs().max().item()


@pytest.mark.parametrize(
    ("coherence", "n_components", "alpha", "damped"),
    [(0.0, 4, 1.0, False), (0.0, 12, 0.1, True), (0.5, 40, 0.05, True), (2.0, 12, 0.1, True)],
)
def test_exact_metric_converges_to_the_sparse_code(coherence, n_components, alpha, damped):
    """Theorem 3.1: the code of x is the proximal operator of F x in the metric Q."""
    beta, lambda_ = 0.1, 0.2
    D = dictionary_of(coherence, n_components)
    x = 2 * normal(6, 10, 8)
    F = torch.linalg.solve(D @ D.T + alpha * identity(n_components), D)
    prox = QMetricReLU.from_dictionary(
        D, lambda_=lambda_, alpha=alpha, beta=beta, tol=1e-13, max_steps=100_000
    ).eval()
    assert (spectral_radius(prox.weight) >= 1) == (prox.damping < 1) == damped
    code = SparseCode(8, n_components, lambda1=lambda_, lambda2=alpha + beta, positive=True)
    code = code.double()
    code.load_state_dict({"dictionary": D})
    expected = code(x)
    assert 0 < expected.count_nonzero() < expected.numel()
    torch.testing.assert_close(prox(x @ F.T), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [1e-1, 1e-3, 1e-5])
def test_fewer_atoms_than_features_converge_fast_however_small_alpha_is(alpha):
    """The smallest eigenvalue is that of the atoms then, not alpha."""
    D = nn.functional.normalize(normal(4, 12, 30) + 0.5, dim=1)
    x = normal(6, 10, 12).abs() @ D  # all codes are positive
    z = torch.linalg.solve(D @ D.T + alpha * identity(12), D @ x.T).T
    prox = QMetricReLU.from_dictionary(D, lambda_=1e-3, alpha=alpha, beta=0.0, tol=1e-10)
    expected = sparse_encode(x, D, lambda1=1e-3, lambda2=alpha, positive=True)
    assert expected.count_nonzero() > 0.9 * expected.numel()
    torch.testing.assert_close(prox.eval()(z), expected, rtol=0, atol=1e-6)


def test_linear_term_of_the_problem_moves_the_input():
    """Theorem 3.1 with d not zero: ``prox(F x - c)``, ``c = Q^-1 d``."""
    D, alpha, beta, lambda_ = dictionary_of(0.2, 5), 0.4, 0.1, 0.2
    x, d = 2 * normal(6, 10, 8), 0.3 * normal(7, 5).abs()
    Q = D @ D.T + alpha * identity(5)
    prox = QMetricReLU.from_dictionary(D, lambda_=lambda_, alpha=alpha, beta=beta, tol=1e-13)
    codes = prox.eval()(torch.linalg.solve(Q, D @ x.T - d[:, None]).T)
    # Optimality: the gradient is 0 where the code is positive, and >= 0 elsewhere.
    gradient = codes @ (Q + beta * identity(5)) - x @ D.T + d + lambda_
    assert gradient[codes > 0].abs().max() < 1e-9
    assert gradient[codes == 0].min() > -1e-9
    assert 0 < codes.count_nonzero() < codes.numel()


@pytest.mark.parametrize(("scale", "damped"), [(0.05, False), (0.4, True)])
def test_metric_of_filters_converges_to_the_code_of_all_their_shifts(scale, damped):
    k, channels, size, height, width = 3, 2, 3, 5, 4
    alpha, beta, lambda_ = 0.3, 0.1, 0.2
    filters = scale * normal(8, k, channels, size, size)
    atoms = torch.zeros(k, height, width, channels, height + size - 1, width + size - 1).double()
    for row in range(height):
        for column in range(width):
            atoms[:, row, column, :, row : row + size, column : column + size] = filters
    D = atoms.reshape(k * height * width, -1)
    x = 2 * normal(9, 4, D.shape[1])
    z = torch.linalg.solve(D @ D.T + alpha * identity(len(D)), D @ x.T).T
    prox = QMetricReLU.from_dictionary(
        filters, lambda_=lambda_, alpha=alpha, beta=beta, tol=1e-13, max_steps=10_000
    ).eval()
    assert prox.weight.shape == (k, k, 5, 5)
    # A convolutional dictionary has taps of each channel on itself, but for the centre.
    own = prox.weight[range(k), range(k)]
    assert not own[:, 2, 2].any()
    assert own.count_nonzero() == k * 24
    assert (prox.damping < 1) == damped
    code = SparseCode(D.shape[1], len(D), lambda1=lambda_, lambda2=alpha + beta, positive=True)
    code = code.double()
    code.load_state_dict({"dictionary": D})
    expected = code(x)
    assert 0 < expected.count_nonzero() < expected.numel()
    actual = prox(z.reshape(4, k, height, width)).flatten(1)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_damping_of_filters_is_stable_for_images_of_any_size(size):
    filters = normal(10, 3, 2, size, size)
    weight, h, b, damping = exact_metric(filters, 0.1, 0.2, 0.1)
    n = 12
    unit = identity(3 * n * n).reshape(-1, 3, n, n)
    matrix = nn.functional.conv2d(unit, weight, padding=size - 1).flatten(1).T
    lowest = torch.linalg.eigvals(matrix).real.min().item()
    assert 0.5 * 2 / (1 - lowest) < damping < 2 / (1 - lowest)
    assert h.shape == b.shape == (3,)


def test_plain_steps_do_not_converge_where_the_docstring_says_so():
    D = dictionary_of(2.0)
    prox = QMetricReLU.from_dictionary(D, lambda_=0.1, alpha=0.1, beta=0.1, tol=1e-10)
    assert torch.linalg.eigvals(prox.weight).real.min() < -1
    prox.damping = 1.0
    with pytest.warns(ConvergenceWarning, match=r"of 6 samples still move by more than tol=1e-10"):
        prox.eval()(normal(11, 6, 12) + 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lambda_": 0.0}, "lambda_ must be positive"),
        ({"lambda_": float("inf")}, "lambda_ must be positive and finite"),
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"alpha": float("inf")}, "alpha must be positive and finite"),
        ({"beta": float("inf")}, "beta must be at least 0 and finite"),
        ({"dictionary": torch.full((3, 3), torch.nan)}, "dictionary contains NaN or infinity"),
        ({"beta": -0.1}, "beta must be at least 0"),
        ({"dictionary": torch.zeros(3)}, "dictionary must have the shape"),
        ({"dictionary": torch.zeros(3, 1, 3, 5)}, "dictionary must have the shape"),
    ],
)
def test_wrong_weights_of_a_dictionary_are_refused_by_name(options, message):
    options = {"dictionary": torch.eye(3), "lambda_": 0.1, "alpha": 0.1, "beta": 0.1, **options}
    with pytest.raises(ValueError, match=message):
        QMetricReLU.from_dictionary(options.pop("dictionary"), **options)
