"""Fixtures that several test modules share."""

import sys

import pytest

from skddl.datasets import load_mnist
from skddl.datasets._files import resolve_data_home
from skddl.sparse_coding._optional import can_import


@pytest.fixture(scope="session")
def mnist_home():
    """Return the `data_home` that holds the real MNIST; without one, skip the test."""
    home, _ = resolve_data_home(None)
    try:
        load_mnist(home, subset="test")
    except FileNotFoundError as error:
        pytest.skip(f"needs the real MNIST: {error}")
    return home


@pytest.fixture
def without_numba(monkeypatch):
    """As if numba were not installed."""
    monkeypatch.setitem(sys.modules, "numba", None)
    can_import.cache_clear()
    yield
    can_import.cache_clear()
