"""`load` of files that are cut, flipped, or spoiled on purpose: an error, or a sound model."""

import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.base import clone

import skddl
from skddl.training import read_archive

from .small_models import SAVED, X, y
from .spoiled import cut, flip, spoiled_contents, spoiled_files, write_spoiled

SOAK = pytest.mark.soak
# Warnings of what is read are errors here; a wild model may have others.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skddl"


def save(name, path):
    clone(SAVED[name]).fit(X, y).save(path)


def assert_refused(path):
    with pytest.raises(ValueError, match=r"model\.skddl'"):
        skddl.load(path)


def outcome_of_load(path, what):
    """What has become of a file in which something is wrong."""
    try:
        model = skddl.load(path)
    except ValueError as error:
        assert path.name in str(error)
        return "spoiled model files refused"
    steps = model.get_params().get("n_steps", 0)
    if max(steps, getattr(model, "_started_with", {}).get("n_steps", 0)) > 1000:
        return "spoiled model files harmless"  # it answers after so many steps
    try:
        answers = [getattr(model, m)(X) for m in ("transform", "predict") if hasattr(model, m)]
        if what.startswith("optimizer.") and hasattr(model, "module_"):
            model.partial_fit(X, y)
    except ValueError as error:
        # A sound model, but of other samples, of another machine, or of weights that overflow.
        assert any(text in str(error) for text in ("is expecting", "device=", "not finite"))
        return "spoiled model files refused when used"
    answers = [a.toarray() if issparse(a) else a for a in answers]
    assert all(np.isfinite(a).all() for a in answers)
    return "spoiled model files harmless"


@pytest.mark.parametrize(
    "name", [n if n in ("task-driven", "online") else pytest.param(n, marks=SOAK) for n in SAVED]
)
def test_model_cut_at_any_byte_is_refused(name, path, tried):
    save(name, path)
    for _ in cut(path):
        assert_refused(path)
        tried("model files cut")


@pytest.mark.parametrize(
    ("name", "n_cases"),
    [(n, 200) for n in SAVED] + [pytest.param(n, None, marks=SOAK) for n in SAVED],
)
def test_any_bit_that_changed_is_found(name, n_cases, path, tried):
    save(name, path)
    for _ in flip(path, n_cases):
        assert_refused(path)
        tried("bits of model files flipped")


@pytest.mark.parametrize(
    ("name", "n_cases"),
    [(n, 60) for n in SAVED] + [pytest.param(n, 3000, marks=SOAK) for n in SAVED],
)
def test_model_with_a_value_of_any_kind_is_refused_or_sound(name, n_cases, path, tried):
    save(name, path)
    tensors, content = read_archive(path, "model")
    for what, tensors_, content_ in spoiled_files(tensors, content, n_cases):
        write_spoiled(path, "model", tensors_, content_)
        tried(outcome_of_load(path, what))
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("n_cases", [10, pytest.param(500, marks=SOAK)])
def test_model_with_several_such_values_is_refused_or_sound(name, n_cases, path, tried):
    save(name, path)
    tensors, first = read_archive(path, "model")
    rng = np.random.default_rng(n_cases)
    contents = [content for _, content in spoiled_contents(first) if isinstance(content, dict)]
    for _ in range(n_cases):
        parts = [contents[i] for i in rng.integers(len(contents), size=3)]
        # Of each part of the file, that of another spoiled file.
        content = {key: rng.choice(parts).get(key) for key in first}
        write_spoiled(path, "model", tensors, content)
        tried(outcome_of_load(path, "content"))
