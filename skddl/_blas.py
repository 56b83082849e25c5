"""numpy's products on one thread, also where several fits overlap."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

from ._process_settings import ProcessSetting


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """In any number of threads at once; the last to leave restores what the first has found.

    Threads of numpy's products would wait for work by spinning, and so do those of torch: taking
    turns on the same cores, they make each other several times slower.
    """
    # Some libraries have one number for the process, some have one for each thread.
    with _of_process, _limit_of_thread():
        yield


class _OfProcess(ProcessSetting):
    """The limit of the process, which a thread of its own sets and takes back.

    A thread that has set a limit is, to newer threadpoolctl, the only one that can take it back.
    """

    def _look(self) -> None:
        self._is_set, self._is_over = threading.Event(), threading.Event()
        # Not of a pool: those of Python take no more work once the main thread has ended.
        self._owner = threading.Thread(target=self._hold, daemon=True)
        self._limit: Any = None

    def _hold(self) -> None:
        try:
            with _limit_of_thread() as self._limit:
                self._is_set.set()
                self._is_over.wait()
        finally:
            self._is_set.set()

    def _change(self) -> None:
        self._owner.start()
        self._is_set.wait()

    def _put_back(self) -> None:
        if self._owner.is_alive():
            self._is_over.set()
            self._owner.join()
        elif self._limit is not None:  # in a child that was forked, without the owner
            another = threading.Thread(target=self._limit.restore_original_limits, daemon=True)
            another.start()
            another.join()


@functools.cache
def _libraries() -> ThreadpoolController:
    """Those of numpy and scipy; to look for them takes milliseconds."""
    return ThreadpoolController()


def _limit_of_thread() -> Any:
    return _libraries().limit(limits=1, user_api="blas")


_of_process = _OfProcess()
