"""What is looked at: a fitted estimator, on its own, in a search or at the end of a pipeline."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._arrays import as_array


def last_step(estimator: Any, X: ArrayLike | None) -> tuple[Any, Any]:
    """The fitted estimator, of a pipeline the last one, and the samples as they reach it."""
    estimator = _best(estimator)
    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        before = estimator[:-1]
        X = before.transform(X) if X is not None and len(before) else X
        estimator = estimator[-1]
    check_is_fitted(estimator)
    return estimator, X


def _best(estimator: Any) -> Any:
    """Of a search what it has found."""
    return getattr(estimator, "best_estimator_", estimator)


def one_row(sample: Any) -> Any:
    """A sample, or a batch of one, as a batch: where it is of a data frame, a frame."""
    if hasattr(sample, "to_frame") and hasattr(sample, "index"):  # a row of pandas
        return sample.to_frame().T.infer_objects()
    if issparse(sample):
        return sample  # for the estimator to refuse
    if not hasattr(sample, "columns"):
        sample = np.asarray(as_array(sample, "sample"))
        if sample.ndim not in (2, 4):
            return sample[None]
    if len(sample) != 1:
        raise ValueError(f"sample must be a single one, got {len(sample)}.")
    return sample


def feature_names(estimator: Any) -> NDArray[Any] | None:
    """Names of what reaches a fitted estimator, or the end of a pipeline; None without any."""
    estimator = _best(estimator)
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        try:
            return np.asarray(estimator[:-1].get_feature_names_out())
        except (AttributeError, ValueError):  # a step that knows none, or no names to begin with
            return None
    if isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return getattr(estimator, "feature_names_in_", None)
