"""`save` and `load`: the same model, or an error that says what cannot be kept."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

import skddl
from skddl import (
    ConvNetClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
)
from skddl.training import DivergenceError

from .data import FITTED, NETWORK, TDDL, X, y


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


def test_model_that_diverged_in_its_first_step_is_kept(path, monkeypatch):
    def diverge(*_):
        raise DivergenceError

    monkeypatch.setattr(TaskDrivenDictionaryClassifier, "_compute_loss", diverge)
    model = TaskDrivenDictionaryClassifier(**TDDL)
    with pytest.raises(DivergenceError):
        model.fit(X, y)
    model.save(path)
    loaded = skddl.load(path)
    assert loaded.n_iter_ == 0
    assert_same_answers(model, loaded, X)


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

    monkeypatch.setattr("os.fsync", fail)
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
