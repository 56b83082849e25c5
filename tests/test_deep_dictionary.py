"""DeepDictionaryClassifier."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skddl import DeepDictionaryClassifier, TaskDrivenDictionaryClassifier, load
from skddl.training import _checkpoint
from tests.data import assert_same_model

X, y = load_digits(return_X_y=True)
X = X / 16
IMAGES = X.reshape(-1, 1, 8, 8)
PATCHES = {"patch_size": 3, "stride": (1, 2), "image_shape": (1, 8, 8)}


def quick(n_components=(10, 12), *, max_iter=20, **parameters):
    return DeepDictionaryClassifier(n_components, max_iter=max_iter, random_state=0, **parameters)


@pytest.mark.parametrize("patches", [{}, PATCHES])
def test_atoms_may_be_kept_non_negative(patches):
    model = quick(positive_dict=True, **patches).fit(X, y)
    assert all(atoms.min() == 0 for atoms in model.components_)
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("init", ["odl", "samples"])
def test_one_dense_layer_is_task_driven_dictionary_learning(init):
    shared = {
        "init": init,
        "lambda2": 0.02,
        "positive": False,
        "nu1": 0.01,
        "learning_rate": 0.01,
        "optimizer": "sgd",
        "max_iter": 30,
        "random_state": 0,
    }
    deep = DeepDictionaryClassifier(15, **shared).fit(X, y)
    task_driven = TaskDrivenDictionaryClassifier(15, features="identity", **shared).fit(X, y)
    assert deep.lambda1_ == [task_driven.lambda1_]
    assert_array_equal(deep.components_[0], task_driven.components_)
    assert_array_equal(deep.decision_function(X), task_driven.decision_function(X))
    assert deep.loss_curve_ == task_driven.loss_curve_


def test_dense_layers_learn():
    start, model = (quick(max_iter=n, batch_size=50).fit(X, y) for n in (1, 300))
    assert [atoms.shape for atoms in model.components_] == [(10, 64), (12, 10)]
    assert model.coef_.shape == (10, 12)
    assert model.intercept_.shape == (10,)
    assert model.score(X, y) > max(0.9, start.score(X, y) + 0.05)
    codes = model.transform(X)
    assert codes.shape == (len(X), 12)
    assert (codes >= 0).all()
    assert len(model.get_feature_names_out()) == 12


def test_patches():
    start, model = (quick(max_iter=n, **PATCHES).fit(X, y) for n in (1, 60))
    assert [atoms.shape for atoms in model.components_] == [(10, 9), (12, 90)]
    assert model.transform(X[:3]).shape == (3, 12 * 2 * 2)
    assert model.score(X, y) > max(0.9, start.score(X, y))
    for atoms in model.components_:
        assert (np.linalg.norm(atoms, axis=1) < 1 + 1e-5).all()


def test_patches_under_a_dense_layer_and_pooled():
    model = quick((6, 8, 9), **PATCHES | {"patch_size": (3, 2, None), "stride": 1}).fit(X, y)
    assert [atoms.shape for atoms in model.components_] == [(6, 9), (8, 24), (9, 8 * 5 * 5)]
    pooled = quick(global_pooling=True, **PATCHES).fit(X, y)
    assert pooled.transform(X[:2]).shape == (2, 12)


def test_images_are_what_rows_are():
    rows = quick(**PATCHES).fit(X, y)
    images = quick(patch_size=3, stride=(1, 2)).fit(IMAGES, y)
    assert_array_equal(rows.decision_function(X), images.decision_function(IMAGES))


def test_scale_of_images_does_not_matter():
    """Also not if it is no power of two, with weights in the units of the scaled patches."""
    small = quick(**PATCHES, lambda1=0.05).fit(X, y)
    large = quick(**PATCHES, lambda1=0.05).fit(1024 * X, y)
    assert_allclose(small.decision_function(X), large.decision_function(1024 * X), rtol=1e-4)
    automatic = [quick(**PATCHES).fit(scale * X, y).score(scale * X, y) for scale in (1, 3)]
    assert automatic[1] == pytest.approx(automatic[0], abs=0.03)


def test_each_layer_has_its_own_weights():
    model = quick(lambda1=(0.3, "auto")).fit(X, y)
    assert model.lambda1_[0] == 0.3
    assert model.lambda1_[1] not in (0.3, "auto")


def test_as_part_of_scikit_learn():
    search = GridSearchCV(
        quick(), {"n_components": [(8,), (8, 8)], "patch_size": [None]}, cv=2
    ).fit(X[:300], y[:300])
    assert search.best_score_ > 0.5
    assert clone(search.best_estimator_).n_components in [(8,), (8, 8)]


def test_a_fit_goes_on():
    model = quick(warm_start=True, **PATCHES).fit(X, y)
    assert model.fit(X, y).n_iter_ == 40
    assert model.partial_fit(X[:200], y[:200]).n_iter_ == 42
    with pytest.raises(ValueError, match="stride"):
        model.set_params(stride=1).fit(X, y)


@pytest.mark.parametrize("layers", [{"n_components": (10, 12)}, PATCHES])
@pytest.mark.parametrize("scale", [1e200, 1e-60])
def test_samples_that_the_dtype_cannot_hold(layers, scale):
    with pytest.raises(ValueError, match="do not fit into dtype='float32'"):
        quick(**layers).fit(scale * X, y)


def test_samples_and_classes_have_their_weights():
    kept = y < 5
    weights = {label: float(label < 5) for label in range(10)}
    by_class = quick(class_weight=weights).fit(X, y)
    by_sample = quick().fit(X, y, sample_weight=kept)
    alone = quick().fit(X[kept], y[kept])
    assert set(by_class.predict(X)) == set(by_sample.predict(X)) == set(range(5))
    assert_same_model(by_sample, alone)


def test_first_samples_of_some_classes():
    model = quick(**PATCHES).partial_fit(X[y < 2], y[y < 2], classes=range(10))
    assert model.coef_.shape == (10, 12 * 2 * 2)
    assert set(model.predict(X)) <= {0, 1}


@pytest.mark.parametrize("init", ["odl", "samples"])
def test_a_weight_that_leaves_no_code_is_warned_of_once(init):
    with pytest.warns(ConvergenceWarning, match="every code is zero") as warnings:
        quick(lambda1=(1e3, "auto"), init=init).fit(X, y)
    assert len(warnings) == 1


def test_pickled_it_predicts_the_same():
    model = quick(**PATCHES).fit(X[:300], y[:300])
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict_proba(X[:300]), model.predict_proba(X[:300]))


@pytest.mark.parametrize("layers", [{"n_components": (10, 12)}, PATCHES])
def test_killed_fit_goes_on_to_the_same_model(tmp_path, monkeypatch, layers):
    monkeypatch.setattr(_checkpoint, "_STEPS_BETWEEN", 10)
    parameters = layers | {"max_iter": 15, "checkpoint": tmp_path / "fit", "batch_size": 20}
    reference = quick(**parameters | {"checkpoint": None}).fit(X, y)
    compute_loss = DeepDictionaryClassifier._compute_loss

    def kill(model, batch):
        if model.n_iter_ == 11:
            raise RuntimeError("killed")
        return compute_loss(model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(DeepDictionaryClassifier, "_compute_loss", kill)
        with pytest.raises(RuntimeError, match="killed"):
            quick(**parameters).fit(X, y)
    resumed = quick(**parameters).fit(X, y)
    assert_same_model(resumed, reference)
    assert resumed.loss_curve_ == reference.loss_curve_


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": ()}, "at least one layer"),
        ({"n_components": (5, 0)}, r"n_components=\(5, 0\) must be"),
        ({"n_components": (5, 5.5)}, "ints >= 1"),
        ({"n_components": (True, 5)}, "ints >= 1"),
        ({"lambda1": (True, 0.1)}, "numbers > 0, or 'auto'"),
        ({"lambda1": (0.1,)}, r"one for each of the 2 layers"),
        ({"lambda1": (0.1, -1)}, "numbers > 0, or 'auto'"),
        ({"patch_size": (3, "all"), "image_shape": (1, 8, 8)}, "ints >= 1, or None"),
        ({"patch_size": (None, 3), "image_shape": (1, 8, 8)}, "above a dense layer"),
        ({"patch_size": 3}, "patch_size needs images"),
        ({"patch_size": (3, 7), "image_shape": (1, 8, 8)}, "patch_size=7 of layer 2 is larger"),
        ({"global_pooling": True}, "global_pooling=True needs"),
        ({"stride": 2}, r"stride=2 is for layers with patches.* 1 for dense layers"),
        ({"padding": (0, 1), "patch_size": (3, None), "image_shape": (1, 8, 8)}, "0 for dense"),
        ({"stride": (1, 0)}, "stride="),
        ({"padding": (-1, 0)}, "padding="),
        ({"positive": "yes"}, "'positive' parameter"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(X, y)


@pytest.mark.parametrize("n_nonzero_coefs", [3, (4, None), (None, 2)])
@pytest.mark.parametrize("patches", [{}, pytest.param(PATCHES, marks=pytest.mark.slow)])
def test_codes_of_a_layer_keep_as_many_non_zeros_as_asked_for(patches, n_nonzero_coefs, tmp_path):
    model = quick(n_nonzero_coefs=n_nonzero_coefs, max_iter=150, **patches).fit(X, y)
    model.save(tmp_path / "model.skddl")
    assert_same_model(load(tmp_path / "model.skddl"), model)
    plain = quick(max_iter=1, learning_rate=1e-12, **patches).fit(X, y)
    first = {}
    for layer, code in enumerate(model.module_.codes):
        code.register_forward_hook(lambda *args, layer=layer: first.update({layer: args[2]}))
    model.predict(X)
    wanted = n_nonzero_coefs if isinstance(n_nonzero_coefs, tuple) else (n_nonzero_coefs,) * 2
    for layer, expected in enumerate(wanted):
        if expected is None:
            assert layer > 0 or model.lambda1_[layer] == plain.lambda1_[layer]
        else:
            found = (first[layer] != 0).sum(-1, dtype=torch.float32).mean()
            assert float(found) == pytest.approx(expected, rel=0.15)


def test_a_number_of_non_zeros_is_not_combined_with_a_weight():
    with pytest.raises(ValueError, match="n_nonzero_coefs=2 finds lambda1 by itself"):
        quick(lambda1=(0.1, "auto"), n_nonzero_coefs=2).fit(X, y)
    with pytest.raises(ValueError, match="n_nonzero_coefs=11 is more than there are atoms"):
        quick(n_nonzero_coefs=11).fit(X, y)
    with pytest.raises(ValueError, match=r"n_nonzero_coefs=\(1, 2, 3\) must be one value"):
        quick(n_nonzero_coefs=(1, 2, 3)).fit(X, y)
