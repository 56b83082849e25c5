"""Arrays, of whatever users have: what scikit-learn's validation does not see to."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array
from torch import Tensor

# What numpy, too, knows of torch's floats.
_FLOATS = (torch.float16, torch.float32, torch.float64)


def as_array(values: Any, name: str = "X") -> Any:
    """A torch tensor, or a list of tensors or images, as a numpy array; others as they are.

    Raises
    ------
    TypeError
        If it is a tensor without an entry for each place.
    ValueError
        If it is an array with entries that are masked, below which there is something; or a series
        with missing values.
    """
    if isinstance(values, list | tuple) and len(values):
        first = as_array(values[0], name)
        if any(np.ma.is_masked(value) for value in values):
            raise _masked_error(name)
        if isinstance(values[0], Tensor) or np.ndim(first) == 3:
            return np.stack([np.asarray(as_array(value, name)) for value in values])
    if getattr(values, "ndim", 0) == 1 and hasattr(values, "isna") and values.isna().any():
        # A series: of "string" scikit-learn says that the boolean value of NA is ambiguous.
        raise ValueError(f"{name} contains NaN, or other missing values.")
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        raise _masked_error(name)
    if not isinstance(values, Tensor):
        return values
    refuse_other_layouts(values, name)
    values = values.detach().cpu().resolve_conj().resolve_neg()
    unknown_to_numpy = values.is_floating_point() and values.dtype not in _FLOATS
    return (values.float() if unknown_to_numpy else values).numpy()


def _masked_error(name: str) -> ValueError:
    return ValueError(
        f"{name} has masked entries. Fill them in, for example with "
        "sklearn.impute.SimpleImputer, or leave out their samples."
    )


def refuse_other_layouts(tensor: Tensor, name: str) -> None:
    """Raise TypeError for a tensor that has not an entry for each place."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_meta:
        raise TypeError(
            f"{name} must be a dense tensor that holds data, not one that is sparse, nested or on "
            "the device 'meta'."
        )


def as_numbers(array: Any, name: str = "X") -> Any:
    """An array that scikit-learn's validation has let pass, if it holds real numbers.

    Raises
    ------
    TypeError
        If it holds dates, durations or records.
    ValueError
        If it holds words, objects that are no finite numbers, as data frames of polars may, or long
        doubles beyond float64.
    """
    if array.dtype == object or array.dtype == np.longdouble:
        any_shape = {"ensure_2d": False, "allow_nd": True, "ensure_min_samples": 0}
        with np.errstate(over="ignore"):
            array = check_array(array, dtype=np.float64, input_name=name, **any_shape)
    if array.dtype.kind not in "biuf":
        error = ValueError if array.dtype.kind in "SU" else TypeError  # as scikit-learn
        raise error(f"{name} must hold real numbers, got an array of {array.dtype}.")
    return array


def check_labels(labels: Any) -> None:
    """Raise ValueError for what are no classes, TypeError if they cannot be sorted."""
    try:
        check_classification_targets(labels)
    except TypeError as error:
        types = sorted({type(label).__name__ for label in labels})
        if len(types) == 1:
            raise
        raise TypeError(f"y must hold labels of one type, got {' and '.join(types)}.") from error


def check_numbers(values: Any, name: str, **options: Any) -> Any:
    """A 2-D array of finite real numbers, of whatever type they are.

    `options` are those of scikit-learn's `check_array`; errors as there and of `as_numbers`.
    """
    values = as_array(values, name)
    try:
        array = check_array(values, input_name=name, **options)
    except (TypeError, ValueError) as error:
        if name in str(error):
            raise
        # Not all errors of scikit-learn name the array.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error
    return as_numbers(array, name)


def decode(X: Any, atoms: NDArray[Any]) -> NDArray[Any]:
    """Samples that codes `X` stand for, a matrix in CSR format or an array."""
    codes = check_numbers(X, "X", accept_sparse="csr")
    if codes.shape[1] != len(atoms):
        raise ValueError(f"X has {codes.shape[1]} columns, but there are {len(atoms)} atoms.")
    return np.asarray(codes @ atoms)
