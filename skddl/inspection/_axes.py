"""Axes to draw on, and images side by side on one of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def get_axes(ax: Any, caller: str, *, n: int = 1) -> Any:
    """`ax`, or those of a new figure: an array of them, side by side, if `n` is not 1.

    Raises
    ------
    ImportError
        If there is no matplotlib.
    ValueError
        If these are not `n` axes.
    """
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib: python -m pip install 'skddl[plot]'."
        ) from error
    if ax is None:
        _, ax = plt.subplots(1, n, figsize=(6.4 if n == 1 else 4.2 * n, 4), layout="constrained")
    if np.shape(ax) != (() if n == 1 else (n,)):
        wanted = "one of them" if n == 1 else f"a sequence of {n}"
        raise ValueError(f"{caller} draws on {n} axes: pass ax=None, or {wanted}.")
    return ax if n == 1 else np.asarray(ax)


def mosaic(images: NDArray[Any], n_cols: int) -> NDArray[Any]:
    """Images (n, C, H, W) as one, (rows, columns, C), with lines of NaN between them.

    Each is scaled to [-1, 1] by its largest absolute value: atoms have no scale of their own.
    """
    n, n_channels, height, width = images.shape
    n_rows = -(-n // n_cols)
    canvas = np.full((n_rows * (height + 1) - 1, n_cols * (width + 1) - 1, n_channels), np.nan)
    for i, image in enumerate(images):
        row, column = divmod(i, n_cols)
        top, left = row * (height + 1), column * (width + 1)
        largest = np.abs(image).max()
        canvas[top : top + height, left : left + width] = (
            image / (largest if largest > 0 else 1)
        ).transpose(1, 2, 0)
    return canvas


def show_images(ax: Any, images: NDArray[Any], n_cols: int, cmap: Any) -> Any:
    """Draw images (n, C, H, W) of one or three channels; the artist.

    Raises
    ------
    ValueError
        If they have another number of channels.
    """
    if images.shape[1] not in (1, 3):
        raise ValueError(
            f"Images have 1 or 3 channels, these have {images.shape[1]}: reshape them to "
            "(n, n_features) for curves."
        )
    canvas = mosaic(images, n_cols)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if canvas.shape[2] == 1:
        return ax.imshow(canvas[..., 0], cmap=cmap, vmin=-1, vmax=1, interpolation="nearest")
    # Colours: grey is zero, and the lines between are white.
    return ax.imshow(np.nan_to_num((canvas + 1) / 2, nan=1.0), interpolation="nearest")
