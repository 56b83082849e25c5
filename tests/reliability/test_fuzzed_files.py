"""Models and checkpoints that are cut, flipped, or spoiled on purpose: an error, or all is well."""

import re
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.base import clone

import skddl
from skddl.training import CheckpointFile, read_archive

from .small_models import MODELS, SAVED, X, stop_after_a_write, y
from .spoiled import cut, flip, spoiled_contents, spoiled_files, write_spoiled

SOAK = pytest.mark.soak
# Warnings of what is read are errors here; a wild model may have others.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


# Of a case, and of all of a test, however absurd the numbers in a file of a few kilobytes.
MOST_SECONDS, MOST_MEGABYTES = 60, 300


@pytest.fixture(autouse=True)
def memory_is_bounded():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024 * MOST_MEGABYTES


@contextmanager
def bounded_time():
    def fail(*_):
        raise AssertionError(f"it takes more than {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def assert_answers(model):
    answers = [getattr(model, m)(X) for m in ("transform", "predict") if hasattr(model, m)]
    assert all(np.isfinite(a.toarray() if issparse(a) else a).all() for a in answers)


class Model:
    """What `save` writes."""

    kind, plural, advice = "model", "model files", ""
    names, n_spoiled = SAVED, {"some": 60, "many": 3000}

    def __init__(self, name, folder):
        self.path = folder / "model.skddl"
        clone(SAVED[name]).fit(X, y).save(self.path)

    def read(self):
        return skddl.load(self.path)

    use = read

    def outcome(self, what):
        """What has become of it, where `what` is wrong."""
        try:
            model = self.read()
        except ValueError as error:
            assert self.path.name in str(error)
            return "refused"
        steps = model.get_params().get("n_steps", 0)
        if max(steps, getattr(model, "_started_with", {}).get("n_steps", 0)) > 1000:
            return "harmless"  # it answers after so many steps
        try:
            assert_answers(model)
            if what.startswith("optimizer.") and hasattr(model, "module_"):
                model.partial_fit(X, y)
        except ValueError as error:
            # A sound model, but of other samples, of another machine, or of weights that overflow.
            assert re.search("is expecting|device=|not finite", str(error))
            return "refused when used"
        return "harmless"


class Checkpoint:
    """What is left of a fit that was stopped."""

    kind, plural, advice = "checkpoint", "checkpoints", "Remove it or pass another path"
    names, n_spoiled = MODELS, {"some": 25, "many": 1000}

    def __init__(self, name, folder):
        self.path = folder / "fit.checkpoint"
        self.model = stop_after_a_write(name, self.path)
        identity = read_archive(self.path, "checkpoint")[1]["identity"]
        self.read = CheckpointFile(self.path, identity).read

    def use(self):
        return clone(self.model).fit(X, y)

    def outcome(self, what):
        """What has become of a fit that finds it, where `what` is wrong."""
        try:
            assert_answers(self.use())
        except ValueError as error:
            if self.path.name in str(error):
                return "refused"
            assert re.search("not finite|contains", str(error))
            return "that diverge"
        return "harmless"


FILES = {
    f"{kind.kind}, {name}": (kind, name) for kind in (Model, Checkpoint) for name in kind.names
}
CUT_QUICKLY = "model, task-driven", "model, online", "checkpoint, dense", "checkpoint, online"


@pytest.fixture
def file(request, tmp_path):
    kind, name = FILES[request.param]
    return kind(name, tmp_path)


def each_of(files):
    return pytest.mark.parametrize("file", files, indirect=True)


@each_of([name if name in CUT_QUICKLY else pytest.param(name, marks=SOAK) for name in FILES])
def test_file_cut_at_any_byte_is_refused(file, tried):
    refused = rf"{file.path.name}' is not a {file.kind} of skddl, or is truncated.*{file.advice}"
    for size in cut(file.path):
        with bounded_time(), pytest.raises(ValueError, match=refused):
            file.read()
        if size % 500 == 0:  # a fit takes longer
            with bounded_time(), pytest.raises(ValueError, match=refused):
                file.use()
        tried(f"{file.plural} cut")


@each_of(FILES)
@pytest.mark.parametrize("n_bits", [200, pytest.param(None, marks=SOAK)], ids=["some", "all"])
def test_any_bit_that_changed_is_found(file, n_bits, tried):
    for _ in flip(file.path, n_bits):
        with bounded_time(), pytest.raises(ValueError, match=rf"{file.path.name}'.*{file.advice}"):
            file.read()
        tried(f"bits of {file.plural} flipped")


@each_of(FILES)
@pytest.mark.parametrize("number", ["some", pytest.param("many", marks=SOAK)])
def test_file_with_a_value_of_any_kind_is_refused_or_does_no_harm(file, number, tried):
    tensors, content = read_archive(file.path, file.kind)
    for what, *spoiled in spoiled_files(tensors, content, file.n_spoiled[number]):
        write_spoiled(file.path, file.kind, *spoiled)
        with bounded_time():
            tried(f"spoiled {file.plural} {file.outcome(what)}")
    names = {entry.name for entry in file.path.parent.iterdir()}
    assert names <= {file.path.name, f"{file.path.name}.features"}


@each_of([name for name in FILES if name.startswith("model")])
@pytest.mark.parametrize("n_cases", [10, pytest.param(500, marks=SOAK)])
def test_model_with_several_such_values_is_refused_or_sound(file, n_cases, tried):
    tensors, first = read_archive(file.path, "model")
    rng = np.random.default_rng(n_cases)
    contents = [content for _, content in spoiled_contents(first) if isinstance(content, dict)]
    for _ in range(n_cases):
        parts = [contents[i] for i in rng.integers(len(contents), size=3)]
        # Of each part of the file, that of another spoiled file.
        content = {key: rng.choice(parts).get(key) for key in first}
        write_spoiled(file.path, "model", tensors, content)
        with bounded_time():
            tried(f"spoiled model files {file.outcome('content')}")
