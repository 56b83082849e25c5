"""The recipe of DeTraMeClassifier and ConvNetClassifier: rates, decay, augmentation, precision."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skddl.nn import QMetricReLU
from tests.data import assert_same_model, model_state, small_digits

from .data import KINDS, SHAPE, quick

X, y = small_digits()
X64 = X.astype(np.float64)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_dropout_and_augmentation_act_in_training_alone():
    plain = quick("plain").fit(X, y)
    for more in ({"dropout": 0.3}, {"augment": "shift"}, {"augment": "flip"}):
        model = quick("plain", **more).fit(X, y)
        assert model.loss_curve_ != plain.loss_curve_
        np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))


def test_augmentation_of_one_s_own_sees_images_before_they_are_standardised():
    seen = []

    def augment(images):
        seen.append(images.clone())
        return images

    model = quick("plain", augment=augment, max_epochs=1).fit(X, y)
    assert_same_model(model, quick("plain", max_epochs=1).fit(X, y))
    assert {tuple(images.shape[1:]) for images in seen} == {SHAPE}
    pixels = np.sort(np.concatenate([images.numpy().ravel() for images in seen]))
    np.testing.assert_array_equal(pixels, np.sort(X.ravel()))
    model.predict(X)
    assert len(seen) == 5


def rates_of(model):
    return [entry["learning_rate"] for entry in model.history_]


def test_schedules():
    # The rate of the last step of each epoch of five.
    done = [(5 * epoch + 4) / 50 for epoch in range(10)]
    expected = {
        "constant": [0.1] * 10,
        "cosine": [0.05 * (1 + np.cos(np.pi * share)) for share in done],
        "step": [0.1] * 3 + [0.02] * 3 + [0.004] * 2 + [0.0008] * 2,
        (lambda share: 1 - share / 2): [0.1 * (1 - share / 2) for share in done],
    }
    for schedule, rates in expected.items():
        model = quick(lr_schedule=schedule, max_epochs=10).fit(X, y)
        assert rates_of(model) == pytest.approx(rates)


def test_warm_start_goes_on_with_a_schedule_of_its_own():
    model = quick(warm_start=True, lr_schedule="step", max_epochs=5).fit(X, y)
    before = model_state(model)
    model.set_params(max_epochs=10).fit(X, y)
    assert model.n_iter_ == 25 + 50
    first = [0.1, 0.02, 0.02, 0.004, 0.0008]  # drops after 1.5, 3 and 4 epochs
    again = [0.1] * 3 + [0.02] * 3 + [0.004] * 2 + [0.0008] * 2
    assert rates_of(model) == pytest.approx(first + again)
    assert not np.array_equal(model_state(model)["classifier.weight"], before["classifier.weight"])


def groups_of(model):
    """Weight decay of each parameter by name."""
    names = {id(p): name for name, p in model.module_.named_parameters()}
    return {
        names[id(p)]: group["weight_decay"]
        for group in model._make_optimizer().param_groups
        for p in group["params"]
    }


def test_decay_spares_metrics_and_batch_norms_unless_asked(kind):
    model = quick(kind, max_epochs=1, weight_decay=0.01).fit(X, y)
    spared = {
        id(p)
        for module in model.module_.modules()
        if isinstance(module, (QMetricReLU, nn.BatchNorm1d, nn.BatchNorm2d))
        for p in module.parameters()
    }
    parameters = dict(model.module_.named_parameters())
    assert 0 < len(spared) < len(parameters)
    expected = {name: 0.0 if id(p) in spared else 0.01 for name, p in parameters.items()}
    assert groups_of(model) == expected
    assert set(groups_of(model.set_params(decay_all=True)).values()) == {0.01}


def test_what_is_decayed_may_change_when_training_goes_on():
    model = quick(warm_start=True, max_epochs=1).fit(X, y)
    metric = model.module_.features[1][3]
    assert isinstance(metric, QMetricReLU)
    before = metric.weight.detach().norm()
    model.set_params(decay_all=True, weight_decay=5.0, max_epochs=5).fit(X, y)
    assert model.module_.features[1][3].weight.norm() < 0.5 * before


def test_schedule_of_one_s_own_is_asked_for_no_more_than_there_is():
    asked = []

    def schedule(share):
        asked.append(share)
        return [1, 0.5, 0.1][int(3 * share)]

    quick(lr_schedule=schedule, max_epochs=3).fit(X, y)
    assert min(asked) == 0
    assert max(asked) == pytest.approx(14 / 15)


def test_options_reach_the_optimizer():
    model = quick(max_epochs=1, nesterov=True, momentum=0.7).fit(X, y)
    optimizer = model._make_optimizer()
    assert isinstance(optimizer, torch.optim.SGD)
    assert all(g["nesterov"] and g["momentum"] == 0.7 for g in optimizer.param_groups)
    model = quick(optimizer="adamw", learning_rate=0.01, max_epochs=20).fit(X, y)
    assert isinstance(model._make_optimizer(), torch.optim.AdamW)
    assert model.score(X, y) > 0.9


def test_memory_efficient_training_is_the_same_training(kind):
    models = [
        quick(kind, memory_efficient=lean, dtype="float64", max_epochs=2, n_steps=4).fit(X, y)
        for lean in (False, True)
    ]
    first, second = (model_state(model) for model in models)
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=0, atol=1e-9)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32():
    seen = set()

    class Activation(nn.ReLU):
        def forward(self, x):
            seen.add((self.training, x.dtype))
            return super().forward(x)

    model = quick(
        batch_norm=False,
        activation=lambda n_channels, kernel_size: Activation(),
        mixed_precision=True,
        max_epochs=20,
    ).fit(X, y)
    model.predict(X)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert {p.dtype for p in model.module_.parameters()} == {torch.float32}
    assert model.score(X, y) > 0.9
    assert quick("plain", mixed_precision=True, max_epochs=20).fit(X, y).score(X, y) > 0.9


@pytest.mark.slow
# torch's compiler imports what torch calls deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_training_is_the_same_training(kind):
    models = [
        quick(kind, compile=flag, dtype="float64", max_epochs=1).fit(X, y) for flag in (False, True)
    ]
    first, second = (model_state(model) for model in models)
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=0, atol=1e-9)
    copy.deepcopy(models[1]).predict(X)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.autograd.function.Function:DeprecationWarning")
@pytest.mark.parametrize("more", [{"memory_efficient": True}, {"mixed_precision": True}])
def test_what_compiles(more):
    model = quick(
        "plain", compile=True, augment="shift-flip", dropout=0.1, max_epochs=25, **more
    ).fit(X, y)
    losses = [entry["loss"] for entry in model.history_]
    assert losses[-1] < 0.8 * losses[0]


def test_partial_fit_makes_one_pass_at_a_constant_rate():
    model = quick(max_epochs=1)
    for n_calls in (1, 2, 3):
        assert model.partial_fit(X, y).n_iter_ == 5 * n_calls
    assert rates_of(model) == [0.1] * 3
    for _ in range(10):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.9
