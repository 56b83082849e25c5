"""What DeTraMeClassifier and ConvNetClassifier answer to bad input: an error, and no change."""

import numpy as np
import pytest
import torch
from torch import nn

from skddl import ConvNetClassifier, DeTraMeClassifier
from tests.data import assert_same_model, model_state, small_digits

from .data import SHAPE, quick, quick_twin

X, y = small_digits(100, n_classes=3)


@pytest.fixture
def fitted():
    return quick(max_epochs=1).fit(X, y)


def assert_refused(model, message, *, parameters, error=ValueError):
    """`fit` with other parameters fails, and leaves the model as it was."""
    model.set_params(**parameters)
    attributes, state = dict(vars(model)), model_state(model)
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert vars(model) == attributes
    for name, value in model_state(model).items():
        np.testing.assert_array_equal(value, state[name])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": 0}, "'hidden_layer_sizes' parameter"),
        ({"hidden_layer_sizes": (10, 0)}, "hidden_layer_sizes must be ints >= 1"),
        ({"hidden_layer_sizes": (10, 2.5)}, "hidden_layer_sizes must be ints >= 1"),
        ({"architecture": "plain-4"}, "'architecture' parameter"),
        ({"architecture": "lenet"}, "'architecture' parameter"),
        ({"activation": "tanh"}, "'activation' parameter"),
        ({"n_steps": 0}, "'n_steps' parameter"),
        ({"width": 0.0}, "'width' parameter"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"dropout": (0.1, 1.0)}, r"dropout must be a rate in \[0, 1\) or two of them"),
        ({"dropout": (0.1, 0.1, 0.1)}, r"dropout must be a rate in \[0, 1\) or two of them"),
        ({"dropout": ("a", 0.1)}, r"dropout must be a rate in \[0, 1\) or two of them"),
        ({"augment": "rotate"}, "'augment' parameter"),
        ({"augment": "shift"}, "augment='shift' needs images"),
        ({"max_epochs": 0}, "'max_epochs' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"learning_rate": 0.0}, "'learning_rate' parameter"),
        ({"momentum": 1.0}, "'momentum' parameter"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov=True needs momentum > 0"),
        ({"weight_decay": -1.0}, "'weight_decay' parameter"),
        ({"lr_schedule": "straight"}, "'lr_schedule' parameter"),
        ({"label_smoothing": 1.0}, "'label_smoothing' parameter"),
        ({"optimizer": "lbfgs"}, "'optimizer' parameter"),
        ({"mixed_precision": True, "dtype": "float64"}, "needs dtype='float32'"),
        ({"dtype": "bfloat16"}, "'dtype' parameter"),
        ({"device": "abacus"}, "device='abacus' cannot be used here"),
        ({"architecture": "plain-3"}, "architecture='plain-3' needs images: pass image_shape"),
        ({"architecture": "resnet-8"}, "architecture='resnet-8' needs images: pass image_shape"),
        ({"image_shape": (1, 7, 8)}, r"image_shape=\(1, 7, 8\) means 56 features, but X has 64"),
        ({"image_shape": (8, 8)}, r"image_shape must be \(channels, height, width\)"),
        (
            {"architecture": "plain-9", "image_shape": SHAPE},
            r"image_shape=\(1, 8, 8\) is too small for architecture='plain-9'.* at least 9",
        ),
        ({"batch_size": 1}, "Batch normalisation cannot learn from a batch of one sample"),
        ({"architecture": lambda shape: nn.Unflatten(1, (8, 8))}, "gives an output of shape"),
        ({"checkpoint": "fit.checkpoint", "random_state": None}, "checkpoint needs random_state"),
    ],
)
def test_bad_parameter(fitted, parameters, message):
    assert_refused(fitted, message, parameters=parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"architecture": "lenet"}, "architecture='lenet' needs images: pass image_shape"),
        ({"architecture": "lenet", "image_shape": SHAPE}, "too small for LeNet.* at least 16"),
        ({"architecture": "vgg"}, "'architecture' parameter"),
    ],
)
def test_bad_parameter_of_the_twin(parameters, message):
    assert_refused(quick_twin(max_epochs=1).fit(X, y), message, parameters=parameters)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [(nn.Linear(64, 8), "got a module itself"), (lambda shape: 3, "architecture must return a")],
)
def test_what_is_no_function_that_makes_a_network(fitted, architecture, message):
    assert_refused(fitted, message, parameters={"architecture": architecture}, error=TypeError)


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (nn.GELU, "must be a callable that takes the number of channels and the kernel size"),
        (nn.GELU(), "must be a callable that takes the number of channels and the kernel size"),
        (lambda n_channels, kernel_size: torch.relu, "activation must return a torch.nn.Module"),
    ],
)
def test_what_makes_no_activation(fitted, activation, message):
    assert_refused(fitted, message, parameters={"activation": activation}, error=TypeError)


@pytest.mark.parametrize("factor", [None, -1.0, np.nan, 1j])
def test_what_is_no_factor_on_the_learning_rate(fitted, factor):
    assert_refused(
        fitted,
        "lr_schedule must return a number >= 0",
        parameters={"lr_schedule": lambda t: factor},
    )


@pytest.mark.parametrize("scale", [1e300, 1e-60])
def test_samples_that_the_dtype_cannot_hold(scale):
    with pytest.raises(ValueError, match="do not fit into dtype='float32'"):
        quick().fit(scale * X.astype(np.float64), y)


