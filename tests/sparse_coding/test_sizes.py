"""Sizes beyond the usual ones: many atoms, many features."""

import numpy as np
import pytest
import torch

from skddl import OnlineDictionaryLearning, TaskDrivenDictionaryClassifier
from skddl.nn import SparseCode
from skddl.sparse_coding import kkt_residual, sparse_encode

PROMISED = {"float32": 1e-4, "float64": 1e-6}
SIZES = [(4096, 768, "float32"), (1040, 1024, "float64"), (400, 3072, "float64")]


def unit_rows(rng, shape, dtype="float64"):
    rows = rng.normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize(("n_components", "n_features", "dtype"), SIZES)
def test_codes_are_optimal(n_components, n_features, dtype):
    rng = np.random.default_rng(0)
    dictionary = unit_rows(rng, (n_components, n_features), dtype)
    X = unit_rows(rng, (5, n_features), dtype)
    lambda1 = 0.5 * np.abs(X @ dictionary.T).max()
    codes = sparse_encode(X, dictionary, lambda1=lambda1)
    assert codes.any(axis=1).all()
    assert kkt_residual(X, dictionary, codes, lambda1=lambda1).max() <= PROMISED[dtype]


@pytest.mark.parametrize(("n_components", "n_features", "dtype"), SIZES)
def test_gradient_is_that_of_differences(n_components, n_features, dtype):
    rng = np.random.default_rng(1)
    X, code = (torch.from_numpy(unit_rows(rng, (3, n_features))) for _ in range(2))
    code = SparseCode(n_features, n_components, lambda1=0.05)
    code.dictionary.data = torch.from_numpy(unit_rows(rng, (n_components, n_features)))
    weights = torch.from_numpy(rng.normal(size=n_components))
    directions = [
        torch.from_numpy(rng.normal(size=shape) / n_features**0.5)
        for shape in (X.shape, code.dictionary.shape)
    ]
    step = 1e-7

    def loss(sign):
        moved = code.dictionary.data + sign * step * directions[1]
        codes = sparse_encode(X + sign * step * directions[0], moved, lambda1=0.05)
        return float((codes @ weights).sum())

    expected = (loss(1) - loss(-1)) / (2 * step)
    code.to(getattr(torch, dtype))
    x = X.to(getattr(torch, dtype)).requires_grad_()
    (code(x) @ weights.to(x.dtype)).sum().backward()
    gradients = (x.grad.double(), code.dictionary.grad.double())
    actual = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    assert actual == pytest.approx(expected, rel={"float32": 1e-3, "float64": 1e-5}[dtype])


@pytest.mark.parametrize("n_features", [8192, 20_000])
def test_estimators_take_many_features(n_features):
    rng = np.random.default_rng(2)
    y = np.arange(160) % 2
    X = rng.normal(size=(160, n_features)) + np.where(y, 1, -1)[:, None]
    odl = OnlineDictionaryLearning(60, max_iter=2, random_state=0).fit(X)
    codes = odl.transform(X)
    assert kkt_residual(X, odl.components_, codes, lambda1=odl.lambda1_).max() <= 1e-6
    clf = TaskDrivenDictionaryClassifier(
        160, features="identity", max_iter=3, batch_size=8, random_state=0
    )
    clf.fit(X.astype(np.float32), y)
    assert clf.components_.dtype == np.float32
    assert clf.score(X, y) == 1.0  # rows of float64
