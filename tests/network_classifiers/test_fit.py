"""How DeTraMeClassifier and ConvNetClassifier learn."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from torch import nn

from skddl import ConvNetClassifier, DeTraMeClassifier
from skddl._base import deterministic_convolutions
from skddl.nn import QMetricReLU
from skddl.training import _checkpoint
from tests.data import assert_same_model, model_state, small_digits

from .data import KINDS, SHAPE, quick, quick_twin

X, y = small_digits()
X64 = X.astype(np.float64)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.mark.parametrize("estimator", [DeTraMeClassifier, ConvNetClassifier])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        pytest.param(
            {"architecture": "plain-3", "image_shape": SHAPE, "width": 0.2, "max_epochs": 30},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_default_parameters_classify_raw_digits(estimator, parameters):
    """A third held out, as in examples/demo.py; an RBF SVM reaches 0.99 there."""
    samples, labels = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        samples, labels, test_size=1 / 3, random_state=0
    )
    model = estimator(random_state=0, **parameters).fit(X_train, y_train)
    assert model.score(X_test, y_test) >= 0.96


def test_a_long_training_that_ends_at_chance_says_so():
    with pytest.warns(ConvergenceWarning, match=r"next to nothing: .* learning_rate \(it is 1e-09"):
        ConvNetClassifier(learning_rate=1e-9, max_epochs=50, random_state=0).fit(X, y)


def test_steps_are_those_of_algorithm_1_with_momentum():
    """Three steps on one batch that holds all samples, with autograd and nothing else of ours."""
    X2, y2 = X64[:40], torch.from_numpy(y[:40])
    parameters = {
        "hidden_layer_sizes": 6,
        "dtype": "float64",
        "batch_norm": False,
        "standardize": False,
        "n_steps": 2,
        "learning_rate": 0.5,
        "momentum": 0.8,
        "weight_decay": 0.03,
        "label_smoothing": 0.1,
        "lr_schedule": "cosine",
        "max_epochs": 3,
    }
    model = quick(**parameters).fit(X2, y2)
    start = quick(**parameters | {"learning_rate": 1e-300}).fit(X2, y2)
    values = {name: value.clone() for name, value in start.module_.named_parameters()}
    names = ("features.1.1.weight", "features.1.1.bias", "classifier.weight", "classifier.bias")
    metric = ("features.1.2.weight", "features.1.2.h", "features.1.2.b")
    assert {*values} == {*names, *metric}
    velocity = {name: torch.zeros_like(value) for name, value in values.items()}
    target = torch.full((40, 10), 0.1 / 10, dtype=torch.float64)
    target[torch.arange(40), y2] += 0.9
    for step in range(3):
        p = {name: v.detach().requires_grad_() for name, v in values.items()}
        z = torch.from_numpy(X2) @ p[names[0]].T + p[names[1]]
        u = torch.zeros_like(z)
        for _ in range(2):
            u = torch.relu(p[metric[1]] * z + (u - z) @ p[metric[0]].T - p[metric[2]])
        scores = u @ p[names[2]].T + p[names[3]]
        loss = -(target * scores.log_softmax(1)).sum(1).mean()
        assert model.loss_curve_[step] == pytest.approx(loss.item(), abs=1e-12)
        gradients = dict(zip(p, torch.autograd.grad(loss, [*p.values()]), strict=True))
        rate = 0.5 * 0.5 * (1 + np.cos(np.pi * step / 3))
        with torch.no_grad():
            for name, value in p.items():
                decay = 0.03 if name in names else 0.0  # the metric is not decayed
                velocity[name] = 0.8 * velocity[name] + gradients[name] + decay * value
                values[name] = value - rate * velocity[name]
            values[metric[0]].fill_diagonal_(0)  # Algorithm 1, lines 20 to 22
            values[metric[1]].clamp_(0, 1)
            values[metric[2]].clamp_(min=0)
    for name, value in model.module_.named_parameters():
        torch.testing.assert_close(value.data, values[name].data, rtol=0, atol=1e-10)
    assert model.module_.features[1][2].weight.abs().max() > 1e-3


def test_constraints_hold_after_every_step_of_a_training(kind):
    seen = []

    def check(model):
        metrics = [m for m in model.module_.modules() if isinstance(m, QMetricReLU)]
        for metric in metrics:
            taps = metric.weight
            if metric.kernel_size:
                centre = metric.kernel_size // 2
                taps = taps[:, :, centre, centre]
            assert not taps.diagonal().any()
            assert 0 <= metric.h.min() <= metric.h.max() <= 1
            assert metric.b.min() >= 0
        seen.append([m.weight.abs().max().item() for m in metrics])

    class Watching(DeTraMeClassifier):
        def _make_loss(self):
            compute_loss = super()._make_loss()

            def watch(batch):
                check(self)
                return compute_loss(batch)

            return watch

    model = quick(kind, estimator=Watching, learning_rate=0.5, decay_all=True).fit(X, y)
    check(model)  # after the last step
    assert len(seen) == model.n_iter_ + 1 == 26
    assert seen[0] == [0.0] * len(seen[0])
    assert min(seen[-1]) > 1e-3
    metrics = [m for m in model.module_.modules() if isinstance(m, QMetricReLU)]
    h, b = (torch.cat([getattr(m, name).detach() for m in metrics]) for name in "hb")
    # The bounds are at work: some values are on them, some are not.
    for at_bound in (h == 1, b == 0):
        assert 0 < at_bound.sum() < len(at_bound)


def test_twin_is_the_network_with_relus(kind):
    twin = quick_twin(kind).fit(X, y)
    assert_same_model(twin, quick(kind, activation="relu").fit(X, y))
    # Before the first step, the network computes what its twin does.
    nothing_learned = {"learning_rate": 1e-300, "max_epochs": 1, "weight_decay": 0.0}
    network, twin = (make(kind, **nothing_learned).fit(X, y) for make in (quick, quick_twin))
    assert network.loss_curve_ == twin.loss_curve_
    shared = model_state(network)
    for name, value in model_state(twin).items():
        np.testing.assert_array_equal(shared[name], value)


def test_another_seed_gives_another_model(kind):
    first, other = (model_state(quick(kind, random_state=seed).fit(X, y)) for seed in (0, 1))
    assert np.abs(first["classifier.weight"] - other["classifier.weight"]).max() > 1e-3


def test_convolutions_on_a_gpu_are_told_to_be_deterministic():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with deterministic_convolutions(torch.device("cuda")):
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
    assert (cudnn.deterministic, cudnn.benchmark) == before


def test_training_asks_for_deterministic_convolutions(monkeypatch):
    inside = []

    @contextmanager
    def watched(device):
        inside.append(device)
        yield
        inside.append("left")

    def augment(images):
        assert inside == [torch.device("cpu")]
        return images

    monkeypatch.setattr("skddl._supervised.deterministic_convolutions", watched)
    quick("plain", augment=augment, max_epochs=1).fit(X, y)
    assert inside == [torch.device("cpu"), "left"]


@pytest.mark.parametrize("more", [{}, {"dropout": 0.3, "augment": "shift-flip"}])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_global_random_states_are_untouched(tmp_path, more, checkpointed):
    if checkpointed:
        more = more | {"checkpoint": tmp_path / "training.checkpoint"}
        quick("plain", **more).fit(X, y)  # what follows restores from the file
    numpy_state = np.random.get_state
    before = torch.get_rng_state(), numpy_state(legacy=False)
    quick("plain", **more).fit(X, y).partial_fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(numpy_state(legacy=False), before[1])


def test_partial_fit_takes_classes_that_come_later():
    model = quick("plain").partial_fit(X[y < 5], y[y < 5], classes=range(10))
    assert model.classes_.tolist() == list(range(10))
    for _ in range(20):
        model.partial_fit(X, y)
    assert model.score(X[y >= 5], y[y >= 5]) > 0.5


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_layer_sizes": (20, 16)},
        {"n_steps": 2},
        {"activation": "relu"},
        {"batch_norm": False},
        {"dropout": 0.1},
        {"standardize": False},
        {"memory_efficient": True},
    ],
)
@pytest.mark.parametrize("going_on", ["fit", "partial_fit"])
def test_a_network_that_is_trained_further_cannot_be_of_another_kind(going_on, changed):
    model = quick(warm_start=True, max_epochs=1).fit(X, y)
    model.set_params(**changed)
    (name,) = changed
    with pytest.raises(ValueError, match=f"{name}=.* does not fit the model"):
        getattr(model, going_on)(X, y)
    assert model.n_iter_ == 5


def test_samples_are_standardised_by_the_training_data():
    samples = X64 * np.linspace(0, 50, 64) + np.linspace(-5, 5, 64)  # the first column is constant
    dense = quick(max_epochs=1, dtype="float64").fit(samples, y)
    inputs = dense.module_.features[0]
    np.testing.assert_allclose(inputs.mean, samples.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(inputs.scale[1:], samples.std(axis=0)[1:], atol=1e-12)
    assert inputs.scale[0] == 5
    images = np.stack([X64.reshape(-1, 8, 8), 3 * X64.reshape(-1, 8, 8) + 1], axis=1)
    plain = quick("plain", image_shape=(2, 8, 8), max_epochs=1, dtype="float64").fit(images, y)
    inputs = plain.module_.features[0]
    np.testing.assert_allclose(inputs.mean.flatten(), images.mean(axis=(0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(inputs.scale.flatten(), images.std(axis=(0, 2, 3)), atol=1e-12)
    raw = quick(max_epochs=1, standardize=False).fit(samples, y).module_.features[0]
    np.testing.assert_array_equal(raw(torch.from_numpy(X)), X)


def test_samples_of_another_scale_are_learned_just_as_well():
    model = quick().fit(X, y)
    for power in (-30, 30):
        scaled = quick().fit(X * 2.0**power, y)
        np.testing.assert_array_equal(scaled.predict_proba(X * 2.0**power), model.predict_proba(X))


def test_samples_held_out_have_no_part_in_training():
    rng = np.random.RandomState(0)
    held_out = train_test_split(np.arange(200), test_size=0.2, stratify=y, random_state=rng)[1]
    changed = X.copy()
    changed[held_out] = 100.0
    models = [
        quick(early_stopping=True, validation_fraction=0.2, n_iter_no_change=100).fit(samples, y)
        for samples in (X, changed)
    ]
    assert models[0].module_.features[0].mean.equal(models[1].module_.features[0].mean)
    assert models[0].loss_curve_ == models[1].loss_curve_


def test_early_stopping_keeps_the_best_state_with_its_batch_norms():
    model = quick(
        "plain",
        max_epochs=100,
        learning_rate=0.2,
        early_stopping=True,
        validation_fraction=0.3,
        n_iter_no_change=4,
        tol=0.0,
    ).fit(X, y)
    scores = [entry["validation_score"] for entry in model.history_]
    best = int(np.argmax(scores))
    assert len(scores) == best + 1 + 4 < 100
    rng = np.random.RandomState(0)
    held_out = train_test_split(np.arange(200), test_size=0.3, stratify=y, random_state=rng)[1]
    assert model.score(X[held_out], y[held_out]) == pytest.approx(max(scores))


def test_network_of_one_s_own():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), QMetricReLU(12))
    shapes = []

    def architecture(input_shape):
        shapes.append(input_shape)
        return network

    model = quick(architecture=architecture, max_epochs=20).fit(X, y)
    assert shapes == [(64,)]
    assert not network[2].weight.any()  # the user's own is not trained
    assert model.module_.features[1][2].weight.any()
    assert model.transform(X).shape == (200, 12)
    assert model.score(X, y) > 0.9
    quick(architecture=architecture, image_shape=SHAPE).fit(X, y)
    assert shapes[-1] == SHAPE


@pytest.mark.parametrize("hidden_layer_sizes", [7, (7,), [7], np.array([7])])
def test_one_hidden_layer_may_be_written_in_many_ways(hidden_layer_sizes):
    model = quick(hidden_layer_sizes=hidden_layer_sizes, max_epochs=1).fit(X, y)
    assert model.transform(X).shape == (200, 7)


def test_weights_of_samples_count():
    weight = np.random.default_rng(0).uniform(0.5, 2, size=200)
    first, second = (quick().fit(X64, y, sample_weight=w) for w in (weight, 1024 * weight))
    assert_same_model(first, second)
    assert first.loss_curve_ != quick().fit(X64, y).loss_curve_
    assert_same_model(
        quick(class_weight={label: 1 + label % 2 for label in range(10)}).fit(X, y),
        quick().fit(X, y, sample_weight=1.0 + y % 2),
    )


def test_history_has_an_entry_per_epoch():
    model = quick(max_epochs=3).fit(X, y)
    assert [entry["iteration"] for entry in model.history_] == [5, 10, 15]
    means = np.reshape(model.loss_curve_, (3, 5)).mean(axis=1)
    assert [entry["loss"] for entry in model.history_] == pytest.approx(means)
    assert means[-1] < means[0]


def test_ctrl_c_keeps_the_model_so_far():
    class Interrupted(DeTraMeClassifier):
        def _make_loss(self):
            compute_loss = super()._make_loss()

            def interrupt(batch):
                if self._training.iteration == 7:
                    raise KeyboardInterrupt
                return compute_loss(batch)

            return interrupt

    with pytest.warns(UserWarning, match="interrupted after 7 of 25 iterations"):
        model = quick("plain", estimator=Interrupted).fit(X, y)
    assert model.n_iter_ == 7
    assert len(model.loss_curve_) == 7
    assert model.predict(X).shape == (200,)


@pytest.mark.parametrize("estimator", [DeTraMeClassifier, ConvNetClassifier])
def test_callbacks_see_the_epochs_and_may_stop(estimator):
    pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9 or newer")
    scores = []

    class Stopping:
        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            scores.append(fitted_estimator.score(X, y))
            return len(scores) == 3

        def teardown(self, estimator, context):
            pass

    model = quick("plain", estimator=estimator, max_epochs=100)
    model.set_callbacks(Stopping())
    assert model.fit(X, y).n_iter_ == 15
    assert scores[-1] == model.score(X, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_killed_fit_goes_on_to_the_same_model(tmp_path, monkeypatch, early_stopping):
    """With momentum, batch norms, dropout and augmentation."""
    monkeypatch.setattr(_checkpoint, "_STEPS_BETWEEN", 10)

    class Killed(BaseException):
        pass

    class Dying(DeTraMeClassifier):
        die_at = None

        def _make_loss(self):
            compute_loss = super()._make_loss()

            def dying(batch):
                if self._training.iteration == Dying.die_at:
                    raise Killed
                return compute_loss(batch)

            return dying

    parameters = {
        "estimator": Dying,
        "max_epochs": 6,
        "dropout": 0.2,
        "augment": "shift-flip",
        "early_stopping": early_stopping,
        "n_iter_no_change": 1000,
    }
    reference = quick("plain", **parameters).fit(X, y)
    parameters["checkpoint"] = tmp_path / "fit.checkpoint"
    for die_at in (11, 16):
        monkeypatch.setattr(Dying, "die_at", die_at)
        with pytest.raises(Killed):
            quick("plain", **parameters).fit(X, y)
    monkeypatch.setattr(Dying, "die_at", 9)  # if it started anew, it would be killed again
    resumed = quick("plain", **parameters).fit(X, y)
    assert_same_model(resumed, reference)
    assert resumed.history_ == reference.history_
    assert resumed.loss_curve_ == reference.loss_curve_
