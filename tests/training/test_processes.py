"""Two processes under torchrun train the model that one process trains."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import distributed

from . import together

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="needs a torch with gloo",
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What each of two processes found, what they printed, and the folder."""
    folder = tmp_path_factory.mktemp("together")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("-m", "tests.training.together", str(folder)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in (0, 1)]
    return found, folder


@pytest.fixture(scope="module")
def alone():
    return together.fit_models()


def assert_close(first, second, atol):
    assert first.keys() == second.keys()
    for name, expected in first.items():
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(second[name], expected, rtol=0, atol=atol * scale, err_msg=name)


@pytest.mark.parametrize("name", together.MODELS)
def test_two_processes_train_the_model_of_one(name, run, alone):
    for found in run[0]:
        assert_close(alone[name], found["models"][name], 1e-5)


def test_every_process_has_the_same_model_bit_for_bit(run):
    first, second = run[0]
    for name in together.MODELS:
        assert_close(first["models"][name], second["models"][name], 0)
    assert_close(first["no seed"], second["no seed"], 0)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("shapes", r"different shapes of X: \[\(91, 64\), \(81, 64\)\]"),
        ("samples", "different parameters, samples or labels"),
        ("parameters", "different parameters, samples or labels"),
        ("checkpoint of one", "different numbers of iterations in their checkpoints"),
    ],
)
def test_what_differs_between_processes_is_an_error_in_each(case, message, run):
    for found in run[0]:
        kind, text = found[case]
        assert kind == "ValueError"
        assert re.search(message, text)


def test_error_in_one_process_reaches_the_other(run):
    first, second = (found["one fails"] for found in run[0])
    assert second[0] == "ValueError"
    assert "NaN" in second[1]
    assert first[0] == "RuntimeError"
    assert "Another process of this training failed: ValueError" in first[1]
    assert "NaN" in first[1]
    for found in run[0]:
        assert_close(found["after errors"], found["checkpoint"][0], 0)


def test_error_in_the_midst_of_training_ends_it_in_every_process(run):
    first, second = (found["fails in training"] for found in run[0])
    assert second == ("MemoryError", "no room")
    assert first[0] == "RuntimeError"  # in the words of gloo
    for found in run[0]:
        kind, text = found["after that"]
        assert kind == "RuntimeError"
        assert "have lost one another" in text


def test_callbacks_and_checkpoints_are_those_of_the_first_process(run):
    found, folder = run
    if "callbacks" in found[0]:
        assert found[0]["callbacks"] == (2, 10)
        assert found[1]["callbacks"] == (0, 10)  # training ended in both
    assert (folder / "checkpoint").exists()
    for one in found:
        assert_close(*one["checkpoint"], 0)
    assert (folder / "0" / "checkpoint").exists()
    assert not (folder / "1" / "checkpoint").exists()


def test_dropout_goes_on_from_a_checkpoint_as_without_one(run):
    for found in run[0]:
        assert_close(*found["dropout"], 0)
    assert_close(run[0][0]["dropout"][0], run[0][1]["dropout"][0], 0)


def test_workers_of_joblib_train_alone(run):
    for rank, found in enumerate(run[0]):
        for state in found["joblib"]:
            assert_close(together.fit_alone(rank), state, 0)
