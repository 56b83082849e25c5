"""Ctrl-C at any line of a fit: the model so far is kept, or the model that was there before.

A tracing function sends the signal before the n-th line of Python that a fit executes.
"""

import copy
import functools
import os
import signal
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import get_config
from sklearn.base import clone

import skddl
from skddl import (
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
    _base,
    _blas,
)
from skddl.sparse_coding import sparse_encode
from skddl.training import Checkpoint, _checkpoint
from skddl.training._optimizers import Moments
from tests.data import SOLVERS_HERE
from tests.saving.data import X, y

from . import fits
from .models import MODELS, assert_same, begin, digest_of, fit, found_in, go_on

soak = pytest.mark.soak
# Lines of these count: the package's, and those of what opens and closes its contexts.
TRACED = (str(Path(skddl.__file__).parent), "contextlib.py", "grad_mode.py", "torch/random.py")


def make_short(name, **parameters):
    model, data = fits.make(name, **parameters)
    lengths = {"max_epochs": 3} if hasattr(model, "max_epochs") else {"max_iter": 7}
    # Learning the first dictionary would be most of the lines; that of "lenet" is.
    if "nu1" in model.get_params() and "lenet" not in name:
        lengths["init"] = "samples"
    return model.set_params(**lengths), data


class InterruptsAtLines:
    """Counts the lines that are executed inside, and sends SIGINT before some of them."""

    def __init__(self, *numbers):
        self.numbers = numbers
        self.n_lines = 0

    def __enter__(self):
        sys.settrace(self.enter_frame)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        sys.settrace(None)

    def enter_frame(self, frame, event, argument):
        name = frame.f_code.co_filename
        is_traced = name.startswith(TRACED[0]) or name.endswith(TRACED[1:])
        return self.enter_line if is_traced else None

    def enter_line(self, frame, event, argument):
        if event == "line":
            self.n_lines += 1
            if self.n_lines in self.numbers:
                # Tracing ends with the interrupt, an error of this function; for a second one it is
                # begun anew with the next call.
                sys.setprofile(lambda *_: sys.settrace(self.enter_frame))
                signal.raise_signal(signal.SIGINT)
        return self.enter_line


def state_of(model):
    """All that learning changes: the weights, and the rest."""
    if isinstance(model, OnlineDictionaryLearning):
        means = {f"mean {number}": mean.copy() for number, mean in enumerate(model._means)}
        return {"atoms": model.components_.copy()}, means
    training = model._training
    return arrays_of(model.module_.state_dict(), training.moments, training.curves["loss"])


def arrays_of(module_state, moments, losses):
    weights = {name: tensor.numpy().copy() for name, tensor in module_state.items()}
    named = {f"{n}.{key}": t for n, m in moments.tensors.items() for key, t in m.items()}
    rest = {name: tensor.numpy().copy() for name, tensor in named.items()}
    return weights, rest | {"losses": np.array(losses)}


@pytest.fixture
def states_after_each_step(monkeypatch, tmp_path):
    """What a fit that ends after so many steps is to be, and what it finds at its end."""

    def states_of(name):
        states = {}

        def note(checkpoint, module, optimizer, state, early_stopping):
            best = early_stopping and early_stopping.best_state
            arguments = best or module.state_dict(), Moments.of(optimizer), state.curves["loss"]
            states[state.iteration] = arrays_of(*arguments)

        def note_dictionary(model, checkpoint, idle):
            states[model.n_iter_] = state_of(model)

        model, data = make_short(name, checkpoint=tmp_path / "not written")
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "write", note)
            patch.setattr(OnlineDictionaryLearning, "_save", note_dictionary)
            model.fit(*data)
        return states, found_in(name, model)

    monkeypatch.setattr(_checkpoint, "_STEPS_BETWEEN", 1)
    return states_of


def interrupt(learn, *lines):
    """Learn, with Ctrl-C before some lines; whether it raised, whether it warned, and the lines."""
    raised = False
    with warnings.catch_warnings(record=True) as caught, InterruptsAtLines(*lines) as seen:
        warnings.simplefilter("always")
        try:
            learn()
        except KeyboardInterrupt:
            raised = True
    for warning in caught:
        assert "interrupted after" in str(warning.message)
    assert_process_is_as_it_was()
    return raised, bool(caught), seen.n_lines


def assert_process_is_as_it_was():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert torch.is_grad_enabled()
    assert not get_config()["skip_parameter_validation"]
    assert not _blas._of_process._inside
    with ThreadPoolExecutor(1) as another_thread:  # this one may take it twice
        lock = _base._global_rng_lock
        assert another_thread.submit(lambda: lock.acquire(blocking=False)).result()
        another_thread.submit(lock.release).result()


def identities(model):
    return {name: id(value) for name, value in vars(model).items()}


def weights_differ(one, other):
    return any(not np.array_equal(one[name], other[name]) for name in one)


