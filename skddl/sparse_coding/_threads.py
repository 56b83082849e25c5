"""Compiled loops on the threads that torch computes with."""

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch


def run(loop: Any, pointer: int, *, at_most: int) -> None:
    """Call ``loop(pointer)``, a numba `cfunc`, on torch's number of threads at once, or `at_most`.

    The number is that of ``torch.get_num_threads()``, so that OMP_NUM_THREADS, threadpoolctl and
    joblib's limits hold. Returns when all calls have.
    """
    n_threads = min(torch.get_num_threads(), at_most)
    if n_threads == 1:
        loop.ctypes(pointer)
        return
    in_parallel = _openmp_of_torch()
    if in_parallel is not None:
        in_parallel(loop.address, pointer, n_threads, 0)
        return
    with ThreadPoolExecutor(n_threads - 1) as pool:
        others = [pool.submit(loop.ctypes, pointer) for _ in range(n_threads - 1)]
        loop.ctypes(pointer)
        for other in others:
            other.result()


@functools.cache
def _openmp_of_torch() -> Callable[..., None] | None:
    """``GOMP_parallel`` of the OpenMP that torch has loaded, if that is GNU's.

    Its threads wait for more work by spinning, for milliseconds. Threads of any other pool would
    have to share the cores with them, and on two cores take twice as long.
    """
    package = Path(torch.__file__).parent
    for path in [*package.glob("lib/libgomp*.so*"), *package.parent.glob("torch.libs/libgomp*")]:
        try:
            parallel = ctypes.CDLL(str(path), os.RTLD_NOLOAD | os.RTLD_NOW).GOMP_parallel
        except OSError:  # it is there, but not loaded
            continue
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return parallel
    return None
