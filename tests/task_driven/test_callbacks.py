"""scikit-learn's callbacks see the passes over the samples."""

import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skddl.callbacks import TensorBoard
from tests.data import assert_same_model, small_digits

from .data import quick

callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9 or newer")

X, y = small_digits(100, n_classes=3)
Y = np.array(["zero", "one", "two"])[y]  # the labels of the user, not their numbers


class Recorder:
    """Notes what it is told, and stops after `stop_after` epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.events = []
        self.scores = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append(("end", context.task_name))
        self.scores.append(fitted_estimator.score(X, y))
        return self.stop_after is not None and len(self.scores) == self.stop_after

    def teardown(self, estimator, context):
        self.events.append("teardown")


def fit_with(recorder, **parameters):
    model = quick(**parameters)
    model.set_callbacks(recorder)
    return model.fit(X, Y)


def test_epochs_are_told_to_a_callback():
    recorder = Recorder()
    model = fit_with(recorder, max_iter=8)  # passes of 3, 3 and 2 steps
    epochs = [event for event in recorder.events if event[1] == "epoch"]
    assert epochs == [("begin", "epoch"), ("end", "epoch")] * 3
    assert recorder.events[0] == "setup"
    assert recorder.events[-1] == "teardown"
    assert [name for name, task in recorder.events[1:-1] if task == "fit"] == ["begin", "end"]
    assert recorder.scores[-1] == model.score(X, Y)
    assert min(recorder.scores) > 0.5


def test_training_is_the_same_with_callbacks():
    assert_same_model(fit_with(Recorder()), quick().fit(X, Y))


def test_without_callbacks_no_context_is_made_of_an_epoch(monkeypatch):
    """scikit-learn would keep all of them until the fit is over: 37 MB of 100,000."""
    monkeypatch.setattr("sklearn.callback._callback_context.CallbackContext.subcontext", None)
    assert quick(max_iter=8).fit(X, Y).n_iter_ == 8


def test_callback_that_returns_true_stops_training():
    model = fit_with(Recorder(stop_after=2), max_iter=100)
    assert model.n_iter_ == 6
    assert_same_model(model, quick(max_iter=6, t0=10.0).fit(X, Y))


def test_unlabelled_samples_reach_callbacks_as_such():
    labels = np.where(np.arange(100) % 2, y, -1)
    seen = []

    class Labels(Recorder):
        def on_fit_task_end(self, estimator, context, *, y):
            seen.append(y)

    model = quick(unlabeled_weight=0.3)
    model.set_callbacks(Labels())
    model.fit(X, labels)
    for array in seen:
        np.testing.assert_array_equal(array, labels)


def test_scoring_monitor_of_scikit_learn_scores_every_epoch():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = quick(max_iter=9)
    model.set_callbacks(monitor)
    model.fit(X, Y)
    rows = monitor.get_logs().data
    scores = [row["accuracy"] for row in rows if row["task_name"] == "epoch"]
    assert len(scores) == 3
    assert scores[-1] == model.score(X, Y)


def test_progress_bar_of_scikit_learn_runs():
    pytest.importorskip("rich")
    model = quick(max_iter=9)
    model.set_callbacks(callback.ProgressBar())
    assert model.fit(X, Y).n_iter_ == 9


def test_model_that_was_never_fitted_says_so():
    with pytest.raises(NotFittedError):
        quick().predict(X)


def test_tensorboard_has_the_history(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watch = TensorBoard(tmp_path)
    models = [quick(max_iter=9, early_stopping=True, n_iter_no_change=50) for _ in range(2)]
    for model in models:
        model.set_callbacks(watch)
        model.fit(X, Y)
    runs = list(tmp_path.iterdir())
    assert len(runs) == 2
    for run in runs:
        events = EventAccumulator(str(run)).Reload()
        for name in ("loss", "learning_rate", "n_nonzero", "validation_score"):
            expected = [(e["iteration"], e[name]) for e in models[0].history_[1:]]
            found = [(event.step, event.value) for event in events.Scalars(name)]
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_tensorboard_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    model = quick()
    model.set_callbacks(TensorBoard(tmp_path))
    with pytest.raises(ImportError, match=r"skddl\[tensorboard\]"):
        model.fit(X, Y)
