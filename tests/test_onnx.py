"""What is exported to ONNX answers as the estimator does, in onnxruntime."""

import json
import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)

from .data import small_digits

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("torch", "2.9", reason="needs torch 2.9 or newer")

X, y = small_digits(100, n_classes=4)
NAMES = np.array(["zero", "one", "two", "three"])[y]
NETWORK = {"max_epochs": 2, "random_state": 0}
IMAGES = {"image_shape": (1, 8, 8), "width": 0.1, **NETWORK}
TDDL = {"n_components": 20, "max_iter": 10, "random_state": 0}


def run(path, samples):
    """Outputs by name, and the classes."""
    session = onnxruntime.InferenceSession(path)
    outputs = session.run(None, {"X": samples})
    classes = json.loads(session.get_modelmeta().custom_metadata_map.get("classes", "null"))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, outputs, strict=True)), classes


def assert_near(found, expected, tolerance):
    """Relative to the largest value."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    "model",
    [
        DeTraMeClassifier((10,), **NETWORK, memory_efficient=True),
        DeTraMeClassifier(architecture="plain-3", **IMAGES),
        DeTraMeClassifier(architecture="resnet-8", **IMAGES),
        ConvNetClassifier(architecture="conv-3", dropout=0.2, dtype="float64", **IMAGES),
    ],
)
def test_network_answers_to_1e_5(model, tmp_path):
    pixels = (255 * X.clip(0, 1)).astype(np.uint8)  # to be scaled in the file, too
    model.fit(pixels, NAMES)
    model.to_onnx(tmp_path / "model.onnx")
    for samples in (pixels[:1], pixels):
        found, classes = run(tmp_path / "model.onnx", samples.astype(np.float32))
        assert found.keys() == {"features", "scores", "probabilities"}
        assert_near(found["features"], model.transform(samples), 1e-5)
        assert_near(found["scores"], model.decision_function(samples), 1e-5)
        assert_near(found["probabilities"], model.predict_proba(samples), 1e-5)
        assert classes == model.classes_.tolist()


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-hinge"])
def test_codes_by_many_steps_are_near_the_exact_ones(loss, tmp_path):
    model = TaskDrivenDictionaryClassifier(**TDDL, lambda2=0.01, loss=loss).fit(X, y)
    model.to_onnx(tmp_path / "model.onnx")
    found, classes = run(tmp_path / "model.onnx", X)
    assert_near(found["codes"], model.transform(X), 1e-3)
    assert_near(found["scores"], model.decision_function(X), 1e-3)
    assert ("probabilities" in found) == hasattr(model, "predict_proba")
    predicted = np.array(classes)[found["scores"].argmax(1)]
    np.testing.assert_array_equal(predicted, model.predict(X))


@pytest.mark.slow
def test_more_steps_come_nearer(tmp_path):
    model = TaskDrivenDictionaryClassifier(features="lenet", image_shape=(1, 8, 8), **TDDL)
    codes = model.fit(X, y).transform(X)
    errors = []
    for n_steps in (10, 1000):
        model.to_onnx(tmp_path / "model.onnx", n_steps=n_steps)
        errors.append(np.abs(run(tmp_path / "model.onnx", X)[0]["codes"] - codes).max())
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize(("offset", "scale"), [(1e3, 50.0), (1.7e9, 1.0), (0.0, 1e200)])
def test_targets_have_their_scale(offset, scale, tmp_path):
    targets = X[:, 20:22].astype(np.float64)
    model = TaskDrivenDictionaryRegressor(**TDDL, lambda2=0.01).fit(X, offset + scale * targets)
    model.to_onnx(tmp_path / "model.onnx")
    found, classes = run(tmp_path / "model.onnx", X)
    assert classes is None
    assert_near((found["targets"] - offset) / scale, (model.predict(X) - offset) / scale, 1e-3)


@pytest.mark.slow
def test_layers_of_patches_are_exported(tmp_path):
    model = DeepDictionaryClassifier(
        **{**TDDL, "n_components": (6, 8)},
        patch_size=(3, None),
        stride=(2, 1),
        image_shape=(1, 8, 8),
        lambda2=0.1,
    ).fit(X, y)
    model.to_onnx(tmp_path / "model.onnx")
    assert_near(run(tmp_path / "model.onnx", X)[0]["codes"], model.transform(X), 1e-3)


def test_what_cannot_be_exported_says_why(tmp_path, monkeypatch):
    model = TaskDrivenDictionaryClassifier(**TDDL)
    with pytest.raises(NotFittedError):
        model.to_onnx(tmp_path / "model.onnx")
    model.fit(X, y)
    for no_path in (True, None, b"model"):  # a number would be taken for an open file
        with pytest.raises(TypeError, match="PathLike"):
            model.to_onnx(no_path)
    with pytest.raises(ValueError, match="n_steps"):
        model.to_onnx(tmp_path / "model.onnx", n_steps=0)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"skddl\[onnx\]"):
        model.to_onnx(tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
