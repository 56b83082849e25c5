"""Learning that is interrupted, killed or watched."""

import numpy as np
import pytest

from skddl import OnlineDictionaryLearning

from .data import learner, objective


def test_interrupted_fit_keeps_the_dictionary_so_far(digits, monkeypatch):
    X = digits[0]
    update = OnlineDictionaryLearning._update

    def interrupting(self, *arguments, **options):
        if self.n_iter_ == 7:
            raise KeyboardInterrupt
        return update(self, *arguments, **options)

    monkeypatch.setattr(OnlineDictionaryLearning, "_update", interrupting)
    with pytest.warns(UserWarning, match="interrupted after 7 mini-batches"):
        model = learner(solver="fista").fit(X)
    monkeypatch.undo()
    assert model.n_iter_ == 7
    start = learner(solver="fista", max_iter=1).fit(X)
    assert np.abs(model.components_ - start.components_).max() > 0.1
    assert model.transform(X).any()


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up."""


@pytest.mark.parametrize(
    "killed_at",
    [
        7,
        150,  # after atoms have been replaced
        249,  # before its end
    ],
)
@pytest.mark.parametrize("sparsity", [{}, {"lambda1": "auto", "n_nonzero_coefs": 4}])
def test_killed_fit_goes_on_to_the_same_dictionary(
    digits, tmp_path, monkeypatch, killed_at, sparsity
):
    X = np.concatenate([digits[0][:50], digits[0]])  # batches that do not divide the samples
    init = np.random.default_rng(0).standard_normal((90, 64))
    parameters = {"n_components": 90, "init": init, "max_iter": 250, "batch_size": 32, **sparsity}
    reference = learner(**parameters).fit(X)
    assert reference.n_redrawn_ > 0
    parameters["checkpoint"] = tmp_path / "fit.checkpoint"
    update = OnlineDictionaryLearning._update
    started_at = []

    def update_until_killed(self, *arguments, **options):
        started_at.append(self.n_iter_)
        if self.n_iter_ == killed_at:
            raise Killed
        return update(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(OnlineDictionaryLearning, "_update", update_until_killed)
        # As if each mini-batch took a minute.
        patch.setattr("skddl.training._checkpoint._SECONDS_BETWEEN", -1.0)
        with pytest.raises(Killed):
            learner(**parameters).fit(X)
        started_at.clear()
        with pytest.raises(Killed):
            learner(**parameters).fit(X)
        assert started_at == [killed_at]  # it went on from there
    for _ in range(2):  # and from the end
        resumed = learner(**parameters).fit(X)
        np.testing.assert_array_equal(resumed.components_, reference.components_)
        assert (resumed.n_iter_, resumed.n_redrawn_) == (reference.n_iter_, reference.n_redrawn_)
    np.testing.assert_array_equal(
        resumed.partial_fit(X).components_, reference.partial_fit(X).components_
    )


def test_checkpoint_of_another_fit_is_refused(digits, tmp_path):
    X, _ = digits
    path = tmp_path / "fit.checkpoint"
    learner(checkpoint=path, max_iter=5).fit(X)
    for other, samples in (({"max_iter": 6}, X), ({"lambda1": 0.2}, X), ({}, X[:500])):
        with pytest.raises(ValueError, match="belongs to a fit with other parameters"):
            learner(**{"checkpoint": path, "max_iter": 5, **other}).fit(samples)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a checkpoint of skddl"):
        learner(checkpoint=path, max_iter=5).fit(X)


def test_checkpoint_needs_a_seed(digits, tmp_path):
    X, _ = digits
    with pytest.raises(ValueError, match="random_state to be an int"):
        learner(checkpoint=tmp_path / "a", random_state=None).fit(X)


def test_callbacks_see_mini_batches_and_can_stop(digits):
    pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9 or newer")
    X, _ = digits
    seen = []

    class Recorder:
        def setup(self, estimator, context):
            seen.append("setup")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            if context.task_name == "mini-batch":
                seen.append(objective(X, fitted_estimator.components_))
            return len(seen) == stop_after

        def teardown(self, estimator, context):
            seen.append("teardown")

    stop_after = None
    model = learner(max_iter=20)
    model.set_callbacks(Recorder())
    model.fit(X)
    assert (seen[0], seen[-1], len(seen)) == ("setup", "teardown", 22)
    assert seen[-2] < 0.95 * seen[1]
    np.testing.assert_array_equal(model.components_, learner(max_iter=20).fit(X).components_)
    seen.clear()
    stop_after = 6
    model.fit(X)
    assert model.n_iter_ == 5


def test_verbose_shows_a_bar(digits, capfd):
    learner(max_iter=5, verbose=1).fit(digits[0])
    assert "5/5" in capfd.readouterr().err
    learner(max_iter=5).fit(digits[0])
    assert capfd.readouterr().err == ""
