"""Files that were made by hand to declare what is not there: bounded time and memory."""

import json
import os
import sys
import threading
from contextlib import contextmanager

import pytest
import torch
from sklearn.base import clone

import skddl
from skddl import DeTraMeClassifier, TaskDrivenDictionaryClassifier
from skddl.training import read_archive, write_archive

from .small_models import SAVED, X, y
from .spoiled import write_spoiled

OURS = {"format": "skddl-model", "version": "1", "content": "{}", "digest": "0"}
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skddl"


def header(**tensors):
    return json.dumps({"__metadata__": OURS, **tensors}).encode()


def pair(first, second):
    """Two tensors of which JSON says the same name."""
    return header(a=first, b=second).replace(b'"b": {', b'"a": {')


HEADERS = {
    "no JSON": b"x" * 100,
    "no text": b"\xff\xfe" * 50,
    "a list": b"[]",
    "nothing": b"null",
    "lists in lists": b"[" * 100_000 + b"]" * 100_000,
    "objects in objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "metadata that are a list": b'{"__metadata__": []}',
    "metadata that are numbers": b'{"__metadata__": {"format": 3, "version": 1}}',
    "metadata that are objects": b'{"__metadata__": {"format": {"format": "skddl-model"}}}',
    "no version": b'{"__metadata__": {"format": "skddl-model"}}',
    "a version of many digits": header().replace(b'"1"', b'"' + b"9" * 5000 + b'"'),
    "a version that is no number": header().replace(b'"1"', b'"one"'),
    "a version below the first": header().replace(b'"1"', b'"-1"'),
    "metadata twice": header().replace(b"}}", b'}, "__metadata__": {}}'),
    "a huge shape": header(a=F32 | {"shape": [2**62, 2**62]}),
    "a shape of many numbers": header(a=F32 | {"shape": [1] * 10_000 + [2]}),
    "a negative shape": header(a=F32 | {"shape": [-2]}),
    "a shape that is no list": header(a=F32 | {"shape": 2}),
    "a shape of text": header(a=F32 | {"shape": ["2"]}),
    "a shape of fractions": header(a=F32 | {"shape": [2.5]}),
    "offsets beyond the file": header(a=F32 | {"data_offsets": [2**62, 2**62 + 8]}),
    "offsets beyond numbers": header(a=F32 | {"data_offsets": [10**30, 10**30 + 8]}),
    "offsets the wrong way": header(a=F32 | {"data_offsets": [8, 0]}),
    "a hole before the first": header(a=F32 | {"data_offsets": [8, 16]}),
    "tensors that overlap": header(a=F32, b=F32),
    "tensors that overlap in part": header(a=F32, b=F32 | {"data_offsets": [4, 12]}),
    "one name twice": pair(F32, F32 | {"data_offsets": [8, 16]}),
    "objects as a type": header(a=F32 | {"dtype": "O"}),
    "a type that is no text": header(a=F32 | {"dtype": ["F32"]}),
    "halves of bytes": header(a=F32 | {"dtype": "F4", "shape": [32], "data_offsets": [0, 16]}),
    "tiny floats": header(a=F32 | {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}),
    "a tensor that is nothing": header(a=None),
    "a tensor without a place": header(a={"dtype": "F32", "shape": [2]}),
}
LENGTHS = [0, 1, 7, 100_000_001, 2**31, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize("what", HEADERS)
def test_header_that_is_not_as_it_should_be_is_refused(what, path, tried):
    for n_bytes in (0, 8, 16, 10_000):
        length = len(HEADERS[what]).to_bytes(8, "little")
        path.write_bytes(length + HEADERS[what] + bytes(n_bytes))
        with pytest.raises(ValueError, match=r"model\.skddl'"):
            skddl.load(path)
        tried("headers made by hand")


@pytest.mark.parametrize("length", LENGTHS)
def test_length_of_a_header_that_is_not_there_is_refused(length, path, tried):
    for text in (b"", header(a=F32)):
        path.write_bytes(length.to_bytes(8, "little") + text + bytes(8))
        with pytest.raises(ValueError, match=r"model\.skddl'"):
            skddl.load(path)
        tried("headers made by hand")


def own_memory():
    """Bytes of this process that are no views of files."""
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("RssAnon")).split()[1])


