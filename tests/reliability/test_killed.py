"""A fit that is killed, again and again, ends in the model of one that is not."""

import os
import signal
from itertools import count

import numpy as np
import pytest

from skddl.training import _archive

from . import fits
from .models import assert_same

pytestmark = pytest.mark.slow

soak = pytest.mark.soak
# So many times must a fit be killed in vain before the test gives up: most are killed at the start.
MOST_KILLS = 200
LASTING = {"fit.checkpoint", "fit.checkpoint.features", "found.pickle"}


def reference_of(name, folder):
    folder.mkdir()
    process = fits.start(fits.fit_in_this_process, name, folder)
    process.join()
    assert process.exitcode == 0
    return fits.found(folder)


def litter_in(folder):
    return [path for path in folder.iterdir() if path.name not in LASTING]


def assert_next_fit_tidies_up(name, folder):
    """Litter that is old, as no file is that is being written."""
    for partial in litter_in(folder):
        os.utime(partial, (0, 0))
    model, data = fits.make(name, checkpoint=folder / "fit.checkpoint")
    model.fit(*data)
    assert not litter_in(folder)


@pytest.mark.parametrize(
    ("name", "n_kills"),
    [
        ("unlabelled, early stopping", 2),
        ("dropout and early stopping", 2),
        *(pytest.param(name, 25, marks=soak) for name in fits.FITS),
    ],
)
def test_fit_killed_at_random_moments_ends_in_the_same_model(name, n_kills, tmp_path, tried):
    expected, seconds = reference_of(name, tmp_path / "reference")
    rng = np.random.default_rng(0)
    n_killed, n_killed_late = 0, 0
    for number in count():
        folder = tmp_path / f"{number}"
        folder.mkdir()
        for n_before in range(MOST_KILLS):
            process = fits.start(fits.fit_in_this_process, name, folder)
            # Later and later: on a busy machine the start alone may take longer than all did.
            process.join(rng.uniform(0, seconds * (1 + n_before / 10)))
            if process.exitcode is None:
                process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            n_killed += 1
            n_killed_late += (folder / "fit.checkpoint").exists()
        assert_same(fits.found(folder)[0], expected)
        assert_next_fit_tidies_up(name, folder)
        if n_killed >= n_kills and n_killed_late:
            break
    tried("kills at random moments of a fit, survived", n_killed)


def die_while_writing(moment):
    """Kill this process at that moment, counted from 0, of writing its files: 4 for each."""
    moments = count()
    save, fsync, replace = _archive.save, os.fsync, os.replace

    def maybe_die(before=lambda: None):
        if next(moments) == moment:
            before()
            os.kill(os.getpid(), signal.SIGKILL)

    def die_or_save(tensors, metadata):
        maybe_die()
        return save(tensors, metadata)

    def sync_or_die(file):
        # As if it had written half of it.
        maybe_die(lambda: os.truncate(file, os.fstat(file).st_size // 2))
        fsync(file)
        maybe_die()

    def replace_or_die(source, target):
        replace(source, target)
        maybe_die()

    _archive.save = die_or_save
    os.fsync, os.replace = sync_or_die, replace_or_die


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        ("online, drawn atoms", [1, 3]),
        *(pytest.param(name, range(30), marks=soak) for name in fits.FITS),
    ],
)
def test_fit_killed_while_it_writes_ends_in_the_same_model(name, moments, tmp_path, tried):
    expected, _ = reference_of(name, tmp_path / "reference")
    folder = tmp_path / "killed"
    folder.mkdir()
    n_killed = 0
    for moment in moments:
        arguments = (name, folder, 3, die_while_writing, (moment,))
        process = fits.start(fits.fit_in_this_process, *arguments)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        n_killed += 1
    assert n_killed
    process = fits.start(fits.fit_in_this_process, name, folder)
    process.join()
    assert process.exitcode == 0
    assert_same(fits.found(folder)[0], expected)
    assert_next_fit_tidies_up(name, folder)
    tried("kills while a checkpoint is written, survived", n_killed)
