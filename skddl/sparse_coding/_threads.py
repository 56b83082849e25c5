"""How many threads share a computation."""

import functools
from pathlib import Path
from typing import Any

import joblib
import torch

from . import _core

# Multiply-adds, some 50 microseconds, below which another thread does not pay: where other programs
# want its core, all have to wait for it, for milliseconds.
_WORK_OF_A_THREAD = 2**22


def count_threads(work: int) -> int:
    """Threads for so many multiply-adds: as many as pay, torch takes, and there are processors.

    torch's number heeds OMP_NUM_THREADS, threadpoolctl and joblib's limits, but not the quota of a
    container.
    """
    return max(1, min(work // _WORK_OF_A_THREAD, torch.get_num_threads(), _count_processors()))


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
