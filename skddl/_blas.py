"""numpy's products on one thread, also where several fits overlap."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """In any number of threads at once; the last to leave restores what the first has found.

    Threads of numpy's products would wait for work by spinning, and so do those of torch: taking
    turns on the same cores, they make each other several times slower.
    """
    # Some libraries have one number for the process, some have one for each thread.
    with _of_process, _limit_of_thread():
        yield


class _OfProcess:
    """The limit of the process, which a thread of its own sets and takes back.

    Each fit on its own would put back what it had found: of two that overlap, the last one the
    limit of the other, for good. And a thread that has set a limit is, to newer threadpoolctl, the
    only one that can take it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._limit()
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._is_over.set()
                self._owner.join()

    def _limit(self) -> None:
        is_set, self._is_over = threading.Event(), threading.Event()

        def hold() -> None:
            try:
                with _limit_of_thread():
                    is_set.set()
                    self._is_over.wait()
            finally:
                is_set.set()

        # Not of a pool: those of Python take no more work once the main thread has ended.
        self._owner = threading.Thread(target=hold, daemon=True)
        self._owner.start()
        is_set.wait()


@functools.cache
def _libraries() -> ThreadpoolController:
    """Those of numpy and scipy; to look for them takes milliseconds."""
    return ThreadpoolController()


def _limit_of_thread() -> Any:
    return _libraries().limit(limits=1, user_api="blas")


_of_process = _OfProcess()
