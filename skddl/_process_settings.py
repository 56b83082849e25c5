"""Settings of the whole process, also where several fits overlap."""

import os
import threading
from abc import ABC, abstractmethod


class ProcessSetting(ABC):
    """A setting that the first thread to come in changes, and the last to leave puts back.

    Each on its own would put back what it had found: of two that overlap, the last one the setting
    of the other, for good. A class, since an interrupt between a generator and its `with` would
    leave the setting behind.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # what handles a signal may come in, too
        self._inside: list[int] = []  # identities of threads
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(
                before=self._lock.acquire,
                after_in_parent=self._lock.release,
                after_in_child=self._forget_others,
            )

    def __enter__(self) -> None:
        is_inside = False
        try:
            with self._lock:
                if not self._inside:
                    self._look()
                self._inside, is_inside = [*self._inside, threading.get_ident()], True
                if len(self._inside) == 1:
                    self._change()
        except BaseException:  # also of Ctrl-C, after which `with` would not call __exit__
            if is_inside:
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside.remove(threading.get_ident())
            if not self._inside:
                self._put_back()

    def _forget_others(self) -> None:
        """In a child that was forked there is no thread but the one that did so."""
        self._lock.release()
        was_inside, this = bool(self._inside), threading.get_ident()
        self._inside = [thread for thread in self._inside if thread == this]
        if was_inside and not self._inside:
            self._put_back()

    @abstractmethod
    def _look(self) -> None:
        """Note what there is before the change."""

    @abstractmethod
    def _change(self) -> None:
        """Change the setting."""

    @abstractmethod
    def _put_back(self) -> None:
        """Put back what was noted, also if the change came to nothing."""
