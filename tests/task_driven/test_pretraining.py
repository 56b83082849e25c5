"""Features of a network that is trained before the dictionary is learned."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from skddl import (
    ConvNetClassifier,
    DeTraMeClassifier,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from tests.data import assert_same_model, peak_of_learning_a_memmap, small_digits

from .data import quick

X, y = small_digits()
IMAGES = X.reshape(-1, 1, 8, 8)
SHAPE = (1, 8, 8)
SMALL = {"architecture": "conv-3", "width": 0.2, "max_epochs": 4, "learning_rate": 0.05}


def network(**parameters):
    return ConvNetClassifier(**SMALL | parameters)


def test_the_start_has_the_features_of_the_trained_network():
    seed = np.random.RandomState(0).randint(2**31)
    trained = network(image_shape=SHAPE, random_state=seed).fit(X, y)
    # A learning rate that changes nothing: but for the statistics of batch norms this is the start.
    model = quick(features=network(), image_shape=SHAPE, max_iter=1, learning_rate=1e-30).fit(X, y)
    expected = dict(trained.module_.features.named_parameters())
    found = dict(model.module_.features.named_parameters())
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_the_user_s_network_stays_as_it_is():
    given = network()
    quick(features=given, image_shape=SHAPE).fit(X, y)
    assert not hasattr(given, "module_")
    assert given.image_shape is None
    assert given.random_state is None


def test_the_recommended_network(monkeypatch):
    monkeypatch.setattr("skddl._pretraining._MIN_STEPS", 60)
    monkeypatch.setattr("skddl._pretraining._MIN_EPOCHS", 1)
    model = quick(features="convnet").fit(IMAGES, y)
    assert model.score(IMAGES, y) > 0.95
    assert_array_equal(model.predict(IMAGES), model.predict(IMAGES[:, 0].reshape(len(X), -1)))
    assert_same_model(model, quick(features="convnet", image_shape=SHAPE).fit(X, y))


@pytest.mark.parametrize("estimator", [ConvNetClassifier, DeTraMeClassifier])
def test_networks_on_tables(estimator):
    features = estimator(hidden_layer_sizes=(30,), max_epochs=5, dropout=0.2)
    model = quick(features=features).fit(X, y)
    assert model.components_.shape == (20, 30)
    assert model.score(X, y) > 0.8


def test_unlabelled_samples_do_not_train_the_network():
    marked = y.copy()
    marked[::2] = -1
    parameters = {"features": network(), "image_shape": SHAPE, "max_iter": 1, "lambda1": 0.1}
    # Their mean and scale are others, which batch norms must not notice.
    samples = np.where(marked[:, None] == -1, 5 * X, X)
    mixed = quick(unlabeled_weight=0.1, learning_rate=1e-30, **parameters).fit(samples, marked)
    labelled = quick(learning_rate=1e-30, **parameters).fit(X[1::2], y[1::2])
    assert_allclose(mixed.components_, labelled.components_, atol=1e-3)
    expected = labelled.module_.features.state_dict()
    for name, value in mixed.module_.features.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_as_part_of_scikit_learn():
    model = quick(features=network(), image_shape=SHAPE)
    assert clone(model).get_params()["features__width"] == 0.2
    grid = {"features__max_epochs": [1, 3]}
    assert len(GridSearchCV(model, grid, cv=2).fit(X, y).cv_results_["params"]) == 2


def test_a_fit_goes_on():
    model = quick(features=network(), image_shape=SHAPE, warm_start=True).fit(X, y)
    assert model.fit(X, y).n_iter_ == 24
    assert model.partial_fit(X, y).n_iter_ == 29
    with pytest.raises(ValueError, match="features="):
        model.set_params(features__width=0.3).fit(X, y)


def test_what_the_user_s_network_has_learned_does_not_matter(tmp_path):
    given = network(image_shape=SHAPE)
    parameters = {"image_shape": SHAPE, "checkpoint": tmp_path / "fit"}
    reference = quick(features=clone(given), **parameters).fit(X, y)
    model = quick(features=given.fit(X, y), **parameters).fit(X, y)
    assert_same_model(model, reference)
    model.set_params(checkpoint=None, warm_start=True).fit(X, y)
    assert model.n_iter_ == 24


def test_the_shape_of_images_may_be_that_of_the_network():
    model = quick(features=network(image_shape=SHAPE)).fit(X, y)
    assert_same_model(model, quick(features=network(), image_shape=SHAPE).fit(X, y))
    assert_array_equal(model.predict(IMAGES), model.predict(X))
    with pytest.raises(ValueError, match=r"image_shape=\(1, 4, 16\) is not that of the network"):
        quick(features=network(image_shape=SHAPE), image_shape=(1, 4, 16)).fit(X, y)


def test_a_network_of_images_needs_images():
    with pytest.raises(ValueError, match="features='convnet' needs images"):
        quick(features="convnet").fit(X, y)
    with pytest.raises(ValueError, match="architecture='conv-3' needs images"):
        quick(features=network()).fit(X, y)


def test_a_network_that_diverges_is_an_error_of_the_start():
    model = quick(features=network(learning_rate=1e30), image_shape=SHAPE)
    with pytest.raises(ValueError, match="learning_rate"):
        model.fit(X, y)
    assert not hasattr(model, "module_")


class Interrupting(nn.Module):
    """Raises Ctrl-C in the third step of training."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 8)
        self.n_steps = 0

    def forward(self, x):
        self.n_steps += self.training
        if self.n_steps == 3:
            raise KeyboardInterrupt
        return self.linear(x)


