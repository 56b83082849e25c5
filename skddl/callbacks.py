"""Callbacks that watch a training, for scikit-learn 1.9 and later.

Those of scikit-learn, such as its ``ProgressBar`` and its ``ScoringMonitor``, can be used, too.
"""

import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from sklearn.base import BaseEstimator


class TensorBoard:
    """Writes what `history_` has of each pass over the samples, for TensorBoard.

    That is the loss, the learning rate, the validation score if there is one, and of sparse codes
    the number of non-zeros; of an :class:`OnlineDictionaryLearning`, which has no history, its
    parameters alone. Torch's own writer does it, which needs the package tensorboard, as
    ``pip install 'skddl[tensorboard]'`` brings it. Each fit has a folder of its own, which begins
    with the time.

    Parameters
    ----------
    log_dir : path-like
        Where the folders are made, for ``tensorboard --logdir``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_digits
    >>> from skddl import TaskDrivenDictionaryClassifier
    >>> from skddl.callbacks import TensorBoard
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = TaskDrivenDictionaryClassifier(max_iter=40, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = clf.set_callbacks(TensorBoard(folder)).fit(X, y)
    ...     [run.name.split("-")[-1] for run in Path(folder).iterdir()]
    ['TaskDrivenDictionaryClassifier']
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = log_dir
        self._writers: dict[BaseEstimator, Any] = {}

    def setup(self, estimator: BaseEstimator, context: Any) -> None:
        """Open the folder of a fit."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "The callback TensorBoard needs the package tensorboard: pip install "
                "'skddl[tensorboard]'."
            ) from error
        # Fits that begin at the same time, in other processes, have other folders.
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}-{type(estimator).__name__}"
        writer = SummaryWriter(str(Path(self.log_dir) / name))
        writer.add_text("parameters", f"`{estimator!r}`")
        self._writers[estimator] = writer

    def on_fit_task_begin(self, estimator: BaseEstimator, context: Any) -> None:
        """Nothing has happened yet."""

    def on_fit_task_end(self, estimator: BaseEstimator, context: Any) -> None:
        """Write what was found in a pass."""
        if context.task_name != "epoch":
            return
        entry = estimator.history_[-1]
        for name, value in entry.items():
            if name != "iteration":
                self._writers[estimator].add_scalar(name, value, entry["iteration"])

    def teardown(self, estimator: BaseEstimator, context: Any) -> None:
        """Close the folder."""
        if estimator in self._writers:
            self._writers.pop(estimator).close()
