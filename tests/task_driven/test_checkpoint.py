"""A fit that was killed goes on from its checkpoint, and ends in the same model."""

from functools import partial

import numpy as np
import pytest
import sklearn
from torch import nn

from tests.data import assert_same_model, model_state, small_digits

from .data import quick, small_net

X, y = small_digits(100, n_classes=3)
# A pass has 3 steps; the checkpoint is written every 100.
STEPS = {"max_iter": 150, "n_components": 6}


class Killed(BaseException):
    """As sudden as SIGKILL, as far as `fit` can tell."""


class Network(nn.Module):
    kill_at = None

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 8), nn.Dropout(0.3))
        self.n_steps = 0

    def forward(self, x):
        if self.training:
            self.n_steps += 1
            if self.n_steps == Network.kill_at:
                raise Killed
        return self.layers(x)


def network(input_shape):
    return Network()


def dropout(input_shape, p):
    return nn.Sequential(nn.Linear(64, 8), nn.Dropout(p))


RATE = 0.5


def dropout_of_module(input_shape):
    return dropout(input_shape, RATE)


class Dropout:
    def __init__(self, p):
        self.p = p

    def __call__(self, input_shape):
        return dropout(input_shape, self.p)

    def network(self, input_shape):
        return self(input_shape)


def dropout_later(p):
    return lambda input_shape: dropout(input_shape, p)


def fit_killed_at(step, monkeypatch, **parameters):
    with monkeypatch.context() as patch:
        patch.setattr(Network, "kill_at", step)
        with pytest.raises(Killed):
            quick(features=network, **STEPS | parameters).fit(X, y)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_killed_fit_goes_on_to_the_same_model(tmp_path, monkeypatch, optimizer, early_stopping):
    parameters = {
        "optimizer": optimizer,
        "learning_rate": 0.01,
        "early_stopping": early_stopping,
        "validation_fraction": 0.3,
        "n_iter_no_change": 60,
    }
    reference = quick(features=network, **STEPS, **parameters).fit(X, y)
    parameters["checkpoint"] = tmp_path / "fit.checkpoint"
    fit_killed_at(110, monkeypatch, **parameters)
    # If it started anew, it would be killed again.
    monkeypatch.setattr(Network, "kill_at", 60)
    resumed = quick(features=network, **STEPS, **parameters).fit(X, y)
    assert_same_model(resumed, reference)
    assert resumed.history_ == reference.history_
    assert resumed.loss_curve_ == reference.loss_curve_
    assert resumed.n_iter_ == reference.n_iter_ > 110
    # Finished, it is not trained again.
    monkeypatch.setattr(Network, "kill_at", 1)
    assert_same_model(quick(features=network, **STEPS, **parameters).fit(X, y), reference)


@pytest.mark.parametrize(
    ("changed", "X_changed", "y_changed"),
    [
        ({"nu1": 0.5}, X, y),
        ({"random_state": 1}, X, y),
        ({"optimizer": "adam"}, X, y),
        ({"features": small_net}, X, y),
        ({}, X[:90], y[:90]),
        ({}, -X, y),
        ({}, X, y[::-1]),
        ({}, np.concatenate([X[:50], X[50:51] * 2, X[51:]]), y),
    ],
)
def test_checkpoint_of_another_fit_is_refused_before_anything_is_computed(
    tmp_path, changed, X_changed, y_changed
):
    path = tmp_path / "fit.checkpoint"
    parameters = {"max_iter": 3, "n_components": 6, "checkpoint": path}
    model = quick(**parameters).fit(X, y)
    content, state, attributes = path.read_bytes(), model_state(model), dict(vars(model))

    def features(input_shape):
        raise AssertionError("computed")

    features.__qualname__ = "small_net"
    if "features" in changed:
        changed = {"features": features}
    model.set_params(**changed)
    with pytest.raises(ValueError, match=r"fit\.checkpoint' belongs to a fit with other"):
        model.fit(X_changed, y_changed)
    assert path.read_bytes() == content
    model.set_params(**{name: attributes[name] for name in changed})
    assert vars(model) == attributes
    np.testing.assert_array_equal(
        model_state(model)["classifier.weight"], state["classifier.weight"]
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (partial(dropout, p=0.5), partial(dropout, p=0.1)),
        (lambda shape: dropout(shape, 0.5), lambda shape: dropout(shape, 0.1)),
        (dropout_later(0.5), dropout_later(0.1)),
        (Dropout(0.5), Dropout(0.1)),
        (Dropout(0.5).network, Dropout(0.1).network),
    ],
)
def test_functions_that_make_different_networks_are_told_apart(tmp_path, first, second):
    parameters = {"max_iter": 3, "n_components": 6, "checkpoint": tmp_path / "fit.checkpoint"}
    quick(features=first, **parameters).fit(X, y)
    with pytest.raises(ValueError, match=r"fit\.checkpoint' belongs to a fit with other"):
        quick(features=second, **parameters).fit(X, y)


def test_functions_are_known_by_what_they_find_in_their_module(tmp_path, monkeypatch):
    parameters = {"max_iter": 3, "n_components": 6, "checkpoint": tmp_path / "fit.checkpoint"}
    quick(features=dropout_of_module, **parameters).fit(X, y)
    monkeypatch.setitem(globals(), "RATE", 0.1)
    with pytest.raises(ValueError, match=r"fit\.checkpoint' belongs to a fit with other"):
        quick(features=dropout_of_module, **parameters).fit(X, y)


@pytest.mark.parametrize("content", [b"", b"text"])
def test_foreign_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "fit.checkpoint"
    model = quick(max_iter=3, n_components=6, checkpoint=path).fit(X, y)
    path.write_bytes(content)
    attributes = dict(vars(model))
    with pytest.raises(ValueError, match=r"fit\.checkpoint' is not a checkpoint of skddl, or is"):
        model.fit(X, y)
    assert vars(model) == attributes


def test_what_means_the_same_may_be_written_otherwise(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    images = {"image_shape": (1, 8, 8), "class_weight": {0: 1, 1: 2, 2: 1}}
    model = quick(max_iter=3, checkpoint=first, **images).fit(X, y)
    first.rename(second)
    content = second.read_bytes()
    images = {"image_shape": [1, 8, 8], "class_weight": {np.int64(k): 1 + k % 2 for k in (2, 1, 0)}}
    again = quick(
        max_iter=np.int64(3), checkpoint=str(second), verbose=1, random_state=np.int64(0), **images
    ).fit(X, y)
    assert_same_model(model, again)
    assert second.read_bytes() == content


def test_sparse_output_may_change_where_a_fit_goes_on(tmp_path):
    model = quick(max_iter=3, checkpoint=tmp_path / "first", warm_start=True).fit(X, y)
    content = (tmp_path / "first").read_bytes()
    again = sklearn.clone(model).set_params(sparse_output=True).fit(X, y)
    assert_same_model(model, again)
    assert (tmp_path / "first").read_bytes() == content
    longer, other = (
        m.set_params(checkpoint=tmp_path / name, sparse_output=flag).fit(X, y)
        for m, name, flag in ((model, "second", True), (again, "third", False))
    )
    assert longer.n_iter_ == 6
    assert_same_model(longer, other)


def test_a_warm_start_needs_a_file_of_its_own(tmp_path):
    model = quick(max_iter=3, checkpoint=tmp_path / "first", warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="Remove it or pass another path as checkpoint"):
        model.fit(X, y)
    assert model.set_params(checkpoint=tmp_path / "second").fit(X, y).n_iter_ == 6
