"""scikit-learn's callbacks, where it has them (1.9 and later)."""

from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's: has the method that estimators call, and no effect."""

        def _init_callback_context(self, **_: Any) -> "_NoContext":
            return _NoContext()

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Stands in for scikit-learn's decorator of `fit`."""
        return method


class EpochCallbacks:
    """Tells the callbacks of an estimator, inside its `fit`, where each epoch begins and ends.

    An epoch is what they are told of, under another name if it is not a pass over the samples.

    Parameters
    ----------
    estimator : estimator in training
    X, y : arrays
        Training data, handed to callbacks that ask for it.
    n_epochs : int
    snapshot : callable
        Gives the fitted attributes as they would be if `fit` stopped now.
    task_name : str, default="epoch"
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        X: Any,
        y: Any,
        n_epochs: int,
        snapshot: Callable[[], dict[str, Any]],
        task_name: str = "epoch",
    ) -> None:
        self.arguments = {"estimator": estimator, "X": X, "y": y}
        self.snapshot = snapshot
        self.n_epochs = n_epochs
        self.task_name = task_name
        self.n_ended = 0
        self.fit = estimator._init_callback_context(max_subtasks=n_epochs)
        self.fit.call_on_fit_task_begin(**self.arguments)
        # scikit-learn keeps the contexts of all epochs until the fit is over: where nobody is told
        # of them, there need be none.
        self.parent = self.fit if getattr(estimator, "_skl_callbacks", ()) else _NoContext()
        if n_epochs:
            self._begin_epoch()

    def end_epoch(self) -> bool:
        """Whether a callback wants training to stop."""
        if self.n_ended == self.n_epochs:
            return False
        self.n_ended += 1
        stop = self.epoch.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=self.snapshot
        )
        if not stop and self.n_ended < self.n_epochs:
            self._begin_epoch()
        return bool(stop)

    def end_fit(self) -> None:
        """Training is over."""
        self.fit.call_on_fit_task_end(**self.arguments, reconstruction_attributes=self.snapshot)

    def _begin_epoch(self) -> None:
        self.epoch = self.parent.subcontext(task_name=self.task_name)
        self.epoch.call_on_fit_task_begin(**self.arguments)


class _NoContext:
    """A context of callbacks without any."""

    def subcontext(self, **_: Any) -> "_NoContext":
        return self

    def call_on_fit_task_begin(self, **_: Any) -> bool:
        return False

    def call_on_fit_task_end(self, **_: Any) -> bool:
        return False


__all__ = ["CallbackSupportMixin", "EpochCallbacks", "with_callbacks"]
