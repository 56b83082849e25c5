"""How many atoms a code has, and how many codes an atom."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import check_numbers
from ._axes import get_axes
from ._fitted import last_step


class SparsityDisplay:
    """Non-zeros per code, and use per atom.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    n_nonzero : ndarray of shape (n_samples,)
        Non-zeros of each code.
    use : ndarray of shape (n_components,)
        The share of codes that have each atom.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : ndarray of 2 matplotlib Axes
        A histogram of the non-zeros, and the use of the atoms, the most used first.
    dead_ : ndarray of int
        Atoms that no code has.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skddl.inspection import SparsityDisplay
    >>> codes = np.array([[1.0, 0.0, 0.0], [2.0, -1.0, 0.0]])
    >>> display = SparsityDisplay.from_predictions(codes)
    >>> display.n_nonzero, display.use, display.dead_
    (array([1, 2]), array([1. , 0.5, 0. ]), array([2]))
    >>> plt.close(display.figure_)
    """

    def __init__(self, n_nonzero: NDArray[Any], use: NDArray[Any]) -> None:
        self.n_nonzero = n_nonzero
        self.use = use

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, *, ax: Any = None) -> "SparsityDisplay":
        """Draw how a fitted estimator codes samples.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Fitted; its `transform` gives codes.
        X : array-like of shape (n_samples, n_features)
            Samples.
        ax : sequence of 2 matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : SparsityDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no codes.
        """
        estimator, X = last_step(estimator, X)
        if not hasattr(estimator, "transform"):
            raise TypeError(f"{type(estimator).__name__} has no codes: no transform.")
        return cls.from_predictions(estimator.transform(X), ax=ax)

    @classmethod
    def from_predictions(cls, codes: Any, *, ax: Any = None) -> "SparsityDisplay":
        """Draw how sparse codes are.

        Parameters
        ----------
        codes : array-like or sparse matrix of shape (n_samples, n_components)
        ax : sequence of 2 matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : SparsityDisplay

        Raises
        ------
        ValueError
            If `codes` has no rows, no columns, other than two axes, or entries that are not finite.
        TypeError
            If it holds no numbers.
        """
        codes = check_numbers(codes, "codes", accept_sparse=["csr", "csc"])
        used = codes != 0
        n_nonzero, use = (np.asarray(used.sum(axis=axis)).ravel() for axis in (1, 0))
        return cls(n_nonzero, use / len(n_nonzero)).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> "SparsityDisplay":
        """Draw the two diagrams.

        Parameters
        ----------
        ax : sequence of 2 matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : SparsityDisplay
        """
        axes = get_axes(ax, type(self).__name__, n=2)
        self.dead_ = np.flatnonzero(self.use == 0)
        lowest, highest = self.n_nonzero.min(), self.n_nonzero.max()
        width = max(1, (highest - lowest) // 40)
        bins = np.arange(lowest, highest + width + 1, width) - 0.5
        axes[0].hist(self.n_nonzero, bins=bins)
        mean = self.n_nonzero.mean()
        axes[0].axvline(mean, color="C1", label=f"mean {mean:.1f} of {len(self.use)}")
        axes[0].set(xlabel="non-zeros of a code", ylabel="codes")
        axes[1].plot(np.arange(1, len(self.use) + 1), np.sort(self.use)[::-1], label="atoms")
        n_alive = len(self.use) - len(self.dead_)
        if len(self.dead_):
            axes[1].axvspan(
                n_alive + 0.5,
                len(self.use) + 0.5,
                color="C1",
                alpha=0.3,
                label=f"{len(self.dead_)} not used",
            )
        axes[1].set(
            xlabel="atom, the most used first", ylabel="share of codes that have it", ylim=(0, None)
        )
        for each in axes:
            # Above the axes: inside there may be bars everywhere.
            each.legend(
                frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, ncols=2
            )
        self.ax_, self.figure_ = axes, axes[0].figure
        return self
