"""MNIST, read from its IDX files."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ._files import PathLike, check_option, find_files

# The subset's name in the names of the files.
_PREFIXES = {"train": "train", "test": "t10k"}
# The second folder is where torchvision puts the same files.
_FOLDERS = ("mnist", "MNIST/raw", ".")
_DESCRIPTION = """\
MNIST: grey images of handwritten digits, 28 x 28 pixels from 0 (background) to 255 (ink).
60,000 training and 10,000 test images. Collected by Y. LeCun, C. Cortes and C. J. C. Burges.
"""


def load_mnist(
    data_home: PathLike | None = None, *, subset: str = "train", return_X_y: bool = False
) -> Bunch | tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load the MNIST digits from files that you have.

    The four IDX files ``{train,t10k}-{images-idx3,labels-idx1}-ubyte``, plain or compressed
    (``.gz``), are searched in ``data_home/mnist``, in ``data_home/MNIST/raw`` (torchvision's place)
    and in `data_home` itself. Only the two files of `subset` are needed. Nothing is downloaded.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder of the data sets. None stands for the environment variable ``SKDDL_DATA`` or,
        where that is not set and skddl runs from a source checkout, for ``../shared/data`` seen
        from the root of the checkout.
    subset : {"train", "test"}, default="train"
        The 60,000 images for training or the 10,000 for testing.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch or tuple
        A `sklearn.utils.Bunch` with

        data : ndarray of shape (n_samples, 784), uint8
            One image per row, pixels from 0 to 255, row by row.
        images : ndarray of shape (n_samples, 1, 28, 28), uint8
            A view of `data`, in the shape that skddl's estimators take images in.
        target : ndarray of shape (n_samples,), int64
            The digits.
        target_names : ndarray of shape (10,), int64
            The digits from 0 to 9.
        DESCR : str
            A short description.

        With ``return_X_y=True`` the tuple ``(data, target)``.

    Raises
    ------
    FileNotFoundError
        If a file is missing. The message says which, where it was searched and how to point to it.
    ValueError
        If a file is truncated, damaged, or not an IDX file of the kind that its name says, if the
        two files do not belong together, or if `subset` is neither "train" nor "test".

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE, 1998. Paper 1, section IV, uses these images.

    Examples
    --------
    >>> from skddl.datasets import load_mnist
    >>> X, y = load_mnist(subset="test", return_X_y=True)
    >>> X.shape, X.dtype.name
    ((10000, 784), 'uint8')
    >>> y[:5]
    array([7, 2, 1, 0, 4])
    """
    check_option("subset", subset, tuple(_PREFIXES))
    prefix = _PREFIXES[subset]
    images_path, labels_path = find_files(
        data_home,
        _FOLDERS,
        (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"),
        "https://yann.lecun.com/exdb/mnist/ or one of its mirrors",
        suffixes=("", ".gz"),
    )
    images = _read_idx(images_path, n_dimensions=3)
    labels = _read_idx(labels_path, n_dimensions=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} "
            "labels; take both files from the same source."
        )
    if labels.size and labels.max() > 9:
        raise ValueError(f"{labels_path} holds the label {labels.max()}; expected 0 to 9.")
    n_samples, height, width = images.shape
    data = images.reshape(n_samples, height * width)
    target = labels.astype(np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=data.reshape(n_samples, 1, height, width),
        target=target,
        target_names=np.arange(10),
        DESCR=_DESCRIPTION,
    )


def _read_idx(path: Path, *, n_dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes: magic number, sizes (big-endian), then the bytes."""
    content = _read_maybe_gzip(path)
    magic = bytes([0, 0, 0x08, n_dimensions])
    if content[:4] != magic:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes in {n_dimensions} dimension(s): its "
            f"magic number is '{content[:4].hex(' ')}', expected '{magic.hex(' ')}'."
        )
    n_header = 4 + 4 * n_dimensions
    if len(content) < n_header:
        raise ValueError(
            f"{path} is truncated within its header: {len(content)} bytes, expected {n_header} "
            "and the data. Get the file again."
        )
    shape = struct.unpack(f">{n_dimensions}I", content[4:n_header])
    n_found, n_expected = len(content) - n_header, math.prod(shape)
    if n_found != n_expected:
        raise ValueError(
            f"{path} is truncated or damaged: {n_found} bytes of data, expected {n_expected} by "
            f"the shape {shape} in its header. Get the file again."
        )
    # A view of the bytes would be read-only.
    return np.frombuffer(content, dtype=np.uint8, offset=n_header).reshape(shape).copy()


def _read_maybe_gzip(path: Path) -> bytes:
    content = path.read_bytes()
    # By content, not by name: browsers decompress on the way and keep the name.
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is a truncated or damaged gzip file ({error}). Get the file again."
        ) from error
