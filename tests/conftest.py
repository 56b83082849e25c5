"""Fixtures that several test modules share."""

import pytest

from skddl.datasets import load_mnist
from skddl.datasets._files import resolve_data_home


@pytest.fixture(scope="session")
def mnist_home():
    """Return the `data_home` that holds the real MNIST; without one, skip the test."""
    home, _ = resolve_data_home(None)
    try:
        load_mnist(home, subset="test")
    except FileNotFoundError as error:
        pytest.skip(f"needs the real MNIST: {error}")
    return home
