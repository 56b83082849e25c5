"""Checkpoints that are cut, flipped, or spoiled on purpose: an error, or a fit that ends well."""

import numpy as np
import pytest
from sklearn.base import clone

from skddl.training import CheckpointFile, read_archive

from .small_models import MODELS, X, stop_after_a_write, y
from .spoiled import cut, flip, spoiled_files, write_spoiled

SOAK = pytest.mark.soak
# Warnings of what is read are errors here; a wild state may lead to others.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


def outcome_of_fit(model, path):
    """What has become of a fit that finds a file in which something is wrong."""
    try:
        fitted = clone(model).fit(X, y)
    except ValueError as error:
        if path.name in str(error):
            return "spoiled checkpoints refused"
        assert "not finite" in str(error)
        return "spoiled checkpoints that diverge"
    try:
        answers = [getattr(fitted, m)(X) for m in ("transform", "predict") if hasattr(fitted, m)]
    except ValueError as error:
        assert "not finite" in str(error) or "contains" in str(error)
        return "spoiled checkpoints that diverge"
    assert all(np.isfinite(a).all() for a in answers)
    return "spoiled checkpoints harmless"


@pytest.mark.parametrize(
    "name", [n if n in ("dense", "online") else pytest.param(n, marks=SOAK) for n in MODELS]
)
def test_checkpoint_cut_at_any_byte_is_refused(name, path, tried):
    model = stop_after_a_write(name, path)
    read = CheckpointFile(path, read_archive(path, "checkpoint")[1]["identity"]).read
    assert read() is not None
    for size in cut(path):
        with pytest.raises(ValueError, match=r"fit\.checkpoint'.*Remove it or pass another path"):
            read()
        if size % 500 == 0:  # by the estimator itself; that takes longer
            with pytest.raises(ValueError, match=r"fit\.checkpoint'.*Remove it or pass another"):
                clone(model).fit(X, y)
        tried("checkpoints cut")


@pytest.mark.parametrize(
    ("name", "n_cases"),
    [(n, 200) for n in MODELS] + [pytest.param(n, None, marks=SOAK) for n in MODELS],
)
def test_any_bit_of_a_checkpoint_that_changed_is_found(name, n_cases, path, tried):
    stop_after_a_write(name, path)
    read = CheckpointFile(path, read_archive(path, "checkpoint")[1]["identity"]).read
    for _ in flip(path, n_cases):
        with pytest.raises(ValueError, match=r"fit\.checkpoint'.*Remove it or pass another path"):
            read()
        tried("bits of checkpoints flipped")


@pytest.mark.parametrize(
    ("name", "n_cases"),
    [(n, 25) for n in MODELS] + [pytest.param(n, 1000, marks=SOAK) for n in MODELS],
)
def test_checkpoint_with_a_value_of_any_kind_is_refused_or_the_fit_ends_well(
    name, n_cases, path, tried
):
    model = stop_after_a_write(name, path)
    tensors, content = read_archive(path, "checkpoint")
    for _, tensors_, content_ in spoiled_files(tensors, content, n_cases):
        write_spoiled(path, "checkpoint", tensors_, content_)
        tried(outcome_of_fit(model, path))
    names = {path.name, f"{path.name}.features"}
    assert {entry.name for entry in path.parent.iterdir()} <= names