@contextmanager
def peak_of_memory():
    """By how many bytes the memory of this process grew at most; a list of that."""
    before, seen, done = own_memory(), [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            seen[0] = max(seen[0], own_memory() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and files with holes")
@pytest.mark.parametrize(
    ("metadata", "megabytes"),
    [
        (OURS, 256),
        (OURS, 10**6),  # more than can be mapped
        (OURS | {"format": "other"}, 10_000),
        (OURS | {"version": "2"}, 10_000),
        pytest.param(OURS, 16_000, marks=pytest.mark.soak),
    ],
)
def test_gigabytes_that_are_not_there_take_no_memory(metadata, megabytes, path, tried):
    size = megabytes * 10**6
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    text = json.dumps({"__metadata__": metadata, "a": tensor}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + size)
    with pytest.raises(ValueError, match=r"model\.skddl'"), peak_of_memory() as peak:
        skddl.load(path)
    assert peak[0] < 50e6
    tried("files with holes")


def test_strings_that_are_as_wide_as_the_longest_do_not_fill_the_memory(path):
    clone(SAVED["task-driven"]).fit(X, y).save(path)
    tensors, content = read_archive(path, "model")
    # 40 GB of an array, in a file of half a megabyte.
    labels = ["a" * 10**5, *["b"] * 10**5]
    content["attributes"]["classes_"] = {"array": labels, "dtype": "U"}
    write_archive(path, "model", tensors, content)
    with pytest.raises(ValueError, match=r"model\.skddl' is damaged: .* too large"):
        skddl.load(path)


NESTED = TaskDrivenDictionaryClassifier(
    2, features=DeTraMeClassifier((2,), max_epochs=1, random_state=0), max_iter=2, random_state=0
)


@pytest.mark.parametrize("size", [1, 10**9])
@pytest.mark.parametrize(
    ("model", "parameter"),
    [
        (SAVED["metrics, stopped early"], "hidden_layer_sizes"),
        (SAVED["dense"], "hidden_layer_sizes"),
        (SAVED["deep"], "n_components"),
        (NESTED, "hidden_layer_sizes"),
    ],
)
def test_layers_without_weights_are_not_built(model, parameter, size, path, monkeypatch):
    clone(model).fit(X, y).save(path)
    tensors, content = read_archive(path, "model")
    started_with = dict(content["attributes"]["_started_with"]["dict"])
    for parameters in (content["estimator"]["parameters"], started_with):
        of_network = parameters if model is not NESTED else parameters["features"]["parameters"]
        of_network[parameter] = [size] * 5000
    content["attributes"]["_started_with"]["dict"] = [list(item) for item in started_with.items()]
    content["lambda1"] = [0.1] * 5000 if parameter == "n_components" else content["lambda1"]
    write_spoiled(path, "model", tensors, content)
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda _: pytest.fail("a layer was built"))
    with pytest.raises(ValueError, match=r"model\.skddl' is damaged: .* more than there are weig"):
        skddl.load(path)


def test_steps_of_a_metric_are_not_taken_by_load(path):
    clone(NESTED).fit(X, y).save(path)
    tensors, content = read_archive(path, "model")
    started_with = dict(content["attributes"]["_started_with"]["dict"])
    for parameters in (content["estimator"]["parameters"], started_with):
        parameters["features"]["parameters"]["n_steps"] = 10**12
    content["attributes"]["_started_with"]["dict"] = [list(item) for item in started_with.items()]
    write_archive(path, "model", tensors, content)
    assert skddl.load(path).features.n_steps == 10**12


def test_types_that_numpy_does_not_have_are_no_weights(path):
    clone(SAVED["dense"]).fit(X, y).save(path)
    tensors, content = read_archive(path, "model")
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        for name in (name for name in tensors if name.startswith("module.")):
            write_archive(path, "model", tensors | {name: tensors[name].to(dtype)}, content)
            with pytest.raises(ValueError, match=r"model\.skddl'"):
                skddl.load(path)
