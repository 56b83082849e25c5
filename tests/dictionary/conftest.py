"""The samples."""

import pytest
from sklearn.datasets import load_digits

from skddl import SampleNormalizer


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return SampleNormalizer().fit_transform(X[:600]), y[:600]
