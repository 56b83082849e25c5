"""What goes into DeTraMeClassifier and ConvNetClassifier, and what comes out."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import clone

from skddl import _base
from tests.data import assert_same_model, peak_of_learning_a_memmap, small_digits

from .data import KINDS, SHAPE, quick, quick_twin

X, y = small_digits()
IMAGES = X.reshape(-1, *SHAPE)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_features_are_what_the_classifier_decides_on(kind):
    model = quick(kind).fit(X, y)
    features = model.transform(X)
    classifier = model.module_.classifier
    assert features.shape == (200, classifier.in_features)
    assert features.dtype == np.float32
    weight, bias = (p.detach().numpy() for p in classifier.parameters())
    scores = model.decision_function(X)
    np.testing.assert_allclose(scores, features @ weight.T + bias, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(X), softmax(scores, axis=1), rtol=1e-6)
    np.testing.assert_allclose(model.predict_log_proba(X), log_softmax(scores, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])
    assert features.min() >= 0  # what a proximal operator of the positive orthant gives


def test_output_features_have_names():
    pandas = pytest.importorskip("pandas")
    model = quick().fit(X, y)
    assert model.get_feature_names_out().tolist() == [f"detrameclassifier{i}" for i in range(15)]
    frame = model.set_output(transform="pandas").transform(X)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == model.get_feature_names_out().tolist()


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_images_and_their_rows_give_the_same_model(kind):
    by_rows = quick(kind).fit(X, y)
    by_images = quick(kind, image_shape=None).fit(IMAGES, y)
    assert_same_model(by_rows, by_images)
    for images in (IMAGES, list(IMAGES), [torch.from_numpy(image) for image in IMAGES]):
        np.testing.assert_array_equal(by_rows.predict(images), by_images.predict(X))
    as_tensor = quick(kind, image_shape=None).fit(torch.from_numpy(IMAGES), torch.from_numpy(y))
    assert_same_model(by_rows, as_tensor)
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), but image_shape=\(1, 8, 8\)"):
        by_images.predict(X.reshape(-1, 8, 8, 1))


def test_float64_samples_are_answered_in_float64(kind):
    model = quick(kind).fit(X, y)
    assert model.transform(X.astype(np.float64)).dtype == np.float64
    assert model.module_.classifier.weight.dtype == torch.float32
    few = model.predict_proba(X[:7].astype(np.float64))
    np.testing.assert_allclose(model.predict_proba(X.astype(np.float64))[:7], few, atol=1e-12)


def test_bytes_are_images_from_0_to_1(kind):
    raw = np.random.default_rng(0).integers(0, 256, size=(60, 64)).astype(np.uint8)
    labels = np.arange(60) % 3
    by_bytes = quick(kind, max_epochs=2).fit(raw, labels)
    by_floats = quick(kind, max_epochs=2).fit(raw.astype(np.float32) / 255, labels)
    assert by_bytes.loss_curve_ == pytest.approx(by_floats.loss_curve_, rel=1e-3)
    # A pixel of 200 means the same as uint8 and as a float to the model that was fitted on bytes.
    np.testing.assert_array_equal(
        by_bytes.predict_proba(raw), by_bytes.predict_proba(raw.astype(np.float32))
    )


def through_joblib(model, path):
    joblib.dump(model, path)
    return joblib.load(path)


@pytest.mark.parametrize(
    "copy_of",
    [
        lambda model, path: copy.deepcopy(model),
        lambda model, path: pickle.loads(pickle.dumps(model)),
        through_joblib,
    ],
)
def test_copies_predict_alike_and_go_on_alike(tmp_path, kind, copy_of):
    model = quick(kind).fit(X, y)
    copied = copy_of(model, tmp_path / "model")
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    assert_same_model(copied.partial_fit(X, y), model.partial_fit(X, y))  # with its momentum
    assert copied.history_ == model.history_


def test_clone_is_not_fitted():
    model = quick("plain").fit(X, y)
    cloned = clone(model)
    assert cloned.get_params() == model.get_params()
    assert not [name for name in vars(cloned) if name.endswith("_")]


def test_fitted_model_is_on_the_cpu_in_evaluation_mode(kind):
    model = quick(kind).fit(X, y)
    assert {p.device.type for p in model.module_.parameters()} == {"cpu"}
    assert not any(module.training for module in model.module_.modules())


def test_two_classes_have_one_score():
    X2, y2 = small_digits(100, n_classes=2)
    model = quick(max_epochs=20).fit(X2, y2)
    scores = model.decision_function(X2)
    assert scores.shape == (100,)
    np.testing.assert_allclose(
        model.predict_proba(X2)[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-5, atol=1e-7
    )
    assert model.score(X2, y2) > 0.95


def test_lenet_learns_images():
    images = np.kron(IMAGES, np.ones((2, 2), dtype=np.float32))  # 16x16
    standardized = quick_twin(architecture="lenet", max_epochs=10, learning_rate=0.01)
    assert standardized.fit(images, y).score(images, y) > 0.9
    assert standardized.transform(images).shape == (200, 500)
    # As in MatConvNet's example, but for the number of epochs.
    raw = quick_twin(
        architecture="lenet",
        standardize=False,
        max_epochs=40,
        learning_rate=0.001,
        lr_schedule="constant",
        decay_all=True,
    )
    pixels = 255 * (images - images.mean(axis=0)) / images.max()
    assert raw.fit(pixels, y).score(pixels, y) > 0.9
    assert raw.module_.classifier.weight.std() < 0.1
    # Bytes are divided by 255: the weights of the paper would be too small for them.
    as_bytes = (255 * images / images.max()).clip(0).astype(np.uint8)
    by_bytes = quick_twin(
        architecture="lenet", standardize=False, max_epochs=10, learning_rate=0.01
    ).fit(as_bytes, y)
    assert by_bytes.score(as_bytes, y) > 0.9


@pytest.mark.parametrize("shape", [(3000, 400), (3000, 1, 20, 20)])
def test_a_read_only_memmap_is_never_copied_whole(tmp_path, shape):
    model = quick(hidden_layer_sizes=4, max_epochs=1, batch_size=300)
    peak = peak_of_learning_a_memmap(model, tmp_path, shape)
    # A batch of 1,000 in float64, for mean and variance, is 3.2 MB, of which numpy holds a few.
    # A copy of all in float64 would be 9.6 MB, and there would be a few of those.
    assert peak < 17e6


def samples_on_the_cpu(X):
    return _base.Samples(X, torch.device("cpu"), torch.float32, 1.0, reread=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_samples_kept_on_the_device_are_those_read_batch_by_batch(monkeypatch, dtype):
    samples = (X * 100).astype(dtype)
    expected = quick("plain").fit(samples, y)
    probabilities = expected.predict_proba(samples)
    # As if the CPU were a GPU with room for them.
    monkeypatch.setattr(_base, "_memory_for_samples", lambda device: samples.nbytes)
    assert samples_on_the_cpu(samples).resident is not None
    model = quick("plain").fit(samples, y)
    assert_same_model(model, expected)
    np.testing.assert_array_equal(model.predict_proba(samples), probabilities)
    backwards = np.ascontiguousarray(samples[:, ::-1])[:, ::-1]  # of negative strides
    assert_same_model(quick("plain").fit(backwards, y), expected)
    monkeypatch.setattr(_base, "_memory_for_samples", lambda device: samples.nbytes - 1)
    assert samples_on_the_cpu(samples).resident is None


def test_a_memmap_is_not_brought_to_the_device_whole(tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", X)
    samples = np.load(tmp_path / "X.npy", mmap_mode="r")
    monkeypatch.setattr(_base, "_memory_for_samples", lambda device: samples.nbytes)
    assert samples_on_the_cpu(np.asarray(samples)[10:]).resident is None
