"""Samples in every shape that people have them in: what each means, or why it is refused."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits

_digits, _labels = load_digits(return_X_y=True)
# Whole numbers up to 16, which every numeric type holds exactly, and sixteenths of them.
WHOLE, y = (values[_labels < 3][:60] for values in (_digits, _labels))
X = WHOLE / 16
BOTH = WHOLE > 8

# Frames of pandas and of polars know types by names of their own.
_COLUMNS = ["int8", "int64", "uint8", "float32", "Int64", "Float32", "boolean", "category"]


@dataclass(frozen=True)
class Case:
    """One way to pass samples.

    Attributes
    ----------
    make : callable
        Returns them.
    means : ndarray, optional
        What they mean; None where they are refused.
    error, message
        How they are refused.
    """

    make: Callable[[], Any]
    means: np.ndarray | None = None
    error: Any = None
    message: str = ""

    def outcome(self):
        """A context in which they are passed."""
        if self.error is None:
            return nullcontext()
        return pytest.raises(self.error, match=self.message)


def taken(means: Any, make: Callable[[], Any]) -> Case:
    return Case(make, np.asarray(means))


def refused(error: Any, message: str, make: Callable[[], Any]) -> Case:
    return Case(make, error=error, message=message)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    memory = np.zeros(array.nbytes + 1, dtype=np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[:] = array
    assert array.itemsize == 1 or not view.flags.aligned
    return view


def with_entry(value, dtype=np.float64):
    array = X.astype(dtype)
    array[5, 6] = value
    return array


def mixed_frame():
    frame = pd.DataFrame(WHOLE)
    for column, dtype in enumerate(_COLUMNS):
        values = frame[column] > 8 if dtype == "boolean" else frame[column]
        frame[column] = values.astype(dtype)
    return frame


def mixed_means():
    means = WHOLE.copy()
    means[:, _COLUMNS.index("boolean")] = BOTH[:, _COLUMNS.index("boolean")]
    return means


def polars_frame(*columns):
    return pl.DataFrame(WHOLE).with_columns(*columns)


def inside_inference_mode():
    with torch.inference_mode():
        return torch.from_numpy(X) * 1


TENSOR = torch.from_numpy(X)
_NO_WORDS = "not compatible with arrays of bytes/strings"

DTYPES = {
    **{name: taken(X, lambda name=name: X.astype(name)) for name in ["f2", "f4", "f8", ">f4"]},
    **{
        name: taken(WHOLE, lambda name=name: WHOLE.astype(name))
        for name in ["i1", "i2", "i4", "i8", ">i4", "u2", "u4", "u8", ">u2"]
    },
    "long doubles": taken(X, lambda: X.astype(np.longdouble)),
    "bool": taken(BOTH, lambda: BOTH),
    "objects: ints": taken(WHOLE, lambda: WHOLE.astype(int).astype(object)),
    "objects: floats": taken(X, lambda: X.astype(object)),
    "objects: bools": taken(BOTH, lambda: BOTH.astype(object)),
    "objects: words for numbers": taken(WHOLE, lambda: WHOLE.astype(str).astype(object)),
    "objects: fractions": taken(X, lambda: np.vectorize(Fraction, otypes=[object])(X)),
    "objects: decimals": taken(X, lambda: np.vectorize(Decimal, otypes=[object])(X)),
    "objects: None": refused(ValueError, "NaN", lambda: with_entry(None, object)),
    "objects: words": refused(ValueError, "word", lambda: with_entry("word", object)),
    "objects: dicts": refused(TypeError, "dict", lambda: with_entry({}, object)),
    "objects: complex": refused(TypeError, "complex", lambda: with_entry(1j, object)),
    "words": refused(ValueError, _NO_WORDS, lambda: np.full(X.shape, "word")),
    "words for numbers": refused(ValueError, _NO_WORDS, lambda: X.astype(str)),
    "bytes for numbers": refused(ValueError, _NO_WORDS, lambda: X.astype("S")),
    "complex64": refused(ValueError, "Complex data not supported", lambda: X.astype(np.complex64)),
    "complex128": refused(ValueError, "Complex data not supported", lambda: X.astype(complex)),
    "dates": refused(TypeError, "real numbers", lambda: WHOLE.astype("datetime64[D]")),
    "durations": refused(TypeError, "real numbers", lambda: WHOLE.astype("timedelta64[s]")),
    "records": refused(ValueError, _NO_WORDS, lambda: np.zeros(X.shape, [("a", "f8")])),
    "void": refused(ValueError, _NO_WORDS, lambda: np.zeros(X.shape, "V8")),
}

ORDERS = {
    "F": taken(X, lambda: np.asfortranarray(X)),
    "strided": taken(X, lambda: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]),
    "reversed": taken(X, lambda: X[::-1, ::-1].copy()[::-1, ::-1]),
    "read-only": taken(X, lambda: read_only(X)),
    "unaligned": taken(X, lambda: unaligned(X)),
    "one row seen again and again": taken(
        np.tile(X[0], (60, 1)), lambda: np.broadcast_to(X[0], X.shape)
    ),
    "transposed tensor": taken(X, lambda: torch.from_numpy(X.T.copy()).T),
    "expanded tensor": taken(np.tile(X[0], (60, 1)), lambda: TENSOR[0].expand(60, 64)),
}

CONTAINERS = {
    "lists": taken(X, X.tolist),
    "tuples": taken(X, lambda: tuple(map(tuple, X))),
    "list of arrays": taken(X, lambda: list(X)),
    "list of tensors": taken(X, lambda: list(TENSOR)),
    "list of tensors with gradients": taken(X, lambda: list(TENSOR.clone().requires_grad_())),
    "list of masks": refused(
        ValueError,
        "masked entries",
        lambda: [*X[:1], *(np.ma.masked_array(row, row == 0) for row in X[1:])],
    ),
    "list of series": taken(X, lambda: [pd.Series(row) for row in X]),
    "ragged lists": refused(ValueError, "inhomogeneous", lambda: [[1.0], [1.0, 2.0]] * 30),
    "pandas": taken(X, lambda: pd.DataFrame(X).add_prefix("feature")),
    "pandas, mixed": taken(mixed_means(), mixed_frame),
    "pandas, NaN": refused(ValueError, "NaN", lambda: pd.DataFrame(with_entry(np.nan))),
    "pandas, NA": refused(
        ValueError, "NaN", lambda: pd.DataFrame(with_entry(np.nan)).astype("Float64")
    ),
    "pandas, words": refused(
        (ValueError, TypeError),
        "float|string",
        lambda: pd.DataFrame(X).add_prefix("f").assign(f3="word"),
    ),
    "pandas, sparse": refused(
        TypeError, "Sparse data", lambda: pd.DataFrame(X).astype(pd.SparseDtype(float, 0.0))
    ),
    "pandas, names of several types": refused(
        TypeError, "string names", lambda: pd.DataFrame(X, columns=["a", *range(63)])
    ),
    "series": refused(ValueError, "2-dimensional|2D", lambda: pd.Series(X[:, 0])),
    "polars": taken(X, lambda: pl.DataFrame(X)),
    "polars, mixed": taken(
        np.c_[WHOLE[:, :1], BOTH[:, 1], WHOLE[:, 2:]],
        lambda: polars_frame(pl.col("column_0").cast(pl.Int8), pl.col("column_1") > 8),
    ),
    "polars, decimals": taken(
        WHOLE, lambda: polars_frame(pl.col("column_0").cast(pl.Decimal(10, 2)))
    ),
    "polars, null": refused(
        ValueError, "NaN", lambda: polars_frame(pl.lit(None, pl.Float64).alias("column_3"))
    ),
    "polars, words": refused(
        ValueError, "word", lambda: polars_frame(pl.lit("word").alias("column_3"))
    ),
    "polars, lazy": refused(
        (ValueError, TypeError), "scalar|sequence", lambda: pl.DataFrame(X).lazy()
    ),
    **{
        f"{layout} {kind}": refused(
            TypeError,
            "Sparse data",
            lambda layout=layout, kind=kind: getattr(sparse, f"{layout}_{kind}")(X),
        )
        for layout in ["csr", "csc", "coo", "bsr", "lil", "dok"]
        for kind in ["matrix", "array"]
    },
    "mask of nothing": taken(X, lambda: np.ma.masked_array(X)),
    "mask": refused(ValueError, "masked entries", lambda: np.ma.masked_array(X, X == 0)),
    "0-d": refused(ValueError, "scalar|2-D|2D", lambda: np.array(3.0)),
    "1-d": refused(ValueError, "1D|2-D", lambda: X[0]),
    "3-d": refused(ValueError, r"dim 3|60, 8, 8", lambda: X.reshape(60, 8, 8)),
    "5-d": refused(ValueError, r"dim 5|60, 1, 1, 8, 8", lambda: X.reshape(60, 1, 1, 8, 8)),
    "no samples": refused(ValueError, "0 sample", lambda: X[:0]),
    "no features": refused(ValueError, "0 feature|empty", lambda: X[:, :0]),
    "[]": refused(ValueError, "1D", list),
    "None": refused(ValueError, "scalar", lambda: None),
    "a word": refused(ValueError, "scalar", lambda: "word"),
    "a dict": refused((ValueError, TypeError), "scalar|dict", lambda: {"X": X}),
    "a generator": refused((ValueError, TypeError), "scalar|iterator", lambda: iter(X)),
}

TENSORS = {
    **{
        str(dtype): taken(WHOLE, lambda dtype=dtype: torch.from_numpy(WHOLE).to(dtype))
        for dtype in [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16]
    },
    **{
        str(dtype): taken(X, lambda dtype=dtype: TENSOR.to(dtype))
        for dtype in [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    },
    "torch.bool": taken(BOTH, lambda: torch.from_numpy(BOTH)),
    "parameter": taken(X, lambda: torch.nn.Parameter(TENSOR.clone())),
    "result of a computation": taken(X, lambda: TENSOR.clone().requires_grad_() * 1),
    "inference mode": taken(X, inside_inference_mode),
    "real part of a conjugate": taken(X, lambda: (TENSOR + 0j).conj().real),
    "minus an imaginary part": taken(X, lambda: (TENSOR * -1j).conj().imag),
    "complex tensor": refused(ValueError, "[Cc]omplex", lambda: TENSOR + 0j),
    "conjugate": refused(ValueError, "[Cc]omplex", lambda: (TENSOR + 0j).conj()),
    "sparse tensor": refused(TypeError, "dense tensor", lambda: TENSOR.to_sparse()),
    "no data": refused(TypeError, "dense tensor", lambda: TENSOR.to("meta")),
    "NaN": refused(ValueError, "NaN", lambda: torch.from_numpy(with_entry(np.nan))),
}

NOT_FINITE = {
    f"{value}, {name}": refused(
        ValueError, "NaN|infinity", lambda value=value, make=make: make(value)
    )
    for value in [np.nan, np.inf, -np.inf]
    for name, make in {
        "f2": lambda value: with_entry(value, np.float16),
        "f4": lambda value: with_entry(value, np.float32),
        "f8": with_entry,
        "long double": lambda value: with_entry(value, np.longdouble),
        "objects": lambda value: with_entry(value, object),
        "lists": lambda value: with_entry(value).tolist(),
        "polars": lambda value: pl.DataFrame(with_entry(value)),
        "F": lambda value: np.asfortranarray(with_entry(value)),
    }.items()
}

SAMPLES = DTYPES | ORDERS | CONTAINERS | TENSORS | NOT_FINITE
