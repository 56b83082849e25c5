"""Preparing samples for sparse coding."""

import math
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags, gen_batches
from sklearn.utils.validation import validate_data

from ._arrays import as_array, as_numbers
from ._base import unchanged_on_error
from ._interrupts import interrupts
from ._saving import SavableEstimator

# 8 MiB of float64: in cache or near it, and nothing beside an output array of hundreds.
_BLOCK_ENTRIES = 2**20


class SampleNormalizer(OneToOneFeatureMixin, TransformerMixin, SavableEstimator):
    """Bring each sample to zero mean and unit Euclidean norm.

    From each sample its own mean is subtracted, over all its features, and what remains is divided
    by its norm. A constant sample, of which nothing remains, becomes zeros. Nothing is learned from
    the data: `fit` only records the number and the names of the features.

    Parameters
    ----------
    copy : bool, default=True
        If False, write the result into `X` where `X` is a writeable float32 or float64 array,
        instead of into a new one.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen during `fit`; of images, ``C * H * W``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`, where `X` has names that are all strings.

    See Also
    --------
    sklearn.preprocessing.Normalizer : Unit norm, without the mean.
    sklearn.preprocessing.StandardScaler : Zero mean and unit variance of each *feature*.

    Notes
    -----
    float64 input gives float64. Types that float32 represents exactly (float32, float16, bool and
    integers of at most 16 bits, so also images in uint8) give float32, others float64. The
    arithmetic is float64 throughout and runs over blocks of samples: beside the output there is no
    array as large as `X`, and a `numpy.memmap` is read block by block.

    A sample and its multiples by any positive factor give the same output, as far as the type of
    `X` can hold them: neither large nor small values overflow or underflow.

    References
    ----------
    Paper 1 (task-driven dictionary learning on CNN features, TDDL-CNN), section IV: "each image is
    normalized to zero mean and unit norm".

    Examples
    --------
    >>> from skddl import SampleNormalizer
    >>> SampleNormalizer().fit_transform([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]])
    array([[-0.70710678,  0.        ,  0.70710678],
           [ 0.        ,  0.        ,  0.        ]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"copy": ["boolean"]}

    def __init__(self, *, copy: bool = True) -> None:
        self.copy = copy

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Check `X` and record the number and the names of its features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            The samples. Of images, the features are all pixels of all channels.
        y : None
            Ignored; here by scikit-learn's convention.

        Returns
        -------
        SampleNormalizer
            The same object.

        Raises
        ------
        ValueError
            If `X` has a wrong number of dimensions, no samples or no features, or holds NaN or inf.
        TypeError
            If `X` is sparse.
        """
        with unchanged_on_error(self), interrupts.allowed():
            self._flatten(X, reset=True)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Bring each sample of `X` to zero mean and unit norm.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            The samples.

        Returns
        -------
        ndarray of the shape of `X`, float32 or float64
            The normalized samples; zeros where a sample is constant.

        Raises
        ------
        ValueError
            As `fit` does, and if `X` has another number of features than during `fit`.
        TypeError
            If `X` is sparse.
        """
        samples, shape = self._flatten(X, reset=False)
        dtype = np.float32 if np.can_cast(samples.dtype, np.float32) else np.float64
        in_place = not self.copy and samples.dtype == dtype
        normalized = samples if in_place else np.empty(samples.shape, dtype=dtype)
        n_samples, n_features = samples.shape
        for block in gen_batches(n_samples, max(1, _BLOCK_ENTRIES // n_features)):
            normalized[block] = _normalize_rows(samples[block].astype(np.float64, order="C"))
        return normalized.reshape(shape)

    def _flatten(self, X: Any, *, reset: bool) -> tuple[NDArray, tuple[int, ...]]:
        """Return `X`, validated, as (n_samples, n_features), and its own shape."""
        X = as_array(X)
        if not hasattr(X, "shape"):
            X = np.asarray(X)
        shape = tuple(X.shape)
        if len(shape) == 3 or len(shape) > 4:
            raise ValueError(
                f"X has shape {shape}; expected (n_samples, n_features) or (n_samples, C, H, W). "
                "Call X.reshape(n_samples, -1) first."
            )
        if len(shape) == 4:
            X = np.asarray(X).reshape(shape[0], math.prod(shape[1:]))
        X = validate_data(self, X, reset=reset, force_writeable=not self.copy)
        return as_numbers(X), shape

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _normalize_rows(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring the rows of `X` to zero mean and unit norm, in place."""
    # The range of a sample may be larger than the largest float. A power of two scales it without
    # rounding.
    _, exponent = np.frexp(np.abs(X).max(axis=1, keepdims=True))
    np.ldexp(X, -exponent, out=X)
    # The mean of a constant row is rounded, and what it leaves would be blown up to norm 1. The
    # minimum leaves exact zeros, and nearly exact differences where a row is nearly constant.
    X -= X.min(axis=1, keepdims=True)
    spread = X.max(axis=1, keepdims=True)
    X /= np.where(spread == 0, 1, spread)
    X -= X.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    X /= np.where(spread == 0, 1, norm)
    return X
