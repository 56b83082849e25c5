"""A checkpoint that cannot be written: learning goes on, and the file that was there is whole."""

import ctypes
import os
import pickle
import resource
import warnings
from pathlib import Path

import pytest

from skddl.training import CheckpointFile, _checkpoint

from . import fits
from .models import assert_same, found_in

pytestmark = pytest.mark.slow

NAMES = ["identity", "online, drawn atoms"]
# Of Linux: sys/mount.h and sched.h.
MS_RDONLY, MS_REMOUNT, MS_REC, MS_PRIVATE = 1, 32, 16384, 1 << 18
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
NO_MOUNTS = 77


def learn(name, folder, before_write):
    """The model, and the warnings, where `before_write` is called with the number of each."""
    save, n_writes = CheckpointFile.save, 0

    def save_after_fault(checkpoint, tensors, content):
        nonlocal n_writes
        before_write(n_writes)
        n_writes += 1
        save(checkpoint, tensors, content)

    model, data = fits.make(name, checkpoint=folder / "fit.checkpoint")
    with warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(_checkpoint, "_STEPS_BETWEEN", 5)
        patch.setattr(CheckpointFile, "save", save_after_fault)
        model.fit(*data)
    assert all(warning.category is RuntimeWarning for warning in caught)
    return model, [str(warning.message) for warning in caught]


def assert_goes_on_from_the_file(name, folder, expected):
    assert [path.name for path in folder.iterdir()] == ["fit.checkpoint"]
    numbers = []
    model, messages = learn(name, folder, numbers.append)
    assert_same(found_in(name, model), expected)
    assert not messages
    return len(numbers)


def found_without_faults(name):
    model, data = fits.make(name)
    return found_in(name, model.fit(*data))


@pytest.mark.parametrize("name", NAMES)
def test_folder_that_vanishes_is_warned_of_once(name, tmp_path, tried):
    expected = found_without_faults(name)
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()

    def replace_folder_by_file(number):
        if number == 1:
            folder.rename(elsewhere)
            folder.touch()

    model, messages = learn(name, folder, replace_folder_by_file)
    assert_same(found_in(name, model), expected)
    assert len(messages) == 1
    assert "fit.checkpoint' could not be written" in messages[0]
    folder.unlink()
    elsewhere.rename(folder)
    assert assert_goes_on_from_the_file(name, folder, expected) > 2
    tried("disks that fail during a fit, survived")


def test_folder_that_comes_back_is_written_to_again(tmp_path):
    expected = found_without_faults("identity")
    folder = tmp_path / "folder"
    folder.mkdir()

    def vanish_for_three_writes(number):
        if number == 1:
            folder.rename(tmp_path / "elsewhere")
        elif number == 4:
            (tmp_path / "elsewhere").rename(folder)

    model, messages = learn("identity", folder, vanish_for_three_writes)
    assert_same(found_in("identity", model), expected)
    assert len(messages) == 1
    assert assert_goes_on_from_the_file("identity", folder, expected) == 0  # that of the last step


def limit_files(folder):
    """No file of this process can grow further; Python ignores the signal that says so."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))


def fill_disk(folder):
    disk = os.statvfs(folder)
    # All but a page: what is written fails midway, not at its start.
    (folder / "other").write_bytes(bytes((disk.f_bavail - 1) * disk.f_bsize))


def make_read_only(folder):
    mount(None, folder, None, MS_REMOUNT | MS_RDONLY, None)


def mount_own_disk(folder):
    """A small one, which this process alone can see."""
    namespaces = CLONE_NEWNS if os.geteuid() == 0 else CLONE_NEWNS | CLONE_NEWUSER
    if ctypes.CDLL(None).unshare(namespaces):
        os._exit(NO_MOUNTS)
    try:
        mount(None, "/", None, MS_REC | MS_PRIVATE, None)
        mount("tmpfs", folder, "tmpfs", 0, "size=2m")
    except OSError:
        os._exit(NO_MOUNTS)


def mount(source, target, kind, flags, options):
    texts = [text and os.fsencode(text) for text in (source, target, kind, options)]
    if ctypes.CDLL(None, use_errno=True).mount(*texts[:3], flags, texts[3]):
        raise OSError(ctypes.get_errno(), "mount")


def learn_with_fault(name, folder, prepare, fault, results):
    """In a process of its own: what was found, the warnings, and what is in the folder."""
    prepare(folder)

    def let_fault_happen(number):
        if number == 2:
            fault(folder)

    model, messages = learn(name, folder, let_fault_happen)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    results.write_bytes(pickle.dumps((found_in(name, model), messages, files)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("prepare", "fault", "words"),
    [
        (os.listdir, limit_files, "File too large"),
        (mount_own_disk, fill_disk, "No space left on device"),
        (mount_own_disk, make_read_only, "Read-only file system"),
    ],
    ids=["limit on files", "full disk", "read-only disk"],
)
def test_disk_that_fails_is_warned_of_once(name, prepare, fault, words, tmp_path, tried):
    folder, results = tmp_path / "folder", tmp_path / "results"
    folder.mkdir()
    process = fits.start(learn_with_fault, name, folder, prepare, fault, results)
    process.join()
    if process.exitcode == NO_MOUNTS:
        pytest.skip("needs the right to mount a disk")
    assert process.exitcode == 0
    found, messages, files = pickle.loads(results.read_bytes())
    expected = found_without_faults(name)
    assert_same(found, expected)
    assert len(messages) == 1
    assert words in messages[0]
    # The checkpoint that had been written before is whole, and nothing else is left.
    files.pop("other", None)
    assert files.keys() == {"fit.checkpoint"}
    (folder / "fit.checkpoint").write_bytes(files["fit.checkpoint"])
    assert assert_goes_on_from_the_file(name, folder, expected) > 2
    tried("disks that fail during a fit, survived")


@pytest.mark.parametrize("name", NAMES)
def test_folder_that_cannot_be_written_to_is_an_error_before_anything_is_computed(
    name, tmp_path, monkeypatch
):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    model, data = fits.make(name, checkpoint=tmp_path / "fit.checkpoint")
    monkeypatch.setattr(type(model), "_start", lambda *_: pytest.fail("computed"))
    attributes = dict(vars(model))
    with pytest.raises(ValueError, match=r"fit\.checkpoint' no file can be written: .*Permission"):
        model.fit(*data)
    assert vars(model) == attributes


@pytest.mark.parametrize("path", ["a" * 250, "a\0b"], ids=["too long", "with a null byte"])
def test_path_that_no_file_can_have_is_an_error_before_anything_is_computed(
    path, tmp_path, monkeypatch
):
    model, data = fits.make("online, drawn atoms", checkpoint=tmp_path / path)
    monkeypatch.setattr(type(model), "_start", lambda *_: pytest.fail("computed"))
    with pytest.raises(ValueError, match=r"no file can be written: .*(too long|null byte)"):
        model.fit(*data)


def test_model_that_cannot_be_saved_is_an_error_of_the_system(tmp_path):
    """And the file that was there is as it was."""
    model, data = fits.make("online, drawn atoms")
    model.fit(*data).save(tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/model'$"):
            model.save(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "model").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions of POSIX")
def test_files_may_be_read_by_those_whom_the_user_lets_read(tmp_path):
    before = os.umask(0o027)
    try:
        model, data = fits.make("online, drawn atoms", checkpoint=tmp_path / "fit.checkpoint")
        model.fit(*data).save(tmp_path / "model")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"fit.checkpoint": 0o640, "model": 0o640}