def assert_usable(name, model, states):
    """What it is after one of its steps; and it can go on."""
    weights, rest = state_of(model)
    assert_same(rest, states[model.n_iter_][1])
    if weights_differ(weights, states[model.n_iter_][0]):
        # Of early stopping they are the best, perhaps before those of this step had a score.
        assert "early stopping" in name
        assert_same(weights, states[model.n_iter_ - 1][0])
    found_in(name, model)
    if not isinstance(model, OnlineDictionaryLearning):
        assert not model.module_.training
        assert len(model.loss_curve_) == model.n_iter_
        iterations = [entry["iteration"] for entry in model.history_]
        assert iterations == sorted(set(iterations))


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize(
    ("name", "n_points"),
    [
        ("dropout and early stopping", 6),
        ("online, drawn atoms", 4),
        *(pytest.param(name, 50, marks=soak) for name in fits.FITS),
    ],
)
def test_interrupted_fit_leaves_a_model_that_is_whole(
    name, n_points, twice, states_after_each_step, tmp_path, tried
):
    states, at_the_end = states_after_each_step(name)
    new, data = make_short(name)
    parameters = new.get_params(deep=False)
    before = clone(new).set_params(random_state=1).fit(*data)
    _, _, n_lines = interrupt(lambda: new.fit(*data))
    rng = np.random.default_rng(int(twice))
    for number, line in enumerate(rng.integers(1, n_lines, n_points, endpoint=True)):
        path = tmp_path / f"{number}"
        model = copy.copy(before).set_params(**{**parameters, "checkpoint": path})
        attributes = identities(model)
        generator = torch.get_rng_state()
        lines = [line, line + rng.integers(1, 400)] if twice else [line]
        raised, warned, _ = interrupt(lambda model=model: model.fit(*data), *lines)
        assert raised or warned
        if identities(model) == attributes:
            assert raised
            assert not warned
        else:
            assert_usable(name, model, states)
        assert torch.equal(torch.get_rng_state(), generator)
        assert not list(tmp_path.glob("*.partial"))
        # Learned on from the checkpoint, if there is one, it ends where it would have.
        assert_same(found_in(name, model.fit(*data)), at_the_end)
    tried(f"Ctrl-C {'twice' if twice else 'once'}, survived", n_points)


@pytest.mark.parametrize(
    ("name", "n_points"),
    [
        ("dropout and early stopping", 4),
        ("online, drawn atoms", 4),
        *(pytest.param(name, 25, marks=soak) for name in fits.FITS),
    ],
)
def test_interrupted_partial_fit_leaves_a_model_of_whole_calls(name, n_points, tried):
    halfway = begin(name)
    before, after = (digest_of(name, m) for m in (halfway, go_on(name, copy.copy(halfway))))
    other = copy.copy(halfway)
    _, _, n_lines = interrupt(lambda: go_on(name, other))
    for line in np.random.default_rng(0).integers(1, n_lines, n_points):
        model = copy.copy(halfway)
        raised, warned, _ = interrupt(lambda model=model: go_on(name, model), line)
        assert raised
        assert not warned
        assert digest_of(name, halfway) == before
        if identities(model) == identities(halfway):
            go_on(name, model)
        assert digest_of(name, model) == after  # perhaps all had been learned
    tried("Ctrl-C in partial_fit, survived", n_points)


def encode(solver):
    return sparse_encode(X[20:], X[:20], lambda1=0.05, solver=solver)


@pytest.mark.parametrize(
    ("name", "n_points"),
    [
        ("identity", 10),
        ("dense", 10),
        *(pytest.param(name, 100, marks=soak) for name in fits.FITS),
        *(pytest.param(f"solver: {name}", 100, marks=soak) for name in SOLVERS_HERE),
    ],
)
def test_interrupted_answer_leaves_nothing_behind(name, n_points, tried):
    """`interrupt` looks at what is left."""
    if name.startswith("solver"):
        calls = [lambda: encode(name.removeprefix("solver: "))]
    else:
        samples, model = MODELS[name][1], fit(name)
        methods = [m for m in ("predict", "transform") if hasattr(model, m)]
        calls = [
            functools.partial(getattr(model, m), samples) for m in methods if hasattr(model, m)
        ]
    for answer in calls:
        expected = answer()
        _, _, n_lines = interrupt(answer)
        for line in np.random.default_rng(0).integers(1, n_lines, n_points):
            raised, _, _ = interrupt(answer, line)
            assert raised
        np.testing.assert_array_equal(answer(), expected)
    tried("Ctrl-C in predict, transform and sparse_encode, survived", n_points * len(calls))


@pytest.mark.parametrize("name", ["identity", "online, drawn atoms"])
def test_checkpoint_is_written_although_ctrl_c_comes_meanwhile(name, tmp_path, monkeypatch):
    replace = os.replace

    def interrupt_and_replace(*paths):
        signal.raise_signal(signal.SIGINT)
        replace(*paths)

    monkeypatch.setattr(os, "replace", interrupt_and_replace)
    monkeypatch.setattr(_checkpoint, "_STEPS_BETWEEN", 5)
    model, data = fits.make(name, checkpoint=tmp_path / "fit.checkpoint")
    with pytest.warns(UserWarning, match="interrupted after 5 "):
        model.fit(*data)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.checkpoint"]


@pytest.mark.parametrize("at", range(4))
def test_generators_are_put_back_where_ctrl_c_comes_just_then(at, monkeypatch):
    """Also those of a network that is trained before the dictionary."""
    set_state, before, calls = torch.set_rng_state, torch.get_rng_state(), []

    def interrupted(state):
        calls.append(state)
        if len(calls) == at + 1:
            signal.raise_signal(signal.SIGINT)
        set_state(state)

    network = DeTraMeClassifier([8], max_epochs=1, dropout=0.1, random_state=0)
    model = TaskDrivenDictionaryClassifier(8, features=network, max_iter=2, random_state=0)
    monkeypatch.setattr(torch, "set_rng_state", interrupted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(KeyboardInterrupt):
            model.fit(X, y)
    assert torch.equal(torch.get_rng_state(), before)
