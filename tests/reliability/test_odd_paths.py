"""Paths that are no regular files, or cannot be: an error of the expected type, and no hang."""

import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sklearn.base import clone

import skddl
from skddl.training import write_archive

from .small_models import MODELS, SAVED, X, y

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has other special files")


def fit(path):
    clone(MODELS["dense"]).set_params(checkpoint=path).fit(X, y)


def save(path):
    clone(SAVED["normalizer"]).fit(X).save(path)


def error_of(function, path):
    """The error of `function`, which must not take longer than a while."""
    raised = []

    def call():
        try:
            function(path)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    return raised[0]


def make(kind, folder):
    path = folder / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to(folder / "pipe")
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty file":
        path.touch()
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to nothing that never ends":
        path.symlink_to("/dev/random")
    elif kind == "link to a file of the system":
        path.symlink_to("/proc/self/mem")
    return path


NO_FILES = [
    "pipe",
    "link to a pipe",
    "folder",
    "link to a device",
    "link to nothing that never ends",
    "link to a file of the system",
    "empty file",
]


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("function", [skddl.load, fit])
def test_what_is_no_file_of_ours_is_refused_by_name(kind, function, tmp_path, tried):
    path = make(kind, tmp_path)
    error = error_of(function, path)
    assert isinstance(error, ValueError) and repr(str(path)) in str(error)
    assert path.exists()
    tried("odd paths")


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "folder"])
def test_save_does_not_replace_what_is_no_file(kind, tmp_path, tried):
    path = make(kind, tmp_path)
    error = error_of(save, path)
    assert isinstance(error, OSError) and repr(str(path)) in str(error)
    assert path.exists() and not path.is_file()
    assert [*tmp_path.iterdir()] == [path]
    tried("odd paths")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (0, TypeError),
        (True, TypeError),
        (b"model", TypeError),
        (None, TypeError),
        (["model"], TypeError),
        ("", (ValueError, OSError)),
        ("model\0", (ValueError, OSError)),
        ("\ud800", (ValueError, OSError)),
        ("x" * 5000, OSError),
        ("x/" * 3000, OSError),
        ("nowhere/model", (FileNotFoundError, ValueError)),
    ],
)
@pytest.mark.parametrize("function", [skddl.load, save, fit])
def test_path_that_cannot_be_is_refused(path, expected, function, tmp_path, monkeypatch, tried):
    if function is fit and path is None:
        pytest.skip("without a checkpoint")
    monkeypatch.chdir(tmp_path)
    error = error_of(function, path)
    # Where it is a parameter, what cannot be a path is no valid one.
    assert isinstance(error, (ValueError, OSError) if function is fit else expected)
    assert not [*tmp_path.iterdir()]
    tried("odd paths")


@pytest.mark.parametrize("function", [skddl.load, fit])
def test_link_that_leads_to_itself_is_no_file(function, tmp_path, tried):
    path = tmp_path / "link"
    path.symlink_to(path)
    if function is skddl.load:
        assert isinstance(error_of(function, path), FileNotFoundError | OSError)
    else:
        fit(path)  # replaces it
        assert path.is_file()
    tried("odd paths")


def test_file_that_may_not_be_read_is_not_called_damaged():
    user = os.geteuid()
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "model.skddl"
        save(path)
        path.chmod(0)
        if user == 0:  # who may read everything
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match=r"model\.skddl"):
                skddl.load(path)
        finally:
            os.seteuid(user)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("name", ["os.fsync", "os.replace"])
def test_failed_write_leaves_nothing_behind(error, name, tmp_path, monkeypatch):
    path = tmp_path / "model"
    write_archive(path, "model", {}, "first")
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(f"skddl.training._archive.{name}", fail)
    with pytest.raises(error):
        write_archive(path, "model", {}, "second")
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before
