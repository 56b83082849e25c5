"""`save` and `load`: the same model, and nothing but an error from anything else."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.exceptions import NotFittedError
from torch import nn

import skddl
from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from skddl.training import read_archive, write_archive

from .data import small_digits

X, y = small_digits(100, n_classes=4)
IMAGES = X.reshape(-1, 1, 8, 8)
LARGER = IMAGES.repeat(2, axis=2).repeat(2, axis=3)
NAMES = np.array(["zero", "one", "two", "three"])[y]
TDDL = {"n_components": 12, "max_iter": 4, "batch_size": 50, "random_state": 0}
NETWORK = {"max_epochs": 2, "batch_size": 50, "random_state": 0}
NARROW = {**NETWORK, "width": 0.1, "image_shape": (1, 8, 8)}


def make(estimator, *parameters, **named):
    return lambda: estimator(*parameters, **named)


FITTED = {
    "names of classes": (make(TaskDrivenDictionaryClassifier, **TDDL), X, NAMES),
    "objects as classes": (
        make(TaskDrivenDictionaryClassifier, **TDDL, class_weight={"zero": 2.0}),
        X,
        NAMES.astype(object),
    ),
    "identity": (make(TaskDrivenDictionaryClassifier, features="identity", **TDDL), X, y),
    "lenet, large samples": (
        make(TaskDrivenDictionaryClassifier, features="lenet", dtype="float64", **TDDL),
        1e4 * IMAGES,
        y,
    ),
    "network trained first": (
        make(
            TaskDrivenDictionaryClassifier,
            features=DeTraMeClassifier([8], **NETWORK, activation="relu", dropout=0.1),
            **TDDL,
        ),
        X,
        y,
    ),
    "LeNet on raw pixels": (
        make(ConvNetClassifier, architecture="lenet", standardize=False, **NETWORK),
        LARGER,
        y,
    ),
    "LeNet trained first, on raw pixels": (
        make(
            TaskDrivenDictionaryClassifier,
            features=ConvNetClassifier(architecture="lenet", standardize=False, **NETWORK),
            lambda2=0.1,
            **TDDL,
        ),
        255 * LARGER,
        y,
    ),
    "one target": (make(TaskDrivenDictionaryRegressor, **TDDL), X, X[:, 20]),
    "two targets": (make(TaskDrivenDictionaryRegressor, **TDDL), X, X[:, 20:22]),
    "deep": (make(DeepDictionaryClassifier, **{**TDDL, "n_components": (8, 6)}), X, y),
    "deep, of patches": (
        make(
            DeepDictionaryClassifier,
            **{**TDDL, "n_components": (6, 5)},
            patch_size=(3, None),
            stride=(2, 1),
            lambda1=("auto", 0.05),
            image_shape=(1, 8, 8),
        ),
        X,
        y,
    ),
    "dense": (make(DeTraMeClassifier, (9, 7), **NETWORK), X, y),
    "bytes": (make(ConvNetClassifier, (9,), **NETWORK), (255 * X.clip(0, 1)).astype(np.uint8), y),
    "conv-3": (make(ConvNetClassifier, architecture="conv-3", **NARROW), X, y),
    "plain-3": (make(DeTraMeClassifier, architecture="plain-3", **NARROW), IMAGES, y),
    "resnet-8": (make(DeTraMeClassifier, architecture="resnet-8", **NARROW), X, y),
    "online": (make(OnlineDictionaryLearning, 7, init=X[:7], max_iter=5, random_state=0), X, None),
    "normalizer": (make(SampleNormalizer), X, None),
}


@pytest.fixture(scope="module")
def fitted():
    """The model of that name; each is fitted once."""
    models = {}

    def fit(name):
        if name not in models:
            build, samples, labels = FITTED[name]
            models[name] = build().fit(samples, labels)
        return models[name]

    return fit


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skddl"


def assert_same_answers(first, second, samples):
    for method in ("predict", "predict_proba", "transform"):
        if hasattr(first, method):
            expected, found = (getattr(model, method)(samples) for model in (first, second))
            assert expected.dtype == found.dtype
            np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("name", FITTED)
def test_loaded_model_is_the_saved_one_and_learns_on_alike(name, fitted, path):
    model = fitted(name)
    model.save(path)
    loaded = skddl.load(path)
    assert type(loaded) is type(model)
    assert repr(loaded) == repr(model)
    assert vars(loaded).keys() == vars(model).keys()
    _, samples, labels = FITTED[name]
    assert_same_answers(model, loaded, samples)
    if name == "normalizer":
        return
    model = pickle.loads(pickle.dumps(model))  # other tests use it, too
    for either in (model, loaded):
        either.partial_fit(samples, labels)
    assert_same_answers(model, loaded, samples)


def test_histories_and_names_of_features_are_kept(path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X).rename(columns=str)
    model = DeTraMeClassifier((5,), **NETWORK, early_stopping=True).fit(frame, y)
    model.set_output(transform="pandas")
    model.save(path)
    loaded = skddl.load(path)
    assert loaded.history_ == model.history_
    assert loaded.loss_curve_ == model.loss_curve_
    np.testing.assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)
    pandas.testing.assert_frame_equal(loaded.transform(frame), model.transform(frame))


def test_warm_start_goes_on_from_a_file(path):
    model = TaskDrivenDictionaryClassifier(**TDDL, optimizer="adam", warm_start=True).fit(X, y)
    model.save(path)
    loaded = skddl.load(path)
    assert_same_answers(model.fit(X, y), loaded.fit(X, y), X)
    loaded.set_params(n_components=5)
    with pytest.raises(ValueError, match="n_components=5 does not fit the model"):
        loaded.fit(X, y)


def test_parameters_set_after_the_fit_are_kept_and_do_not_change_the_network(path, fitted):
    model = pickle.loads(pickle.dumps(fitted("identity"))).set_params(features="linear", nu1=0.25)
    model.save(path)
    loaded = skddl.load(path)
    assert (loaded.features, loaded.nu1) == ("linear", 0.25)
    assert_same_answers(model, loaded, X)


def test_values_of_numpy_in_parameters_become_those_of_python(path):
    parameters = {"n_components": np.int64(7), "lambda1": np.float32(0.25)}
    OnlineDictionaryLearning(**parameters, positive=np.True_, max_iter=3).fit(X).save(path)
    loaded = skddl.load(path)
    assert (loaded.n_components, loaded.lambda1, loaded.positive) == (7, 0.25, True)


def test_device_is_written_as_text_and_checkpoint_is_not_written(path, tmp_path):
    parameters = {"device": torch.device("cpu"), "checkpoint": tmp_path / "checkpoint"}
    TaskDrivenDictionaryClassifier(**TDDL, **parameters).fit(X, y).save(path)
    loaded = skddl.load(path)
    assert (loaded.device, loaded.checkpoint) == ("cpu", None)


def test_whole_numbers_to_start_from_are_kept(path):
    init = np.arange(128).reshape(2, 64)
    OnlineDictionaryLearning(2, init=init, max_iter=3).fit(X).save(path)
    loaded = skddl.load(path)
    np.testing.assert_array_equal(loaded.init, init)
    assert loaded.init.dtype == init.dtype


def flat(shape):
    return nn.Flatten()


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (TaskDrivenDictionaryClassifier(features=flat, **TDDL), "features="),
        (
            TaskDrivenDictionaryClassifier(
                features=ConvNetClassifier(architecture=flat, **NETWORK), **TDDL
            ),
            "features__architecture=",
        ),
        (DeTraMeClassifier(lr_schedule=lambda done: 1.0, **NETWORK), "lr_schedule="),
    ],
)
def test_what_needs_code_is_refused_by_name(model, named, path):
    model.fit(X, y)
    with pytest.raises(TypeError, match=rf"^{named}.*cannot be saved.*joblib or pickle"):
        model.save(path)
    assert not path.exists()


class OfTheUser(DeTraMeClassifier):
    pass


@pytest.mark.parametrize(
    "model",
    [
        OfTheUser((8,), **NETWORK),
        TaskDrivenDictionaryClassifier(features=OfTheUser((8,), **NETWORK), **TDDL),
    ],
)
def test_classes_of_the_user_are_refused(model, path):
    model.fit(X, y)
    with pytest.raises(TypeError, match=r"OfTheUser cannot be saved.*joblib or pickle"):
        model.save(path)
    assert not path.exists()


def test_parameters_that_are_not_valid_are_refused(path):
    model = OnlineDictionaryLearning(5, max_iter=3).fit(X).set_params(max_iter=0)
    with pytest.raises(ValueError, match="max_iter"):
        model.save(path)


def test_parameters_that_are_not_valid_together_are_refused(path):
    model = ConvNetClassifier((8,), **NETWORK).fit(X, y)
    with pytest.raises(ValueError, match="nesterov=True needs momentum > 0"):
        model.set_params(nesterov=True, momentum=0).save(path)


@pytest.mark.parametrize("dtype", [">f4", "<f8"])
def test_any_order_of_bytes_and_memory_that_is_read_only_is_saved(dtype, path):
    init = X[:10].astype(dtype)
    init.flags.writeable = False
    model = OnlineDictionaryLearning(10, init=init, max_iter=2, random_state=0).fit(X)
    model.save(path)
    loaded = skddl.load(path)
    np.testing.assert_array_equal(loaded.init, init)
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))


def test_generator_in_random_state_is_refused(path):
    odl = OnlineDictionaryLearning(5, max_iter=3, random_state=np.random.RandomState(0)).fit(X)
    with pytest.raises(TypeError, match=r"random_state=.*pass an int"):
        odl.save(path)
    odl.set_params(random_state=0).save(path)


@pytest.mark.parametrize("estimator", [TaskDrivenDictionaryClassifier, SampleNormalizer])
def test_model_that_is_not_fitted_is_refused(estimator, path):
    with pytest.raises(NotFittedError):
        estimator().save(path)


def test_folder_is_named(tmp_path, fitted):
    with pytest.raises(ValueError, match="is a folder, not a model of skddl"):
        skddl.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder: name a file in it"):
        fitted("identity").save(tmp_path)


def test_missing_file_or_folder_is_named(path, fitted):
    with pytest.raises(FileNotFoundError, match=r"model\.skddl"):
        skddl.load(path)
    with pytest.raises(FileNotFoundError, match=r"folder of .*nowhere"):
        fitted("identity").save(path.parent / "nowhere" / "model")


def test_failure_leaves_the_former_file_as_it_was(path, fitted, monkeypatch):
    fitted("online").save(path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("skddl.training._archive.save_file", fail)
    with pytest.raises(OSError, match="No space"):
        fitted("identity").save(path)
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


def test_threads_that_save_to_one_file_leave_one_of_their_models(path, fitted):
    names = ["identity", "online", "dense", "two targets"] * 5
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(lambda name: fitted(name).save(path), names, timeout=60)]
    skddl.load(path)
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("name", ["identity", "online"])
def test_truncated_file_is_refused_by_name(name, fitted, path):
    fitted(name).save(path)
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 9, *range(10, len(whole), len(whole) // 50), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"model\.skddl' is not a model of skddl"):
            skddl.load(path)


def test_changed_bit_is_found_anywhere(fitted, path):
    fitted("online").save(path)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for position in rng.integers(len(whole), size=200):
        changed = whole.copy()
        changed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"model\.skddl"):
            skddl.load(path)


def test_foreign_files_are_refused(path, fitted):
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="not a model of skddl"):
        skddl.load(path)
    path.write_bytes(pickle.dumps(fitted("identity")))
    with pytest.raises(ValueError, match="not a model of skddl"):
        skddl.load(path)
    path.unlink()
    TaskDrivenDictionaryClassifier(**TDDL, checkpoint=path).fit(X, y)
    with pytest.raises(ValueError, match="not a model of skddl"):
        skddl.load(path)
    with pytest.raises(ValueError, match="not a model of skddl"):
        skddl.load(path.parent)


def test_file_of_a_newer_version_says_so(path, fitted):
    fitted("online").save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | {"version": "2"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"model\.skddl' is a model of format 2.*newer skddl"):
        skddl.load(path)


def change(content, keys, value):
    *inner, last = keys
    for key in inner:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["estimator", "class"], "Popen"),
        (["estimator", "class"], "DeTraMeClassifier"),
        (["estimator"], 3),
        (["estimator", "parameters", "n_components"], "many"),
        (["estimator", "parameters", "system"], "command"),
        (["attributes", "predict"], 3),
        (["attributes", "__class__"], 3),
        (["attributes", "n_features_in_"], 65),
        (["attributes", "n_features_in_"], 10**15),
        (["attributes", "_image_shape"], {"tuple": [1, 8, 9]}),
        (["attributes", "classes_"], {"array": [0, 1, 2], "dtype": "<i8"}),
        (["attributes", "classes_"], {"array": [0, 1], "dtype": "V8"}),
        (["attributes", "_started_with"], {"dict": [["features", "linear"]]}),
        (["attributes", "_started_with"], {"dict": [["n_features_out", 10**12]]}),
        (["attributes", "classes_"], {"array": [1, 0, 2, 3], "dtype": "<i8"}),
        (["attributes", "classes_"], {"array": [0, 1, 1, 2], "dtype": "<i8"}),
        (["attributes", "classes_"], {"array": ["0", "1", "2", "3"], "dtype": "<U300000000"}),
        (["attributes", "classes_"], {"array": ["0", "1", 2, None], "dtype": "|O"}),
        (["attributes", "feature_names_in_"], {"array": ["a", "b"], "dtype": "|O"}),
        (["attributes", "_sklearn_output_config"], {"dict": [["transform", "shell"]]}),
        (["attributes"], {}),
        (["attributes", "_divisor"], {"run": "this"}),
        (["training", "iteration"], "first"),
        (["training", "iteration"], -1),
        (["training", "history"], [{"iteration": 1, "loss": "low"}]),
        (["training", "history"], [{"loss": 1.0}]),
        (["lambda1"], [0.1, 0.2]),
        (["lambda1"], [-1.0]),
        (["lambda1"], []),
    ],
)
def test_content_that_does_not_fit_is_refused(keys, value, path, fitted):
    fitted("identity").save(path)
    tensors, content = read_archive(path, "model")
    change(content, keys, value)
    write_archive(path, "model", tensors, content)
    with pytest.raises(ValueError, match=r"model\.skddl' is damaged"):
        skddl.load(path)


@pytest.mark.parametrize(
    ("model", "name", "tensor"),
    [
        ("two targets", "array._target_mean", torch.zeros(3, dtype=torch.float64)),
        ("two targets", "array._target_scale", torch.tensor([1.0, -1.0], dtype=torch.float64)),
        ("online", "array.components_", torch.zeros(7, 63)),
        ("online", "array._means[0]", torch.zeros(6, 7)),
        ("identity", "curve.loss", torch.zeros(9, dtype=torch.float64)),
        ("dense", "optimizer.0.momentum_buffer", torch.zeros(2)),
        ("dense", "optimizer.999.momentum_buffer", torch.zeros(2)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(model, name, tensor, path, fitted):
    fitted(model).save(path)
    tensors, content = read_archive(path, "model")
    assert name in tensors or "999" in name
    tensors[name] = tensor
    write_archive(path, "model", tensors, content)
    with pytest.raises(ValueError, match=r"model\.skddl' is damaged"):
        skddl.load(path)


@pytest.mark.parametrize(
    "tensor", [torch.zeros(12, 63), torch.zeros(12, 64).half(), torch.full((12, 64), torch.nan)]
)
def test_weights_that_do_not_fit_are_refused(tensor, path, fitted):
    fitted("identity").save(path)
    tensors, content = read_archive(path, "model")
    tensors["module.code.dictionary"] = tensor
    write_archive(path, "model", tensors, content)
    with pytest.raises(ValueError, match=r"model\.skddl' is damaged"):
        skddl.load(path)


def test_content_that_is_no_json_is_refused(path):
    text = "[" * 100_000
    save_file({}, path, metadata={"format": "skddl-model", "version": "1", "content": text})
    with pytest.raises(ValueError, match="not a model"):
        skddl.load(path)


def test_what_was_learned_in_another_process_answers_alike(path, fitted, tmp_path):
    model = fitted("deep, of patches")
    model.save(path)
    joblib.dump(model, tmp_path / "model.joblib")
    np.save(tmp_path / "X.npy", X)
    script = (
        "import sys, json, joblib, numpy, skddl\n"
        "X = numpy.load(sys.argv[3])\n"
        "models = skddl.load(sys.argv[1]), joblib.load(sys.argv[2])\n"
        "print(json.dumps([model.predict_proba(X).tolist() for model in models]))\n"
    )
    files = [path, tmp_path / "model.joblib", tmp_path / "X.npy"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, files)], capture_output=True, text=True, check=True
    )
    for answer in json.loads(done.stdout):
        np.testing.assert_allclose(answer, model.predict_proba(X), rtol=1e-6)
