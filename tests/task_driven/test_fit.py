"""How TaskDrivenDictionaryClassifier learns."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from skddl import (
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
    _dictionary_updates,
    load,
)
from skddl.sparse_coding import sparse_encode
from skddl.sparse_coding._solution import Supports
from skddl.training import OPTIMIZERS
from tests.data import assert_same_model, model_state, small_digits

from .data import quick, small_net

X, y = small_digits()
X64 = X.astype(np.float64)


def test_steps_are_those_of_algorithm_1():
    """Three steps on one batch that holds all samples, by the formulas of paper 1."""
    X2, y2 = X64[:40], y[:40]
    parameters = {
        "dtype": "float64",
        "batch_size": 40,
        "nu1": 0.3,
        "nu2": 0.02,
        "learning_rate": 0.4,
        "t0": 1.5,
        "lambda2": 0.01,
    }
    model = quick(max_iter=3, **parameters).fit(X2, y2)
    start = quick(max_iter=1, **parameters | {"learning_rate": 1e-300}).fit(X2, y2)
    features = start.module_.features
    Z, c = (p.detach().numpy().copy() for p in (features.weight, features.bias))
    D, W, b = start.components_.copy(), start.coef_.copy(), start.intercept_.copy()
    lambda1, lambda2 = model.lambda1_, 0.01
    one_hot = np.eye(10)[y2]
    for t in (1, 2, 3):
        inputs = X2 @ Z.T + c
        codes = sparse_encode(inputs, D, lambda1=lambda1, lambda2=lambda2)
        scores = codes @ W.T + b
        probabilities = np.exp(scores - scores.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        error = (probabilities - one_hot) / 40
        grad_W = error.T @ codes + 0.3 * W
        beta = np.zeros_like(codes)  # Algorithm 1
        for i, code in enumerate(codes):
            S = np.flatnonzero(code)
            gram = D[S] @ D[S].T + lambda2 * np.eye(len(S))
            beta[i, S] = np.linalg.solve(gram, (error @ W)[i, S])
        grad_D = beta.T @ (inputs - codes @ D) - codes.T @ (beta @ D)
        grad_Z = (beta @ D).T @ X2 + 0.02 * Z
        rho = min(0.4, 0.4 * 1.5 / t)
        # The intercepts are beyond the paper; b is not penalised.
        b, c = b - rho * error.sum(axis=0), c - rho * ((beta @ D).sum(axis=0) + 0.02 * c)
        W, D, Z = W - rho * grad_W, D - rho * grad_D, Z - rho * grad_Z
        D /= np.maximum(1, np.linalg.norm(D, axis=1, keepdims=True))
    assert np.abs(W - start.coef_).max() > 5e-3
    np.testing.assert_allclose(model.coef_, W, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.intercept_, b, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.components_, D, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.module_.features.weight.detach().numpy(), Z, atol=1e-9)
    np.testing.assert_allclose(model.module_.features.bias.detach().numpy(), c, atol=1e-9)


@pytest.mark.parametrize("features", ["linear", "lenet", small_net])
def test_what_is_learned_depends_on_the_seed_alone(features):
    first = quick(features=features, image_shape=(1, 8, 8)).fit(X, y)
    again, other = deepcopy(first).fit(X, y), clone(first).set_params(random_state=1).fit(X, y)
    assert_same_model(first, again)
    assert np.abs(other.coef_ - first.coef_).max() > 1e-3


@pytest.mark.parametrize("features", ["linear", "lenet", small_net])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_global_random_states_are_untouched(tmp_path, features, checkpointed):
    parameters = {"features": features, "image_shape": (1, 8, 8)}
    if checkpointed:
        parameters["checkpoint"] = tmp_path / "training.checkpoint"
        quick(**parameters).fit(X, y)  # what follows restores from the file
    legacy_state = np.random.get_state
    torch_state, numpy_state = torch.get_rng_state(), legacy_state(legacy=False)
    quick(**parameters).fit(X, y).partial_fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_equal(legacy_state(legacy=False), numpy_state)


def test_the_network_that_the_user_made_is_not_trained():
    network = nn.Sequential(nn.Linear(64, 8), nn.Tanh())
    before = network[0].weight.detach().clone()
    model = quick(features=lambda input_shape: network).fit(X, y)
    assert torch.equal(network[0].weight, before)
    assert not torch.equal(model.module_.features[0].weight, before)


def test_features_may_fit_a_classifier_themselves():
    def pretrained(input_shape):
        return quick(max_iter=2).fit(X, y).module_.features

    assert quick(features=pretrained).fit(X, y).score(X, y) > 0.7


def test_history_and_loss_curve_tell_what_happened():
    model = quick(max_iter=12).fit(X, y)  # 5 batches a pass
    assert model.n_iter_ == len(model.loss_curve_) == 12
    start, *passes = model.history_
    assert start == {"iteration": 0, "n_redrawn": 0}
    assert [entry["iteration"] for entry in passes] == [5, 10, 12]
    assert [entry["loss"] for entry in passes] == pytest.approx(
        [np.mean(model.loss_curve_[a:b]) for a, b in ((0, 5), (5, 10), (10, 12))]
    )
    rates = [min(0.05, 0.05 * 1.2 / t) for t in (5, 10, 12)]
    assert [entry["learning_rate"] for entry in passes] == pytest.approx(rates)
    assert 1 < passes[-1]["n_nonzero"] < 20


@pytest.mark.usefixtures("core")  # it takes many minutes without
def test_default_parameters_classify_digits():
    """A third held out, as in examples/demo.py; an RBF SVM reaches 0.99 there."""
    samples, labels = load_digits(return_X_y=True)
    split = train_test_split(samples, labels, test_size=1 / 3, random_state=0)
    X_train, X_test, y_train, y_test = split
    normalizer = SampleNormalizer()
    model = TaskDrivenDictionaryClassifier(random_state=0)
    model.fit(normalizer.fit_transform(X_train), y_train)
    assert model.score(normalizer.transform(X_test), y_test) >= 0.975


def test_a_class_between_two_others_is_learned():
    """Codes of either sign are odd functions of the sample, and cannot tell it."""
    positions = np.random.default_rng(0).uniform(-1, 1, size=(300, 2))
    labels = (np.abs(positions[:, 0]) < 0.5).astype(int)
    model = TaskDrivenDictionaryClassifier(lambda2=0.05, random_state=0, max_iter=100)
    assert model.fit(positions, labels).score(positions, labels) > 0.95
    with pytest.warns(ConvergenceWarning, match="learned next to nothing"):
        model.set_params(positive=False).fit(positions, labels)
    assert model.score(positions, labels) < 0.7


def test_training_lowers_the_loss():
    curve = quick(max_iter=100).fit(X, y).loss_curve_
    assert np.mean(curve[-5:]) < 0.7 * np.mean(curve[:5])


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_lowers_the_loss(optimizer):
    rate = 0.05 if optimizer == "sgd" else 0.002
    curve = quick(max_iter=60, optimizer=optimizer, learning_rate=rate).fit(X, y).loss_curve_
    assert np.mean(curve[-5:]) < 0.9 * np.mean(curve[:5])


@pytest.mark.parametrize("init", ["class-odl", "odl", "samples"])
def test_every_init_learns(init):
    model = quick(init=init, max_iter=60).fit(X, y)
    assert model.score(X, y) > 0.8
    assert len(model.components_) == 20


@pytest.mark.parametrize("init", ["class-odl", "odl", "samples"])
def test_constraints_of_sign_hold_throughout(init, tmp_path):
    model = quick(features="identity", init=init, positive=True, positive_dict=True, max_iter=60)
    model.fit(X, y)
    assert model.score(X, y) > 0.8
    for fitted in (model, model.partial_fit(X, y)):
        assert fitted.components_.min() == 0
        assert np.linalg.norm(fitted.components_, axis=1).max() <= 1 + 1e-6
        assert fitted.transform(X).min() == 0
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").transform(X), model.transform(X))
    with pytest.raises(ValueError, match="positive=False does not fit the model"):
        model.set_params(positive=False).partial_fit(X, y)


@pytest.mark.parametrize("features", ["identity", "linear"])
@pytest.mark.parametrize(
    "estimator", [TaskDrivenDictionaryClassifier, TaskDrivenDictionaryRegressor]
)
def test_codes_have_as_many_non_zeros_as_asked_for(features, estimator, tmp_path):
    shared = {"features": features, "random_state": 0}
    start = estimator(40, n_nonzero_coefs=5, max_iter=1, learning_rate=1e-9, **shared).fit(X, y)
    assert np.count_nonzero(start.transform(X)) / len(X) == pytest.approx(5, rel=0.05)
    # They would be denser by now.
    model = estimator(40, n_nonzero_coefs=5, max_iter=200, **shared).fit(X, y)
    assert np.count_nonzero(model.transform(X)) / len(X) == pytest.approx(5, rel=0.1)
    assert model.lambda1_ != start.lambda1_
    model.save(tmp_path / "model")
    same = load(tmp_path / "model")
    assert same.lambda1_ == model.lambda1_
    for fitted in (model, same):
        fitted.partial_fit(X, y)
    np.testing.assert_array_equal(same.transform(X), model.transform(X))
    with pytest.raises(ValueError, match=r"n_nonzero_coefs=5 finds lambda1 by itself"):
        model.set_params(lambda1=0.1).fit(X, y)
    with pytest.raises(ValueError, match=r"n_nonzero_coefs=41 is more than there are atoms"):
        model.set_params(lambda1="auto", n_nonzero_coefs=41).fit(X, y)


def test_images_may_be_augmented():
    batches = []

    def mirror(images):
        batches.append(images)
        return images.flip(3)

    images = X.reshape(-1, 1, 8, 8)
    mirrored = quick(features="identity", init="samples", augment=mirror).fit(images, y)
    assert {batch.shape for batch in batches} == {(40, 1, 8, 8)}
    plain = quick(features="identity", init="samples").fit(images, y)
    assert np.abs(mirrored.components_ - plain.components_).max() > 1e-3
    shifted = quick(augment="shift", max_iter=60).fit(images, y)
    assert_same_model(shifted, quick(augment="shift", max_iter=60).fit(images, y))
    assert shifted.score(images, y) > 0.8
    with pytest.raises(ValueError, match=r"augment='shift' needs images"):
        quick(augment="shift").fit(X, y)
    with pytest.raises(ValueError, match=r"must return images of the shape"):
        quick(augment=lambda images: images[:1]).fit(images, y)


@pytest.mark.parametrize("n_components", [1, 5])
def test_fewer_atoms_than_classes_are_enough_to_fit(n_components):
    model = quick(n_components=n_components).fit(X, y)
    assert model.coef_.shape == (10, n_components)
    assert model.score(X, y) > 0.1


def test_classes_of_one_sample_can_be_learned():
    chosen = np.unique(y, return_index=True)[1]
    model = quick(n_components=None, max_iter=50).fit(X[chosen], y[chosen])
    assert len(model.components_) == 10
    assert model.score(X[chosen], y[chosen]) == 1


def test_sample_of_weight_zero_is_left_out():
    weight = np.ones(200)
    weight[y == 9] = 0
    weight[:20] = 0
    kept = weight > 0
    model = quick().fit(X, y, sample_weight=weight)
    assert model.classes_.tolist() == list(range(9))
    reference = quick().fit(X[kept], y[kept])
    np.testing.assert_array_equal(model.coef_, reference.coef_)


def test_sample_weight_counts_relative_to_its_mean_and_is_not_changed():
    weight = np.random.default_rng(0).uniform(0.5, 2, size=200)
    copy = weight.copy()
    first, second = (quick().fit(X64, y, sample_weight=w) for w in (weight, 1024 * weight))
    np.testing.assert_array_equal(weight, copy)
    assert_same_model(first, second)
    assert np.abs(first.coef_ - quick().fit(X64, y).coef_).max() > 1e-3


def test_class_weight_is_a_sample_weight_by_class():
    by_class = {label: 3.0 if label == 1 else 0.5 for label in range(10)}
    weighted = quick(class_weight=by_class).fit(X, y)
    expected = quick().fit(X, y, sample_weight=np.where(y == 1, 3.0, 0.5))
    assert_same_model(weighted, expected)
    counts = np.bincount(y)
    assert_same_model(
        quick(class_weight="balanced").fit(X, y),
        quick().fit(X, y, sample_weight=200 / (10 * counts[y])),
    )


def rows_held_out(fraction):
    """Those of a fit with random_state=0, whose generator draws them first."""
    rng = np.random.RandomState(0)
    return train_test_split(np.arange(200), test_size=fraction, stratify=y, random_state=rng)[1]


def test_early_stopping_keeps_the_best_state():
    model = quick(
        max_iter=400, early_stopping=True, validation_fraction=0.3, n_iter_no_change=4, tol=0.0
    ).fit(X, y)
    scores = [entry["validation_score"] for entry in model.history_]  # the first of the start
    assert model.n_iter_ < 400
    best = int(np.argmax(scores))
    assert len(scores) == best + 1 + 4
    held_out = rows_held_out(0.3)
    assert len(held_out) == 60
    assert model.score(X[held_out], y[held_out]) == pytest.approx(max(scores))


def test_samples_held_out_have_no_part_in_the_start():
    held_out = rows_held_out(0.2)
    changed = X.copy()
    changed[held_out] = changed[held_out][::-1]
    models = [
        quick(early_stopping=True, validation_fraction=0.2, max_iter=5).fit(samples, y)
        for samples in (X, changed)
    ]
    assert_same_model(*models)


def test_partial_fit_makes_one_pass_and_goes_on_with_a_schedule_that_is_given():
    model = quick(t0=2)
    for n_calls in (1, 2, 3):
        model.partial_fit(X, y)
        assert model.n_iter_ == 5 * n_calls
        assert model.history_[-1]["learning_rate"] == pytest.approx(0.05 * 2 / (5 * n_calls))
    assert model.score(X, y) > 0.7


def test_partial_fit_after_fit_learns_what_is_new():
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = TaskDrivenDictionaryClassifier(random_state=0).fit(X, y)
    relabelled = np.array([1, 2, 0])[y]
    for _ in range(300):
        model.partial_fit(X, relabelled)
    assert model.score(X, relabelled) > 0.95


def test_a_stream_of_few_samples_a_call_gets_the_atoms_of_many():
    stream = TaskDrivenDictionaryClassifier(random_state=0)
    for _ in range(10):
        for rows in np.array_split(np.arange(len(X)), len(X) // 25):
            stream.partial_fit(X[rows], y[rows], classes=range(10))
    assert len(stream.components_) == 200
    assert stream.score(X, y) > 0.95


def test_partial_fit_takes_classes_that_come_later():
    model = quick(max_iter=5000).partial_fit(X[y < 5], y[y < 5], classes=np.arange(9, -1, -1))
    assert model.classes_.tolist() == list(range(10))
    for _ in range(40):
        model.partial_fit(X, y)
    assert model.score(X[y >= 5], y[y >= 5]) > 0.5


def test_partial_fit_refuses_other_classes():
    model = quick().partial_fit(X[y < 5], y[y < 5])
    before = model_state(model)
    with pytest.raises(ValueError, match=r"y has classes \[5, 6, 7, 8, 9\]"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="is not the same as in the first call"):
        model.partial_fit(X[y < 5], y[y < 5], classes=[0, 1])
    np.testing.assert_array_equal(
        model_state(model)["classifier.weight"], before["classifier.weight"]
    )
    assert model.n_iter_ == -(-int((y < 5).sum()) // 40)


def test_passes_of_partial_fit_draw_different_dropout_masks():
    seen = []

    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(64))

        def forward(self, x):
            if self.training:
                seen.append(torch.rand(1).item())
            return x * self.scale

    model = quick(features=lambda input_shape: Recorder(), batch_size=200)
    for _ in range(3):
        model.partial_fit(X, y)
    assert len(set(seen)) == 3


def test_warm_start_goes_on():
    model = quick(warm_start=True).fit(X, y)
    first = model_state(model)
    weight = model.coef_
    model.fit(X, y)
    assert model.n_iter_ == 24
    assert len(model.loss_curve_) == 24
    np.testing.assert_array_equal(weight, first["classifier.weight"])  # what was read stays
    assert 0 < np.abs(model.coef_ - weight).max() < 1
    assert model.history_[-1]["learning_rate"] == pytest.approx(0.05 * 1.2 / 24)
    with pytest.raises(ValueError, match="with warm_start they are those of the first fit"):
        model.fit(X, y + 1)
    assert model.n_iter_ == 24


def test_warm_start_heeds_changed_parameters():
    model = quick(warm_start=True, optimizer="adam", learning_rate=1e-3).fit(X, y)
    before = np.linalg.norm(model.coef_)
    model.set_params(optimizer="sgd", nu1=5.0, t0=1e6, learning_rate=0.1).fit(X, y)
    # A decay of 0.1 * 5 in each of 12 steps leaves what the loss holds up.
    assert np.linalg.norm(model.coef_) < 0.1 * before
    assert model.history_[-1]["learning_rate"] == 0.1


def test_atoms_that_nothing_used_are_counted_in_the_history(monkeypatch):
    draw_atoms = _dictionary_updates.draw_atoms

    def draw_short_ones(*arguments, **options):
        atoms = draw_atoms(*arguments, **options)
        atoms[:3] *= 1e-6  # too short to code anything
        return atoms

    monkeypatch.setattr(_dictionary_updates, "draw_atoms", draw_short_ones)
    model = quick(features="identity", init="odl").fit(X, y)
    assert model.history_[0]["n_redrawn"] == 3


def test_gradients_that_are_switched_off_do_not_matter():
    with torch.no_grad():
        model = quick().fit(X, y)
    assert_same_model(model, quick().fit(X, y))


@pytest.mark.parametrize("going_on", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "changed", [{"n_components": 19}, {"lambda1": 0.1}, {"fit_intercept": False}]
)
def test_a_network_that_is_trained_further_cannot_be_of_another_kind(going_on, changed):
    model = quick(warm_start=True).fit(X, y)
    model.set_params(**changed)
    (name,) = changed
    with pytest.raises(ValueError, match=f"{name}=.* does not fit the model"):
        getattr(model, going_on)(X, y)
    assert model.n_iter_ == 12
    assert model.set_params(warm_start=False).fit(X, y).n_iter_ == 12


def test_a_network_that_is_trained_further_may_be_described_in_other_words():
    model = quick(warm_start=True, image_shape=(1, 8, 8), features=lambda shape: small_net(shape))
    model.fit(X, y).set_params(image_shape=[1, 8, 8], n_components=np.int64(20))
    assert model.fit(X, y).n_iter_ == 24


def test_verbose_shows_a_progress_bar(capfd):
    quick(verbose=1).fit(X, y)
    assert "12/12" in capfd.readouterr().err
    quick().fit(X, y)
    assert capfd.readouterr().err == ""


def test_weights_of_partial_fit_are_not_relative_to_the_call():
    def coef(**weights):
        model = quick(**weights.pop("parameters", {})).partial_fit(X, y, classes=range(10))
        return model.partial_fit(X[:20], y[:20], **weights).coef_

    once, twice = coef(), coef(sample_weight=np.full(20, 2.0))
    assert not np.allclose(once, twice, rtol=1e-3, atol=0)
    # A class that a call does not show may have a weight.
    by_class = coef(parameters={"class_weight": dict.fromkeys(range(10), 1.0)})
    np.testing.assert_array_equal(by_class, once)


def test_balanced_weights_are_refused_by_partial_fit():
    with pytest.raises(ValueError, match="'balanced' needs all samples at once"):
        quick(class_weight="balanced").partial_fit(X, y)


def test_samples_without_weight_do_not_change_the_scale():
    outliers = np.concatenate([X, np.full((300, 64), 1e6, dtype=X.dtype)])
    labels = np.concatenate([y, np.zeros(300, dtype=y.dtype)])
    weight = np.concatenate([np.ones(len(y)), np.zeros(300)])
    model = quick().fit(outliers, labels, sample_weight=weight)
    assert model.lambda1_ == quick().fit(X, y).lambda1_


def test_batch_normalisation_gets_no_batch_of_one_sample():
    def net(shape):
        return nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16))

    # With lambda2, FISTA finds the codes of such features, too.
    model = quick(features=net, n_features_out=None, lambda2=0.1, batch_size=50, max_iter=8)
    assert model.fit(X[:151], y[:151]).n_iter_ == 8


@pytest.mark.usefixtures("core")  # other solvers begin anew
@pytest.mark.parametrize("unlabeled_weight", [0.0, 0.3])
def test_supports_that_are_remembered_change_nothing(monkeypatch, unlabeled_weight):
    memories = []
    memory_of = TaskDrivenDictionaryClassifier._support_memory

    def remember(estimator, samples):
        memories.append(memory_of(estimator, samples))
        return memories[-1]

    monkeypatch.setattr(TaskDrivenDictionaryClassifier, "_support_memory", remember)
    X, y = small_digits()
    y = np.where(np.arange(len(y)) % 3 == 0, -1, y) if unlabeled_weight else y
    parameters = {"unlabeled_weight": unlabeled_weight, "batch_size": 20, "max_iter": 60}
    remembering = quick(**parameters).fit(X, y)
    assert remembering.n_iter_ > 2 * len(X) / 20  # samples are seen again
    (memory,) = memories
    assert (memory.sizes > 0).float().mean() > 0.9
    monkeypatch.setattr(TaskDrivenDictionaryClassifier, "_support_memory", lambda *_: None)
    assert_same_model(remembering, quick(**parameters).fit(X, y))


@pytest.mark.parametrize(("n_samples", "width"), [(100, 20), (2**24, None), (2**22, 15)])
def test_supports_are_remembered_in_256_mebibytes(monkeypatch, n_samples, width):
    X, y = small_digits()
    model = quick(n_components=20).fit(X, y)
    monkeypatch.setattr(Supports, "empty", lambda n, width: (n, width))
    memory = model._support_memory(torch.empty(n_samples, 0))
    assert memory == (None if width is None else (n_samples, width))
    assert width is None or 4 * n_samples * (width + 1) <= 2**28
