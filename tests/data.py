"""Small digits for the tests of estimators, and what they compare."""

import dataclasses
import tracemalloc
from array import array

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn

from skddl import SampleNormalizer
from skddl.sparse_coding._solvers import SOLVERS

SOLVERS_HERE = [
    name for name, solver in SOLVERS.items() if solver.is_available(torch.device("cpu"))
]


def small_digits(n_samples=200, n_classes=10, dtype=np.float32):
    """Digits of unit norm, float32, the first samples of the first classes."""
    X, y = load_digits(return_X_y=True)
    X, y = X[y < n_classes][:n_samples], y[y < n_classes][:n_samples]
    return SampleNormalizer().fit_transform(X.astype(dtype)), y


def model_state(model):
    """All parameters and buffers of a fitted classifier, by name."""
    return {name: value.numpy().copy() for name, value in model.module_.state_dict().items()}


def assert_same_model(first, second):
    """Bit for bit."""
    first, second = model_state(first), model_state(second)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def assert_finite(value, name="model"):
    """Every number that a model holds, its network, curves and moments included."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        assert np.isfinite(value).all(), name
    elif isinstance(value, torch.Tensor):
        assert value.isfinite().all(), name
    elif isinstance(value, float | np.floating):
        assert np.isfinite(value), name
    elif isinstance(value, array):
        assert np.isfinite(np.array(value)).all(), name
    elif isinstance(value, nn.Module):
        assert_finite(dict(value.state_dict()), name)
    elif isinstance(value, dict):
        for key, item in value.items():
            assert_finite(item, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            assert_finite(item, f"{name}[{index}]")
    elif dataclasses.is_dataclass(value) or hasattr(value, "get_params"):
        assert_finite(vars(value), name)


def peak_of_learning_a_memmap(model, folder, shape):
    """Bytes that numpy holds at most while `model` learns bytes from a file and predicts them.

    Fails if the model is not the same as from memory.
    """
    rng = np.random.default_rng(0)
    np.save(folder / "X.npy", rng.integers(0, 256, size=shape).astype(np.uint8))
    labels = rng.integers(0, 2, size=shape[0])
    samples = np.load(folder / "X.npy", mmap_mode="r")
    model.fit(samples[:100], labels[:100])  # imports and caches are not what is measured
    tracemalloc.start()
    try:
        model.fit(samples, labels)
        model.predict(samples)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert_same_model(model, clone(model).fit(np.array(samples), labels))
    return peak
