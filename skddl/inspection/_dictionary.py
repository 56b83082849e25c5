"""The atoms of a dictionary as a picture."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar

from ._axes import get_axes, show_images
from ._fitted import last_step
from ._images import atom_shape, atoms_in_input_space
from ._receptive_fields import receptive_field_means


class DictionaryDisplay:
    """Atoms as images, or as curves.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_channels, height, width) or (n_atoms, n_features)
        Images of one or three channels; or curves.
    indices : ndarray of shape (n_atoms,), default=None
        The numbers of these atoms in their dictionary; None: they are all of it, in order.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    image_ : matplotlib AxesImage
        The images side by side; None for curves.
    lines_ : list of matplotlib Line2D
        The curves, one above another; empty for images.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skddl import TaskDrivenDictionaryClassifier
    >>> from skddl.inspection import DictionaryDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = TaskDrivenDictionaryClassifier(50, max_iter=20, random_state=0).fit(X / 16, y)
    >>> display = DictionaryDisplay.from_estimator(clf, image_shape=(8, 8))
    >>> display.atoms.shape
    (50, 1, 8, 8)
    >>> plt.close(display.figure_)
    """

    def __init__(self, atoms: NDArray[Any], *, indices: NDArray[Any] | None = None) -> None:
        self.atoms = atoms
        self.indices = indices

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        layer: int = 0,
        max_atoms: int = 100,
        n_cols: int | None = None,
        cmap: Any = "RdBu_r",
        ax: Any = None,
    ) -> "DictionaryDisplay":
        """Draw the dictionary of a fitted estimator.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Fitted, with `components_`: those of this package, and scikit-learn's.
        X : array-like of shape (n_samples, n_features), default=None
            Samples. Atoms of features that are not linear (paper 1's CNN) are shown by the mean of
            those that they code, weighted by their coefficients; others need none.
        image_shape : tuple (C, H, W) or (H, W), default=None
            The shape of a sample. None: that of the estimator; if it has none, atoms are curves.
        layer : int, default=0
            Of a :class:`skddl.DeepDictionaryClassifier`, which layer. Beyond the first, atoms are
            shown by the mean of what excites them in `X`: of the parts of images that a place of
            the layer sees, weighted by their coefficients. Without `X` they are curves.
        max_atoms : int, default=100
            If there are more, as many are drawn, evenly spaced.
        n_cols : int, default=None
            Images per row; None: about as many as rows.
        cmap : str or Colormap, default="RdBu_r"
            For images of one channel: zero is its middle.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : DictionaryDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `image_shape` does not fit, `X` is needed and missing, there is no such layer, or
            `max_atoms` is below 1.
        """
        estimator, X = last_step(estimator, X)
        if not hasattr(estimator, "components_"):
            raise TypeError(f"{type(estimator).__name__} has no dictionary: no components_.")
        check_scalar(max_atoms, "max_atoms", Integral, min_val=1)
        has_layers = isinstance(estimator.components_, list)
        n_layers = len(estimator.components_) if has_layers else 1
        check_scalar(layer, "layer", Integral, min_val=0, max_val=n_layers - 1)
        if has_layers:
            atoms, shape = _atoms_of_layer(estimator, layer, image_shape, X)
        else:
            atoms = atoms_in_input_space(estimator, X)
            shape = atom_shape(estimator, atoms.shape[1], image_shape)
        n_shown = min(max_atoms, len(atoms))
        indices = np.linspace(0, len(atoms) - 1, n_shown).round().astype(int)
        display = cls(atoms[indices].reshape(n_shown, *shape), indices=indices)
        return display.plot(n_cols=n_cols, cmap=cmap, ax=ax)

    def plot(
        self, *, n_cols: int | None = None, cmap: Any = "RdBu_r", ax: Any = None
    ) -> "DictionaryDisplay":
        """Draw the atoms.

        Parameters
        ----------
        n_cols, cmap, ax
            As in :meth:`from_estimator`.

        Returns
        -------
        display : DictionaryDisplay
        """
        ax = get_axes(ax, type(self).__name__)
        self.image_, self.lines_ = None, []
        if self.atoms.ndim == 4:
            n_atoms, _, height, width = self.atoms.shape
            if n_cols is None:
                n_cols = max(1, round((n_atoms * height / width) ** 0.5))
            self.image_ = show_images(ax, self.atoms, n_cols, cmap)
        else:
            scale = np.abs(self.atoms).max() or 1.0
            offsets = -np.arange(len(self.atoms))
            self.lines_ = ax.plot(
                (self.atoms / (2 * scale) + offsets[:, None]).T, color="C0", linewidth=0.8
            )
            indices = np.arange(len(self.atoms)) if self.indices is None else self.indices
            step = -(-len(self.atoms) // 20)  # more labels could not be read
            ax.set_yticks(offsets[::step], indices[::step])
            ax.set(xlabel="feature", ylabel="atom")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _atoms_of_layer(
    estimator: Any, layer: int, image_shape: tuple[int, ...] | None, X: ArrayLike | None
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Atoms of a layer of a deep dictionary, and the shape of each."""
    atoms = np.asarray(estimator.components_[layer])
    if layer and X is not None:
        means, shape = receptive_field_means(estimator, layer, X)
        if len(shape) == 1:  # of a dense layer: whole samples
            shape = atom_shape(estimator, means.shape[1], image_shape)
        return means, shape
    if layer:
        return atoms, (atoms.shape[1],)
    if image_shape is not None:
        return atoms, atom_shape(estimator, atoms.shape[1], image_shape)
    shape = estimator._image_shape
    if shape is None:
        return atoms, (atoms.shape[1],)
    n_channels = shape[0]
    if atoms.shape[1] == np.prod(shape):
        return atoms, shape
    side = round((atoms.shape[1] / n_channels) ** 0.5)  # patches
    return atoms, (n_channels, side, side)
