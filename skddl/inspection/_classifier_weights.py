"""What each class makes of each atom, Fig. 2 of paper 1."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._axes import get_axes
from ._fitted import last_step


class ClassifierWeightsDisplay:
    """Weights of a linear classifier over sparse codes, class by class (paper 1, Fig. 2).

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    coef : ndarray of shape (n_outputs, n_components)
        W.
    names : array-like of shape (n_outputs,)
        What the rows stand for: the classes, or the outputs of a regression.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    lines_ : list of matplotlib LineCollection
        The weights of each class.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skddl import TaskDrivenDictionaryClassifier
    >>> from skddl.inspection import ClassifierWeightsDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = TaskDrivenDictionaryClassifier(12, max_iter=20, random_state=0).fit(X, y)
    >>> display = ClassifierWeightsDisplay.from_estimator(clf)
    >>> display.coef.shape
    (3, 12)
    >>> plt.close(display.figure_)
    """

    def __init__(self, coef: NDArray[Any], *, names: ArrayLike) -> None:
        self.coef = coef
        self.names = names

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> "ClassifierWeightsDisplay":
        """Draw the weights of a fitted estimator.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Fitted, with `coef_`.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : ClassifierWeightsDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no `coef_`.
        """
        estimator, _ = last_step(estimator, None)
        if not hasattr(estimator, "coef_"):
            raise TypeError(f"{type(estimator).__name__} is no linear classifier: it has no coef_.")
        coef = np.atleast_2d(estimator.coef_)
        names = getattr(estimator, "classes_", np.arange(len(coef)))
        if len(names) == 2 and len(coef) == 1:
            names = names[1:]
        return cls(coef, names=names).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> "ClassifierWeightsDisplay":
        """Draw the weights.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : ClassifierWeightsDisplay
        """
        ax = get_axes(ax, type(self).__name__)
        scale = np.abs(self.coef).max() or 1.0
        atoms = np.arange(self.coef.shape[1])
        self.lines_ = []
        for row, weights in enumerate(self.coef):
            ax.axhline(-row, color="0.8", linewidth=0.5)
            heights = -row + 0.45 * weights / scale
            self.lines_.append(ax.vlines(atoms, -row, heights, color="C0", linewidth=0.8))
        ax.set_yticks(-np.arange(len(self.coef)), np.asarray(self.names))
        ax.set(
            xlabel="atom",
            ylabel=f"weights of each output (the largest is {scale:.2g})",
            xlim=(-1, self.coef.shape[1]),
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self
