"""CIFAR-10 and CIFAR-100, read from their binary version."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ._files import PathLike, check_option, find_files

_N_PIXELS = 3 * 32 * 32
_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html (binary version)"
_CIFAR10_FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}
_CIFAR100_FILES = {"train": ("train.bin",), "test": ("test.bin",)}
# Position of the label in a record of CIFAR-100, number of classes, file with their names.
_CIFAR100_LABELS = {
    "coarse": (0, 20, "coarse_label_names.txt"),
    "fine": (1, 100, "fine_label_names.txt"),
}
_DESCRIPTION = """\
CIFAR-{n}: colour photographs of {n} classes of things, 32 x 32 pixels from 0 to 255, as planes of
red, green and blue. 50,000 training and 10,000 test images. Collected by A. Krizhevsky, V. Nair and
G. Hinton.
"""


def load_cifar10(
    data_home: PathLike | None = None, *, subset: str = "train", return_X_y: bool = False
) -> Bunch | tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load CIFAR-10 from the files of its binary version, which you have.

    The files ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin`` are searched in
    ``data_home/cifar-10-batches-bin`` and in `data_home` itself. Only those of `subset` are needed.
    Nothing is downloaded.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder of the data sets. None stands for the environment variable ``SKDDL_DATA`` or,
        where that is not set and skddl runs from a source checkout, for ``../shared/data`` seen
        from the root of the checkout.
    subset : {"train", "test"}, default="train"
        The 50,000 images for training or the 10,000 for testing.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch or tuple
        A `sklearn.utils.Bunch` with

        data : ndarray of shape (n_samples, 3072), uint8
            One image per row, pixels from 0 to 255: the red plane, row by row, then green, blue.
        images : ndarray of shape (n_samples, 3, 32, 32), uint8
            A view of `data`.
        target : ndarray of shape (n_samples,), int64
            The classes as numbers from 0 to 9.
        target_names : ndarray of shape (10,), str
            The names of the classes, from ``batches.meta.txt``; their numbers where that is
            missing.
        DESCR : str
            A short description.

        With ``return_X_y=True`` the tuple ``(data, target)``.

    Raises
    ------
    FileNotFoundError
        If a file is missing. The message says which, where it was searched and how to point to it.
    ValueError
        If a file is truncated or not of this format, or if `subset` is neither "train" nor "test".

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Paper 2 uses
    these images.

    Examples
    --------
    >>> from skddl.datasets import load_cifar10
    >>> cifar10 = load_cifar10(subset="test")
    >>> cifar10.images.shape, cifar10.images.dtype.name
    ((10000, 3, 32, 32), 'uint8')
    >>> [str(cifar10.target_names[label]) for label in cifar10.target[:3]]
    ['cat', 'ship', 'ship']
    """
    check_option("subset", subset, tuple(_CIFAR10_FILES))
    folders = ("cifar-10-batches-bin", ".")
    paths = find_files(data_home, folders, _CIFAR10_FILES[subset], _SOURCE)
    data, labels = _read_records(paths, n_classes=(10,))
    names = _read_names(paths[0].with_name("batches.meta.txt"), n_classes=10)
    return _as_bunch_or_tuple(data, labels[0], names, _DESCRIPTION.format(n=10), return_X_y)


