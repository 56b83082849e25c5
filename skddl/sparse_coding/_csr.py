"""Codes of many samples as one sparse matrix."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn import get_config


class CsrRows:
    """Rows of a sparse matrix, of which the dense form exists batch by batch only."""

    def __init__(self) -> None:
        # Bytearrays grow in place. To join a list of arrays would take their memory twice.
        self._values, self._columns = bytearray(), bytearray()
        self._counts: list[NDArray[np.int64]] = [np.zeros(1, dtype=np.int64)]

    def append(self, batch: NDArray[Any]) -> None:
        """Add dense rows, which are all of one type and length."""
        row, column = np.nonzero(batch)
        self._values += batch[row, column].tobytes()
        self._columns += column.astype(np.int32).tobytes()
        self._counts.append(np.bincount(row, minlength=len(batch)))
        self._n_columns, self._dtype = batch.shape[1], batch.dtype

    def matrix(self) -> Any:
        """All rows, at least one batch, in CSR format: sorted, without stored zeros.

        The matrix is of the kind that scikit-learn's own transformers return.
        """
        starts = np.concatenate(self._counts).cumsum()
        # scipy wants all indices in one type.
        index = np.int32 if starts[-1] <= np.iinfo(np.int32).max else np.int64
        parts = (
            np.frombuffer(self._values, dtype=self._dtype),
            np.frombuffer(self._columns, dtype=np.int32).astype(index, copy=False),
            starts.astype(index),
        )
        # The setting came with scikit-learn 1.9; before, there were only matrices.
        kind = csr_array if get_config().get("sparse_interface") == "sparray" else csr_matrix
        rows = kind(parts, shape=(len(starts) - 1, self._n_columns))
        rows.has_canonical_format = True
        return rows
