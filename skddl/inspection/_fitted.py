"""What is looked at: a fitted estimator, on its own or at the end of a pipeline."""

from typing import Any

from numpy.typing import ArrayLike
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