def test_interrupted_training_of_the_network_ends_the_fit():
    features = ConvNetClassifier(architecture=lambda shape: Interrupting(), max_epochs=9)
    model = quick().fit(X, y)
    attributes = dict(vars(model.set_params(features=features, n_features_out=None)))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert vars(model) == attributes


def test_a_network_that_is_trained_need_not_be_trained_again(tmp_path, monkeypatch):
    parameters = {"image_shape": SHAPE, "checkpoint": tmp_path / "fit"}
    reference = quick(features=network(), image_shape=SHAPE).fit(X, y)

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TaskDrivenDictionaryClassifier, "_make_loss", stop)
        with pytest.raises(KeyboardInterrupt):
            quick(features=network(), **parameters).fit(X, y)
    monkeypatch.setattr(ConvNetClassifier, "_forward_batch", stop)
    assert_same_model(quick(features=network(), **parameters).fit(X, y), reference)


def test_first_samples_of_one_class():
    model = quick(features=network(), image_shape=SHAPE)
    model.partial_fit(X[y == 0], y[y == 0], classes=range(10))
    assert_array_equal(model.predict(X), 0)


def test_samples_and_classes_have_their_weights():
    kept = y < 5
    weights = {label: float(label < 5) for label in range(10)}
    parameters = {"features": network(), "image_shape": SHAPE}
    by_class = quick(class_weight=weights, **parameters).fit(X, y)
    by_sample = quick(**parameters).fit(X, y, sample_weight=kept)
    assert set(by_class.predict(X)) == set(by_sample.predict(X)) == set(range(5))


def test_a_memmap_is_never_copied_whole(tmp_path):
    features = ConvNetClassifier(hidden_layer_sizes=(8,), max_epochs=1)
    model = quick(n_components=4, features=features, max_iter=3, early_stopping=True)
    # Two batches of 1,000 in float64, for mean and variance, are 6.4 MB. A copy of the nine tenths
    # that are not held out would be 3.2 MB more.
    assert peak_of_learning_a_memmap(model, tmp_path, (9000, 400)) < 9e6


def test_presets():
    model = TaskDrivenDictionaryClassifier.from_preset("paper-cnn", max_iter=7)
    assert (model.lambda1, model.nu1, model.lambda2, model.max_iter) == (4.0, 0.1, 0.0, 7)
    linear = TaskDrivenDictionaryClassifier.from_preset("paper-lin")
    assert (linear.features, linear.n_features_out, linear.n_components) == ("linear", 196, 400)
    with pytest.raises(ValueError, match=r"preset must be one of \['paper-cnn', .*, got 'best'"):
        TaskDrivenDictionaryClassifier.from_preset("best")
    with pytest.raises(TypeError, match="atoms"):
        TaskDrivenDictionaryClassifier.from_preset("recommended", atoms=3)


def test_a_regressor_has_no_networks_of_classifiers():
    with pytest.raises(ValueError, match="'features' parameter"):
        TaskDrivenDictionaryRegressor(features="convnet").fit(X, y)
    with pytest.raises(ValueError, match="'features' parameter"):
        TaskDrivenDictionaryRegressor(features=network()).fit(X, y)


@pytest.mark.parametrize("features", ["convnet", network()])
def test_the_number_of_features_of_a_network_is_not_chosen(features, monkeypatch):
    monkeypatch.setattr(ConvNetClassifier, "_fit_inside", None)  # before anything is trained
    model = TaskDrivenDictionaryClassifier(features=features, n_features_out=50)
    with pytest.raises(ValueError, match="n_features_out=50 cannot be chosen"):
        model.fit(X, y)
