"""One prediction: the sample, the atoms that code it, and what each of them adds to the score."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar

from ._axes import get_axes, show_images
from ._fitted import feature_names, last_step, one_row
from ._images import atom_shape, atoms_in_input_space

# More names would cover one another.
_MOST_NAMES = 40


class ExplanationDisplay:
    """The sample, its strongest atoms with their coefficients, and what each adds to a score.

    The score of a class is linear in the code: ``b + sum_k w_k a_k``. What atom k adds is
    ``w_k a_k``; shown is its part in the score of the predicted class less that of the next one (of
    a regressor: in the output).

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    sample : ndarray of shape (C, H, W) or (n_features,)
        The sample.
    atoms : ndarray of shape (n_atoms, C, H, W) or (n_atoms, n_features)
        The atoms that are shown.
    indices : ndarray of shape (n_atoms,)
        Their numbers in the dictionary.
    coefficients : ndarray of shape (n_atoms,)
        Their entries of the code.
    contributions : ndarray of shape (n_atoms,)
        What they add.
    others : float
        What all other atoms add.
    intercept : float
        What the score is without any atom.
    names : tuple of str
        The class that is predicted, and the next one; of a regressor the output alone.
    feature_names : ndarray of shape (n_features,), default=None
        What a curve has along its axis.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : ndarray of 3 matplotlib Axes
        The sample, the atoms, and the contributions.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skddl import TaskDrivenDictionaryClassifier
    >>> from skddl.inspection import ExplanationDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = TaskDrivenDictionaryClassifier(50, max_iter=20, random_state=0).fit(X / 16, y)
    >>> display = ExplanationDisplay.from_estimator(clf, X[0] / 16, image_shape=(8, 8))
    >>> display.names[0] == str(clf.predict(X[:1] / 16)[0])
    True
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        sample: NDArray[Any],
        atoms: NDArray[Any],
        *,
        indices: NDArray[Any],
        coefficients: NDArray[Any],
        contributions: NDArray[Any],
        others: float,
        intercept: float,
        names: tuple[str, ...],
        feature_names: NDArray[Any] | None = None,
    ) -> None:
        self.sample = sample
        self.atoms = atoms
        self.indices = indices
        self.coefficients = coefficients
        self.contributions = contributions
        self.others = others
        self.intercept = intercept
        self.names = names
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        sample: ArrayLike,
        X: ArrayLike | None = None,
        *,
        output: int = 0,
        image_shape: tuple[int, ...] | None = None,
        max_atoms: int = 8,
        cmap: Any = "RdBu_r",
        ax: Any = None,
    ) -> "ExplanationDisplay":
        """Explain what a fitted estimator predicts of one sample.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Fitted: a task-driven classifier or regressor.
        sample : array-like of shape (n_features,), Series, or DataFrame of one row
            The sample, or an image of shape (C, H, W).
        X : array-like of shape (n_samples, n_features), default=None
            Samples by which atoms are shown: see :meth:`DictionaryDisplay.from_estimator`.
        output : int, default=0
            Of a regressor of several outputs, which one.
        image_shape : tuple (C, H, W) or (H, W), default=None
            The shape of a sample. None: that of the estimator; if it has none, curves are drawn.
        max_atoms : int, default=8
            How many atoms are shown, those that add most.
        cmap : str or Colormap, default="RdBu_r"
            For images of one channel: zero is its middle.
        ax : sequence of 3 matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : ExplanationDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no dictionary under a linear output.
        ValueError
            If `image_shape` does not fit, `X` is needed and missing, there is no such output,
            `max_atoms` is below 1, or there are several samples.
        """
        check_scalar(max_atoms, "max_atoms", Integral, min_val=1)
        _, rows = last_step(estimator, one_row(sample))
        known_names = feature_names(estimator)
        estimator, X = last_step(estimator, X)
        # Layers have a list of dictionaries, and what is no sparse code none.
        if not hasattr(estimator, "coef_") or isinstance(
            getattr(estimator, "components_", []), list
        ):
            raise TypeError(
                f"{type(estimator).__name__} has no linear output over a single dictionary."
            )
        codes = estimator.transform(rows)
        code = (codes.toarray() if hasattr(codes, "toarray") else np.asarray(codes))[0]
        weights, intercept, names = _direction(estimator, code, output)
        contributions = weights * code
        active = np.flatnonzero(code)
        shown = active[np.argsort(-np.abs(contributions[active]), kind="stable")][:max_atoms]
        atoms = atoms_in_input_space(estimator, X)
        shape = atom_shape(estimator, atoms.shape[1], image_shape)
        display = cls(
            np.asarray(rows, dtype=float)[0].reshape(shape),
            atoms[shown].reshape(len(shown), *shape),
            indices=shown,
            coefficients=code[shown],
            contributions=contributions[shown],
            others=float(contributions.sum() - contributions[shown].sum()),
            intercept=intercept,
            names=names,
            feature_names=known_names,
        )
        return display.plot(cmap=cmap, ax=ax)

    def plot(self, *, cmap: Any = "RdBu_r", ax: Any = None) -> "ExplanationDisplay":
        """Draw the explanation.

        Parameters
        ----------
        cmap, ax
            As in :meth:`from_estimator`.

        Returns
        -------
        display : ExplanationDisplay
        """
        axes = get_axes(ax, type(self).__name__, n=3)
        n_atoms = len(self.atoms)
        places = -np.arange(n_atoms + 2)
        if self.sample.ndim == 3:
            show_images(axes[0], self.sample[None], 1, cmap)
            axes[1].set(xticks=[], yticks=[])
            if n_atoms:
                show_images(axes[1], self.atoms, 1, cmap)
                height = self.sample.shape[1]
                axes[1].set_yticks(np.arange(n_atoms) * (height + 1) + height / 2 - 0.5)
        else:
            axes[0].plot(self.sample)
            scale = np.abs(self.atoms).max(initial=0) or 1.0
            axes[1].plot((self.atoms / (2 * scale) + places[:-2, None]).T, color="C0")
            axes[1].set_yticks(places[:-2])
            for each in axes[:2]:
                self._label_features(each)
        pairs = zip(self.indices, self.coefficients, strict=True)
        axes[1].set_yticklabels([f"{index}: {value:.2g}" for index, value in pairs])
        axes[1].set_title("atoms and coefficients")
        added = np.array([*self.contributions, self.others, self.intercept])
        axes[2].barh(places, added, color=np.where(added >= 0, "C0", "C3"))
        axes[2].axvline(0, color="0.5", linewidth=0.8)
        axes[2].set_yticks(places, [*map(str, self.indices), "others", "intercept"])
        total = added.sum()
        if len(self.names) == 2:
            axes[0].set_title(f"predicted: {self.names[0]}")
            axes[2].set_title(f"{self.names[0]} rather than {self.names[1]}: {total:+.2g}")
        else:
            axes[0].set_title(f"{self.names[0]}: {total:.3g}")
            axes[2].set_title("what atoms add")
        self.ax_, self.figure_ = axes, axes[0].figure
        return self

    def _label_features(self, ax: Any) -> None:
        names = self.feature_names
        if names is None or len(names) != len(self.sample) or len(names) > _MOST_NAMES:
            ax.set(xlabel="feature")
        else:
            ax.set_xticks(range(len(names)), names, rotation=90, fontsize="x-small")


def _direction(
    estimator: Any, code: NDArray[Any], output: int
) -> tuple[NDArray[Any], float, tuple[str, ...]]:
    """Weights and intercept of the score that decides, and the names of what it decides between."""
    weights, intercept = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        check_scalar(output, "output", Integral, min_val=0, max_val=len(weights) - 1)
        return weights[output], float(intercept[output]), (f"output {output}",)
    first, second = np.argsort(-(weights @ code + intercept), kind="stable")[:2]
    difference = weights[first] - weights[second], float(intercept[first] - intercept[second])
    return *difference, (str(classes[first]), str(classes[second]))
