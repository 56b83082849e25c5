"""A worker or a rank that dies: an error in the others, soon, and no hang."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.model_selection import GridSearchCV
from torch import distributed, nn

from skddl import TaskDrivenDictionaryClassifier
from tests.saving.data import TDDL, X, y

from . import fits

soak = pytest.mark.soak
needs_gloo = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="needs a torch with gloo",
)
# Seconds that are more than enough, however busy the machine is.
BOUND = 60
# Seconds after which processes that the user's program has started give one another up.
PATIENCE = 4


class Deadly:
    """Features whose making ends the process, if it is not this one."""

    def __init__(self, end, pids):
        self.end, self.pids, self.main = end, pids, os.getpid()

    def __call__(self, input_shape):
        if os.getpid() != self.main:
            (self.pids / f"{os.getpid()}").touch()
            self.end()
        return nn.Linear(64, 8)


def exit_at_once():
    os._exit(1)


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("end", "n_jobs_later"), [(kill_itself, 1), pytest.param(exit_at_once, 2, marks=soak)]
)
def test_worker_of_a_search_that_dies_is_an_error(end, n_jobs_later, tmp_path, tried, measured):
    features = Deadly(end, tmp_path)
    model = TaskDrivenDictionaryClassifier(**TDDL, features=features)
    search = GridSearchCV(model, {"nu1": [1e-3, 1.0]}, cv=2, n_jobs=2)
    with pytest.raises(TerminatedWorkerError):
        search.fit(X, y)
    deaths = {int(path.name): path.stat().st_mtime for path in tmp_path.iterdir()}
    seconds = time.time() - min(deaths.values())
    assert seconds < BOUND
    measured(f"worker of a search, {end.__name__}: an error after {seconds:.2f} s")
    assert not any(is_alive(pid) for pid in deaths)
    search.set_params(estimator__features="linear", n_jobs=n_jobs_later).fit(X, y)
    assert search.best_score_ > 0.8
    tried("workers of a search lost, an error in time")


class TellsWhereItIs(TaskDrivenDictionaryClassifier):
    """Makes files when it starts, and when it trains; a fit takes hours."""

    folder = None

    def _start(self, data, rng):
        (self.folder / f"start {distributed.get_rank()}").touch()
        if distributed.get_rank() == 1:
            time.sleep(0.3)  # the other one waits for it
        super()._start(data, rng)

    def _compute_loss(self, batch):
        if self.n_iter_ == 3:
            (self.folder / f"training {distributed.get_rank()}").touch()
        return super()._compute_loss(batch)


def fit_together(folder, rank, *, under_torchrun=False):
    """Write down the error in which a fit of two processes ends."""
    if not under_torchrun:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/meeting",
            rank=rank,
            world_size=2,
            timeout=timedelta(seconds=PATIENCE),
        )
    TellsWhereItIs.folder = folder
    try:
        TellsWhereItIs(**{**TDDL, "max_iter": 10**7}).fit(X, y)
    except RuntimeError as error:
        (folder / f"error {rank}").write_text(str(error))


def wait_for(*paths):
    end = time.monotonic() + BOUND
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, f"{[p.name for p in paths]} were not made"
        time.sleep(0.01)


@needs_gloo
@pytest.mark.parametrize(
    ("number", "moment", "lost"),
    [
        (signal.SIGKILL, "training", 1),
        pytest.param(signal.SIGKILL, "training", 0, marks=soak),
        pytest.param(signal.SIGKILL, "start", 1, marks=soak),
        # It neither answers nor breaks the connection, as a machine that has frozen.
        pytest.param(signal.SIGSTOP, "training", 1, marks=soak),
        pytest.param(signal.SIGSTOP, "start", 1, marks=soak),
    ],
)
def test_rank_that_is_lost_is_an_error_in_the_other(
    number, moment, lost, tmp_path, tried, measured
):
    processes = [fits.start(fit_together, tmp_path, rank) for rank in (0, 1)]
    try:
        wait_for(tmp_path / f"{moment} 0", tmp_path / f"{moment} 1")
        time.sleep(np.random.default_rng(0).uniform(0, 0.1))
        os.kill(processes[lost].pid, number)
        begin = time.monotonic()
        wait_for(tmp_path / f"error {1 - lost}")
        seconds = time.monotonic() - begin
        measured(f"rank {lost}, {number.name} in {moment}: an error after {seconds:.2f} s")
        processes[1 - lost].join(BOUND)
        assert processes[1 - lost].exitcode == 0
    finally:
        for process in processes:
            process.kill()
            process.join()
    tried("ranks lost, an error in time")


@needs_gloo
@soak
@pytest.mark.parametrize("lost", [0, 1])
def test_rank_that_is_killed_under_torchrun_ends_the_other(lost, tmp_path, tried, measured):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *("-m", "tests.reliability.test_lost_processes", str(tmp_path)),
    ]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as torchrun:
        try:
            wait_for(tmp_path / "training 0", tmp_path / "training 1")
            pids = [int((tmp_path / f"pid {rank}").read_text()) for rank in (0, 1)]
            os.kill(pids[lost], signal.SIGKILL)
            begin = time.monotonic()
            assert torchrun.wait(BOUND) == 1
            seconds = time.monotonic() - begin
            measured(f"rank {lost} under torchrun, SIGKILL: the end after {seconds:.2f} s")
            assert not any(is_alive(pid) for pid in pids)
        finally:
            torchrun.terminate()
    tried("ranks lost, an error in time")


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    (folder / f"pid {rank}").write_text(str(os.getpid()))
    fit_together(folder, rank, under_torchrun=True)