def load_cifar100(
    data_home: PathLike | None = None,
    *,
    subset: str = "train",
    label_mode: str = "fine",
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load CIFAR-100 from the files of its binary version, which you have.

    The files ``train.bin`` and ``test.bin`` are searched in ``data_home/cifar-100-binary`` and in
    `data_home` itself. Only that of `subset` is needed. Nothing is downloaded.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder of the data sets. None stands for the environment variable ``SKDDL_DATA`` or,
        where that is not set and skddl runs from a source checkout, for ``../shared/data`` seen
        from the root of the checkout.
    subset : {"train", "test"}, default="train"
        The 50,000 images for training or the 10,000 for testing.
    label_mode : {"fine", "coarse"}, default="fine"
        The 100 classes or the 20 groups of five classes each.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch or tuple
        A `sklearn.utils.Bunch` with

        data : ndarray of shape (n_samples, 3072), uint8
            One image per row, pixels from 0 to 255: the red plane, row by row, then green, blue.
        images : ndarray of shape (n_samples, 3, 32, 32), uint8
            A view of `data`.
        target : ndarray of shape (n_samples,), int64
            The classes as numbers from 0 to 99, or the groups from 0 to 19.
        target_names : ndarray of shape (100,) or (20,), str
            The names of the classes, from ``fine_label_names.txt`` or ``coarse_label_names.txt``;
            their numbers where that is missing.
        DESCR : str
            A short description.

        With ``return_X_y=True`` the tuple ``(data, target)``.

    Raises
    ------
    FileNotFoundError
        If a file is missing. The message says which, where it was searched and how to point to it.
    ValueError
        If a file is truncated or not of this format, or if `subset` or `label_mode` is none of the
        values above.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Paper 2 uses
    these images.

    Examples
    --------
    >>> from skddl.datasets import load_cifar100
    >>> X, y = load_cifar100(subset="test", label_mode="coarse", return_X_y=True)
    >>> X.shape, X.dtype.name
    ((10000, 3072), 'uint8')
    >>> int(y.max())
    19
    """
    check_option("subset", subset, tuple(_CIFAR100_FILES))
    check_option("label_mode", label_mode, tuple(_CIFAR100_LABELS))
    position, n_classes, names_file = _CIFAR100_LABELS[label_mode]
    folders = ("cifar-100-binary", ".")
    paths = find_files(data_home, folders, _CIFAR100_FILES[subset], _SOURCE)
    data, labels = _read_records(paths, n_classes=(20, 100))
    names = _read_names(paths[0].with_name(names_file), n_classes=n_classes)
    return _as_bunch_or_tuple(data, labels[position], names, _DESCRIPTION.format(n=100), return_X_y)


def _read_records(
    paths: Sequence[Path], n_classes: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read records of one byte per label, with as many values as `n_classes` says, and the pixels.

    Returns the pixels, (n_samples, 3072), and the labels, (n_labels, n_samples).
    """
    n_labels = len(n_classes)
    n_record = n_labels + _N_PIXELS
    files = []
    for path in paths:
        content = np.fromfile(path, dtype=np.uint8)
        if content.size == 0 or content.size % n_record:
            raise ValueError(
                f"{path} is truncated or not of CIFAR's binary version: {content.size} bytes, "
                f"expected a multiple of {n_record}. Get the file again."
            )
        records = content.reshape(-1, n_record)
        largest = records[:, :n_labels].max(axis=0)
        if (largest >= n_classes).any():
            raise ValueError(
                f"{path} is not of CIFAR's binary version: its largest label(s) are "
                f"{largest.tolist()}, expected less than {list(n_classes)}."
            )
        files.append(records)
    data = np.concatenate([records[:, n_labels:] for records in files])
    labels = np.concatenate([records[:, :n_labels].T for records in files], axis=1)
    return data, labels.astype(np.int64)


def _read_names(path: Path, n_classes: int) -> NDArray[np.str_]:
    """Read one class name per line; without the file, the names are the numbers."""
    if not path.is_file():
        return np.array([str(label) for label in range(n_classes)])
    names = path.read_text(encoding="utf-8").split()
    if len(names) != n_classes:
        raise ValueError(f"{path} holds {len(names)} names of classes, expected {n_classes}.")
    return np.array(names)


def _as_bunch_or_tuple(
    data: NDArray[np.uint8],
    target: NDArray[np.int64],
    target_names: NDArray[np.str_],
    description: str,
    return_X_y: bool,
) -> Bunch | tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=data.reshape(-1, 3, 32, 32),
        target=target,
        target_names=target_names,
        DESCR=description,
    )
