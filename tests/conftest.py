"""Fixtures that several test modules share."""

import sys

import pytest
import torch

from skddl.datasets import load_mnist
from skddl.datasets._files import resolve_data_home
from skddl.sparse_coding._optional import can_import


@pytest.fixture(scope="session", autouse=True)
def number_of_threads_at_the_end_is_that_of_the_start():
    """With more threads than cores all tests that come later take several times as long."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


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
