"""How many threads share a computation."""

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import torch

from .._process_settings import ProcessSetting
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


class _NumberOfThreads(ProcessSetting):
    """What torch takes where nothing of ours limits it."""

    def _look(self) -> None:
        self.n = torch.get_num_threads()

    def _change(self) -> None:
        pass  # each thread has a number of its own, and those that have not computed yet another

    def _put_back(self) -> None:
        torch.set_num_threads(self.n)


class _Limit(threading.local):
    n_threads = sys.maxsize


_unlimited = _NumberOfThreads()
_limit = _Limit()


@contextmanager
def few_threads(work: int) -> Iterator[None]:
    """Inside, torch takes no more threads than pay for steps of so many multiply-adds."""
    outer = _limit.n_threads
    pay = max(1, min(work // _WORK_OF_A_THREAD_IN_STEPS, _count_processors()))
    with _unlimited:
        try:
            _limit_to(min(outer, pay))
            yield
        finally:
            _limit_to(outer)


def _limit_to(n_threads: int) -> None:
    """In this thread, and in those that have not computed yet."""
    _limit.n_threads = n_threads
    torch.set_num_threads(min(n_threads, _unlimited.n))


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
