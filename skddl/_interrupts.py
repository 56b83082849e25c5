"""Ctrl-C during a fit: it raises KeyboardInterrupt where that does no harm, else a moment later.

An interrupt between two statements that belong together, as a step of the optimizer and its
projection, would leave half a step; one while an earlier one is dealt with, half a model. Hence

- `guarded`, around a whole fit: it waits inside, unless it is allowed, and at the latest is raised
  at the end;
- `allowed`, around what takes long and may be left undone;
- `held`, inside of that, around what must not;
- `wait_from_here`, which ends `allowed`, where there begins to be a model to keep.
"""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import sklearn
import torch


class Interrupts:
    """What becomes of Ctrl-C; there is one, since it reaches the main thread of a process alone."""

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], Any] = signal.default_int_handler
        self._may_raise = False
        self._is_waiting = False

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Inside, it is raised where it is `allowed`; what came elsewhere is raised at the end."""
        handler = signal.getsignal(signal.SIGINT)
        if not _in_main_thread() or not callable(handler):
            yield
            return
        if handler == self._receive:  # a fit inside another one
            with self.held():
                yield
            return
        self._handler, self._may_raise, self._is_waiting = handler, False, False
        records_gradients, config = torch.is_grad_enabled(), sklearn.get_config()
        signal.signal(signal.SIGINT, self._receive)
        try:
            yield
        except KeyboardInterrupt as error:
            # A context of scikit-learn that it left open would be closed with the traceback, which
            # someone may keep, and put back a configuration of the midst of a fit, for good.
            traceback.clear_frames(error.__traceback__)
            sklearn.set_config(**config)
            raise
        finally:
            # torch.no_grad leaves its mode behind if it is interrupted on its way in or out.
            torch.set_grad_enabled(records_gradients)
            signal.signal(signal.SIGINT, handler)
            waiting, self._is_waiting = self._is_waiting, False
            if waiting:
                handler(signal.SIGINT, None)

    def allowed(self) -> "_Region":
        """Inside, it is raised, once; what has been waiting is raised at the beginning."""
        return _Region(self, True)

    def held(self) -> "_Region":
        """Inside, it waits, and is raised at the end if it was allowed before."""
        return _Region(self, False)

    def wait_from_here(self) -> None:
        """Let it wait, until it is `allowed` anew, or until the end of the fit."""
        if _in_main_thread():
            self._may_raise = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._may_raise:
            self._is_waiting = True
            return
        # Whatever tidies up after this one is not to be interrupted in turn.
        self._may_raise = False
        self._handler(number, frame)
        self._may_raise = True  # that of the user's program did not raise

    def _let(self, may_raise: bool) -> None:
        self._may_raise = may_raise
        if may_raise and self._is_waiting:
            self._is_waiting = False
            self._receive(signal.SIGINT, None)


class _Region:
    """A class, since an interrupt on the way out of a generator would leave it behind."""

    def __init__(self, interrupts: Interrupts, may_raise: bool) -> None:
        self.interrupts = interrupts
        self.may_raise = may_raise

    def __enter__(self) -> None:
        if _in_main_thread():
            self.before = self.interrupts._may_raise
            self.interrupts._let(self.may_raise)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if not _in_main_thread():
            return
        if not self.before:
            self.interrupts._may_raise = False
        elif not self.may_raise and error is None:
            self.interrupts._let(True)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


interrupts = Interrupts()
