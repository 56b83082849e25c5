"""How many threads share a computation."""

import functools
import threading
from pathlib import Path
from typing import Any

import joblib
import torch

from . import _core

# Multiply-adds, some 100 microseconds, below which another thread does not pay.
_WORK_OF_A_THREAD = 2**22
# The same of a step of training, some fifty computations of torch's. At the end of each, all
# threads wait for one another: for milliseconds, where another program has the core of one of them.
_WORK_OF_A_THREAD_IN_STEPS = 2**24


def count_threads(work: int) -> int:
    """Threads for so many multiply-adds: as many as pay, torch takes, and there are processors.

    torch's number heeds OMP_NUM_THREADS, threadpoolctl and joblib's limits, but not the quota of a
    container.
    """
    return max(1, min(work // _WORK_OF_A_THREAD, torch.get_num_threads(), _count_processors()))


class few_threads:
    """Inside, torch takes no more threads than pay for steps of so many multiply-adds.

    In any number of threads at once; the last to leave restores what the first has found, for all
    that begin later.
    """

    _lock = threading.Lock()
    _n_inside, _before = 0, 1

    def __init__(self, work: int) -> None:
        self._at_most = max(1, min(work // _WORK_OF_A_THREAD_IN_STEPS, _count_processors()))

    def __enter__(self) -> None:
        with few_threads._lock:
            self._own = torch.get_num_threads()
            if not few_threads._n_inside:
                few_threads._before = self._own
            few_threads._n_inside += 1
            torch.set_num_threads(min(self._own, self._at_most))

    def __exit__(self, *_: object) -> None:
        with few_threads._lock:
            few_threads._n_inside -= 1
            # Of this thread, and of those that have not computed yet.
            torch.set_num_threads(self._own if few_threads._n_inside else few_threads._before)


@functools.cache
def _count_processors() -> int:
    return joblib.cpu_count()


@functools.cache
def team() -> Any:
    """The threads of the core: those of the OpenMP that torch has loaded, if it is GNU's."""
    package = Path(torch.__file__).parent
    found = [*package.glob("lib/libgomp*.so*"), *package.parent.glob("torch.libs/libgomp*")]
    teams = (_core.core.Team(str(path)) for path in found)
    return next((team for team in teams if team.is_openmp), _core.core.Team(""))
