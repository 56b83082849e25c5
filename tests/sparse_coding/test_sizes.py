"""Every size, from one atom to many atoms of many features, in both float types."""

import numpy as np
import pytest
import torch

from skddl import OnlineDictionaryLearning, TaskDrivenDictionaryClassifier
from skddl.nn import SparseCode
from skddl.sparse_coding import kkt_residual, sparse_encode

# Without it some of these codes take minutes: 5,000 atoms of 3 numbers by FISTA.
pytestmark = pytest.mark.usefixtures("core")

PROMISED = {"float32": 1e-4, "float64": 1e-6}
# Atoms, features.
SIZES = [
    (64, 16_385),
    (1040, 1024),
    (400, 3072),
    (4096, 768),
    (16_384, 2048),
    (60, 20_000),
    (8, 200_000),
    (5000, 3),
    (1, 1),
]
each_size = pytest.mark.parametrize(
    ("n_components", "n_features", "dtype"),
    [
        (*size, dtype)
        for size in SIZES
        for dtype in PROMISED
        if (size, dtype) != ((16_384, 2048), "float64")
    ],
)
N_SAMPLES = 6


def unit_rows(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def draw(n_components, n_features, dtype):
    """Samples, each near a few atoms, and the atoms."""
    rng = np.random.default_rng(0)
    dictionary = unit_rows(rng.standard_normal((n_components, n_features), dtype="float32"))
    weights = rng.uniform(1, 2, (N_SAMPLES, min(3, n_components)))
    near = [rng.choice(n_components, weights.shape[1], replace=False) for _ in weights]
    X = np.stack([w @ dictionary[atoms] for w, atoms in zip(weights, near, strict=True)])
    X += 0.3 * unit_rows(rng.standard_normal(X.shape))
    return X.astype(dtype), dictionary.astype(dtype)


def assert_optimal(X, dictionary, codes, dtype, lambda1):
    assert np.count_nonzero(codes) >= len(codes)
    assert kkt_residual(X, dictionary, codes, lambda1=lambda1).max() <= PROMISED[dtype]


@each_size
def test_codes_are_optimal(n_components, n_features, dtype):
    X, dictionary = draw(n_components, n_features, dtype)
    codes = sparse_encode(X, dictionary, lambda1=0.2)
    assert_optimal(X, dictionary, codes, dtype, 0.2)


@each_size
def test_gradient_is_that_of_differences(n_components, n_features, dtype):
    X, dictionary = draw(n_components, n_features, dtype)
    weights = np.random.default_rng(1).normal(size=n_components)
    code = SparseCode(n_features, n_components, lambda1=0.2)
    code.dictionary.data = torch.from_numpy(dictionary)
    x = torch.from_numpy(X).requires_grad_()
    (code(x) @ torch.from_numpy(weights).to(x.dtype)).sum().backward()
    gradients = {"X": x.grad.double().numpy(), "dictionary": code.dictionary.grad.double().numpy()}

    for name, gradient in gradients.items():
        length = np.linalg.norm(gradient)
        assert length > 0 or (n_components, n_features) == (1, 1)

        def loss(step, name=name, direction=gradient / (length or 1)):
            arrays = {"X": X, "dictionary": dictionary}
            arrays[name] = arrays[name] + step * direction
            arrays = {name: array.astype("float64") for name, array in arrays.items()}
            return float((sparse_encode(**arrays, lambda1=0.2) @ weights).sum())

        difference = (loss(1e-6) - loss(-1e-6)) / 2e-6
        assert abs(difference - length) <= {"float32": 1e-3, "float64": 1e-5}[dtype] * length


@each_size
def test_two_mini_batches_of_online_learning(n_components, n_features, dtype):
    X, dictionary = draw(n_components, n_features, dtype)
    model = OnlineDictionaryLearning(
        n_components, lambda1=0.2, init=dictionary, batch_size=3, max_iter=2, random_state=0
    )
    model.fit(X)
    assert model.n_iter_ >= 2
    assert_optimal(X, model.components_, model.transform(X), dtype, 0.2)


@each_size
def test_three_steps_of_a_fit_and_predictions_in_the_other_type(n_components, n_features, dtype):
    X, _ = draw(n_components, n_features, dtype)
    y = np.arange(N_SAMPLES) % 2
    model = TaskDrivenDictionaryClassifier(
        n_components,
        features="identity",
        init="samples",
        lambda1=0.2,
        lambda2=0.0,
        positive=False,
        batch_size=3,
        max_iter=3,
        dtype=dtype,
        random_state=0,
    )
    model.fit(X, y)
    assert model.n_iter_ == 3
    assert_optimal(X, model.components_, model.transform(X), dtype, 0.2)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    assert model.score(X.astype(other), y) == model.score(X, y)


@pytest.mark.parametrize("dtype", PROMISED)
def test_codes_of_more_than_a_thousand_nonzeros(dtype):
    rng = np.random.default_rng(0)
    dictionary = unit_rows(rng.standard_normal((1500, 1400))).astype(dtype)
    X = unit_rows(rng.standard_normal((2, 1400))).astype(dtype)
    codes = sparse_encode(X, dictionary, lambda1=1e-3, lambda2=0.01)
    assert np.count_nonzero(codes, axis=1).min() > 1000
    residual = kkt_residual(X, dictionary, codes, lambda1=1e-3, lambda2=0.01)
    assert residual.max() <= PROMISED[dtype]


@pytest.mark.slow
def test_gradient_of_more_factors_than_there_is_room_for():
    rng = np.random.default_rng(0)
    code = SparseCode(400, 500, lambda1=1e-3, lambda2=0.1)
    code.dictionary.data = torch.from_numpy(unit_rows(rng.standard_normal((500, 400))))
    x = torch.from_numpy(unit_rows(rng.standard_normal((480, 400)))).requires_grad_()
    weights = torch.from_numpy(rng.standard_normal((480, 500)))

    def gradients(*parts):
        loss = sum((code(x[part]) * weights[part]).sum() for part in parts)
        return torch.autograd.grad(loss, (x, code.dictionary))

    assert (code(x) != 0).sum(1).min() > 380  # there is room for 368 of each
    at_once = gradients(slice(None))
    torch.testing.assert_close(at_once, gradients(slice(240), slice(240, None)))
