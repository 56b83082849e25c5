"""Fitted models, and where to write them."""

import pytest

from .data import FITTED


@pytest.fixture(scope="module")
def fitted():
    """The model of that name; each is fitted once."""
    models = {}

    def fit(name):
        if name not in models:
            build, samples, labels = FITTED[name]
            models[name] = build().fit(samples, labels)
        return models[name]

    return fit


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skddl"
