"""How the loss, and what else is measured, went along during training."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._axes import get_axes
from ._fitted import last_step


class TrainingCurveDisplay:
    """Loss of each iteration, its mean per pass, and scores of the validation samples.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        Loss of each iteration.
    history : list of dicts, default=()
        Entries with `iteration` and measurements: `loss`, `validation_score`, ...

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
        Of the loss.
    score_ax_ : matplotlib Axes or None
        Of the validation scores, if there are any, to the right.
    lines_ : dict of str to matplotlib Line2D
        By what they show: "iteration", "mean of a pass", "validation".

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skddl import TaskDrivenDictionaryClassifier
    >>> from skddl.inspection import TrainingCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = TaskDrivenDictionaryClassifier(12, max_iter=20, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(clf)
    >>> len(display.loss_curve)
    20
    >>> plt.close(display.figure_)
    """

    def __init__(self, loss_curve: ArrayLike, *, history: Any = ()) -> None:
        self.loss_curve = loss_curve
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> "TrainingCurveDisplay":
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Fitted, with `loss_curve_`.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no `loss_curve_`.
        """
        estimator, _ = last_step(estimator, None)
        if not hasattr(estimator, "loss_curve_"):
            raise TypeError(f"{type(estimator).__name__} has no loss_curve_.")
        history = getattr(estimator, "history_", ())
        return cls(estimator.loss_curve_, history=history).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> "TrainingCurveDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : TrainingCurveDisplay
        """
        ax = get_axes(ax, type(self).__name__)
        loss = np.asarray(self.loss_curve)
        self.lines_ = {}
        (self.lines_["iteration"],) = ax.plot(
            np.arange(1, len(loss) + 1),
            loss,
            color="0.75",
            linewidth=0.8,
            marker="." if len(loss) == 1 else None,
            label="iteration",
        )
        passes = [entry for entry in self.history if "loss" in entry]
        if passes:
            (self.lines_["mean of a pass"],) = ax.plot(
                [entry["iteration"] for entry in passes],
                [entry["loss"] for entry in passes],
                color="C0",
                marker="." if len(passes) == 1 else None,
                label="mean of a pass",
            )
        ax.set(xlabel="iteration", ylabel="loss")
        if len(loss) and (loss > 0).all() and loss.max() > 20 * loss.min():
            ax.set_yscale("log")
        scored = [entry for entry in self.history if "validation_score" in entry]
        self.score_ax_ = None
        if scored:
            self.score_ax_ = ax.twinx()
            (self.lines_["validation"],) = self.score_ax_.plot(
                [entry["iteration"] for entry in scored],
                [entry["validation_score"] for entry in scored],
                color="C1",
                marker="." if len(scored) == 1 else None,
                label="validation",
            )
            self.score_ax_.set_ylabel("validation score")
        ax.legend(handles=list(self.lines_.values()), frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
