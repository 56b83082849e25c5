"""Compiled loops on the threads that torch computes with."""

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
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
    # Not of a pool: those of Python take no more work once the main thread has ended.
    others = [
        Thread(target=loop.ctypes, args=(pointer,), daemon=True) for _ in range(n_threads - 1)
    ]
    try:
        for other in others:
            other.start()
        loop.ctypes(pointer)
    finally:  # after Ctrl-C, too: the caller frees what they write to
        for other in others:
            if other.ident is not None:
                other.join()


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
