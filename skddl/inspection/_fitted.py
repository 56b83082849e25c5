"""What is looked at: a fitted estimator, on its own or at the end of a pipeline."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


def last_step(estimator: Any, X: ArrayLike | None) -> tuple[Any, Any]:
    """The estimator at the end of a pipeline, fitted, and the samples as they reach it."""
    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        before = estimator[:-1]
        X = before.transform(X) if X is not None and len(before) else X
        estimator = estimator[-1]
    check_is_fitted(estimator)
    return estimator, X


def one_row(sample: Any) -> Any:
    """A sample as what estimators take: an array, or where it is of a data frame, a frame."""
    if hasattr(sample, "to_frame") and hasattr(sample, "index"):  # a row of pandas
        return sample.to_frame().T.infer_objects()
    if not hasattr(sample, "columns"):
        return np.asarray(sample)[None]
    if len(sample) != 1:
        raise ValueError(f"sample must be a single row, got a data frame of {len(sample)}.")
    return sample


def feature_names(estimator: Any) -> NDArray[Any] | None:
    """Names of what reaches a fitted estimator, or the end of a pipeline; None without any."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        try:
            return np.asarray(estimator[:-1].get_feature_names_out())
        except (AttributeError, ValueError):  # a step that knows none, or no names to begin with
            return None
    if isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return getattr(estimator, "feature_names_in_", None)