def test_a_column_that_float32_cannot_tell_from_a_constant():
    """Such as time stamps."""
    samples = 1.7e9 + 10 * np.random.default_rng(0).normal(size=(300, 3))
    samples[:, 0] = 1e6  # constant, which is no trouble
    labels = samples[:, 1] > 1.7e9
    with pytest.raises(ValueError, match=r"Column 1 of X varies by .* around 1.7e\+09: too"):
        quick().fit(samples, labels)
    model = quick(dtype="float64", max_epochs=30).fit(samples, labels)
    assert model.score(samples, labels) > 0.95
    assert not model.module_.features[0](torch.from_numpy(samples))[:, 0].any()
    with pytest.raises(
        ValueError, match=r"too little for float64\. Subtract its mean first, .*r\.$"
    ):
        quick(dtype="float64").fit(samples + 1e15, labels)


def test_a_constant_column_that_float32_rounds():
    samples = np.column_stack([X, np.full(len(X), 1e12)])
    model = quick(max_epochs=20).fit(samples, y)
    assert model.score(samples, y) == model.score(samples.astype(np.float32), y) > 0.9


@pytest.mark.parametrize(
    "augment",
    [lambda images: images.repeat(2, 1, 1, 1), torch.Tensor.double, lambda images: None],
)
def test_augmentation_must_give_images_like_those_that_it_gets(augment):
    with pytest.raises(ValueError, match="must return images of the shape, dtype and device that"):
        quick("plain", augment=augment).fit(X, y)


def test_a_loss_that_is_not_finite_before_any_step_is_not_blamed_on_the_learning_rate():
    with pytest.raises(ValueError, match=r"at iteration 1, before any step: the samples are too l"):
        quick("plain", augment=lambda images: images * torch.inf).fit(X, y)


@pytest.mark.parametrize("shape", [(100, 8, 8), (8, 8, 8)])
def test_images_without_channels_and_single_images(fitted, shape):
    samples = np.zeros(shape)
    for call in (lambda: fitted.predict(samples), lambda: quick("plain").fit(samples, y)):
        with pytest.raises(ValueError, match=r"pass X\[:, None\] if these are grey, or X\[None\]"):
            call()


def test_images_whose_channels_come_last_are_warned_of():
    images = np.random.default_rng(0).random((100, 16, 16, 3))
    with pytest.warns(UserWarning, match="taken for 16 channels of 16x3 pixels"):
        quick(max_epochs=1).fit(images, y)


def test_a_batch_of_one_sample_is_learned_without_batch_norms():
    model = quick(batch_norm=False, max_epochs=1).partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    assert model.n_iter_ == 1
    model = quick(max_epochs=1)
    with pytest.raises(ValueError, match=r"raise batch_size \(it is 40\) or pass batch_norm=False"):
        model.partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    assert not hasattr(model, "module_")
    # Of maps of one pixel likewise; larger ones have a variance.
    model = quick("plain", image_shape=(1, 4, 16), batch_size=1, max_epochs=1).fit(X[:3], y[:3])
    assert model.n_iter_ == 3
    model = quick("plain", image_shape=(1, 1, 4))
    with pytest.raises(ValueError, match="Batch normalisation cannot learn from a batch of one"):
        model.partial_fit(X[:1, :4], y[:1], classes=[0, 1, 2])


def learn_until_it_diverges(**parameters):
    model = quick("plain", batch_norm=False, max_epochs=100, **parameters)
    message = (
        r"not finite at iteration (\d+)\. Lower learning_rate \(it is 3\), or pass "
        r"batch_norm=True\. The state before this iteration is kept"
    )
    with pytest.raises(ValueError, match=message) as error:
        model.fit(X, y)
    return model, int(str(error.value).split("iteration ")[1].split(".")[0])


# It has, where it is interrupted.
@pytest.mark.filterwarnings("ignore:Training has diverged")
def test_divergence_names_the_step_and_keeps_the_last_good_state():
    model, iteration = learn_until_it_diverges(learning_rate=3.0)
    assert 1 < iteration < 300
    assert model.n_iter_ == len(model.loss_curve_) == iteration - 1
    assert all(np.isfinite(value).all() for value in model_state(model).values())

    class Stopping(DeTraMeClassifier):
        def _make_loss(self):
            compute_loss = super()._make_loss()

            def stop(batch):
                if self._training.iteration == iteration - 1:
                    raise KeyboardInterrupt
                return compute_loss(batch)

            return stop

    with pytest.warns(UserWarning, match="interrupted"):
        expected = quick(
            "plain", estimator=Stopping, batch_norm=False, max_epochs=100, learning_rate=3.0
        ).fit(X, y)
    assert_same_model(model, expected)


def test_advice_is_not_to_do_what_is_done_already():
    with pytest.raises(ValueError, match=r"not finite at iteration") as error:
        quick("plain", learning_rate=1e20, max_epochs=100).fit(X, y)
    assert "batch_norm" not in str(error.value)
    images = np.kron(X.reshape(-1, *SHAPE), np.ones((2, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"not finite at iteration") as error:
        # LeNet has no batch norms, whatever the parameter says.
        quick_twin(architecture="lenet", learning_rate=1e20, batch_norm=False).fit(images, y)
    assert "batch_norm" not in str(error.value)


@pytest.mark.parametrize("estimator", [DeTraMeClassifier, ConvNetClassifier])
def test_nothing_is_computed_in_the_constructor(estimator):
    model = estimator(architecture=3, n_steps=-1) if estimator is DeTraMeClassifier else estimator()
    assert not [name for name in vars(model) if name.endswith("_") or name.startswith("_")]
    assert model.get_params()["device"] == "auto"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_device_that_is_not_here_is_named_with_the_way_out(fitted):
    assert_refused(fitted, "device='cuda' cannot be used here, pass", parameters={"device": "cuda"})
