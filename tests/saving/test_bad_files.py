"""`load` of what `save` did not write: nothing but an error that names the file."""

import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import skddl
from skddl import TaskDrivenDictionaryClassifier
from skddl.training import read_archive, write_archive

from .data import TDDL, X, y


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
