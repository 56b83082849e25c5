"""What is read is data: no code of a file runs, and nothing is written but the file asked for."""

import io
import json
import os
import pickle
import zipfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from skddl.training import read_archive

from .processes import printed_by
from .small_models import SAVED, X, y
from .spoiled import write_spoiled

pytestmark = pytest.mark.slow


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def foreign_files(folder, marker):
    """Files of other formats that run code where they are trusted."""
    payload = Payload(marker)
    pickled = pickle.dumps(payload)
    objects = np.array([payload], dtype=object)
    (folder / "pickle").write_bytes(pickled)
    (folder / "old pickle").write_bytes(pickle.dumps(payload, 0))
    joblib.dump(payload, folder / "joblib")
    joblib.dump(payload, folder / "joblib, compressed", compress=3)
    torch.save(payload, folder / "torch")
    torch.save({"a": payload}, folder / "old torch", _use_new_zipfile_serialization=False)
    np.save(folder / "numpy.npy", objects, allow_pickle=True)
    np.savez(folder / "numpy.npz", objects)
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        archive.writestr("data.pkl", pickled)
        archive.writestr("../escaped", "escaped")
    (folder / "script").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    (folder / "header, then pickle").write_bytes((8).to_bytes(8, "little") + b"{}      " + pickled)
    (folder / "yaml").write_text(f"!!python/object/apply:os.mkdir [{str(marker)!r}]")


def own_files(folder, marker):
    """Files of ours, with valid digests, that name what could run."""
    path = folder / "model"
    clone(SAVED["task-driven"]).fit(X, y).save(path)
    tensors, content = read_archive(path, "model")
    command = f"__import__('os').mkdir({str(marker)!r})"
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(marker)], dtype=object), allow_pickle=True)
    pickled = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    values = [
        command,
        {"class": "os.mkdir", "parameters": {"path": str(marker)}},
        {"class": "Payload", "parameters": {"marker": str(marker)}},
        {"__reduce__": ["os.mkdir", [str(marker)]]},
        {"py/object/apply": "os.mkdir", "py/tuple": [str(marker)]},
        {"tensor": "array.pickled"},
        {"array": [command, {"class": "os.mkdir", "parameters": {}}], "dtype": "|O"},
        {"array": [command], "dtype": command},
        {"dict": [["__class__", command], ["__reduce__", command]]},
        {"problem": {"lambda1": command}},
    ]
    parameters, attributes = content["estimator"]["parameters"], content["attributes"]
    for i, value in enumerate(values):
        for name in ("features", "loss", "device", "class_weight", "optimizer", "checkpoint"):
            changed = {**content["estimator"], "parameters": {**parameters, name: value}}
            spoiled = content | {"estimator": changed}
            write_spoiled(
                folder / f"{name} {i}", "model", tensors | {"array.pickled": pickled}, spoiled
            )
        for name in ("classes_", "_started_with", "__class__", "__setstate__", "predict"):
            spoiled = content | {"attributes": {**attributes, name: value}}
            write_spoiled(
                folder / f"{name} {i}", "model", tensors | {"array.pickled": pickled}, spoiled
            )
    path.unlink()


def test_nothing_is_executed_and_nothing_else_is_written(tmp_path, tried):
    folder, marker = tmp_path / "files", tmp_path / "marker"
    folder.mkdir()
    foreign_files(folder, marker)
    own_files(folder, marker)
    assert not marker.exists()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    found = json.loads(printed_by("audited", folder))
    assert not marker.exists()
    assert found["reading"] == []
    assert found["modules"] == []
    # Only the checkpoint, the file beside it that is moved there, and that of the first network.
    checkpoint = str(tmp_path / "fit.checkpoint")
    assert found["writing"]
    for event, *names in found["writing"]:
        assert event in ("open", "os.rename", "os.remove"), names
        assert all(name.startswith(checkpoint) for name in names)
    assert all(name.startswith(checkpoint) for name in found["written"])
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert [*tmp_path.iterdir()] == [folder]
    assert found["models"] < len(before) / 2
    tried("files with code in them", len(before))


def test_payloads_run_where_files_are_trusted(tmp_path):
    """Or else the test above could not fail."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").is_dir()
