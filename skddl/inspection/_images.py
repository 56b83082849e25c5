"""Atoms as images of the input."""

from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._arrays import as_array


def atom_shape(
    estimator: Any, n_features: int, image_shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The shape (C, H, W) of samples of `n_features`, or ``(n_features,)`` where none is known.

    Raises
    ------
    ValueError
        If images of `image_shape` have other than `n_features` values.
    """
    shape = image_shape or getattr(estimator, "_image_shape", None)
    if shape is None:
        return (n_features,)
    shape = (1, *shape) if len(shape) == 2 else tuple(shape)
    if len(shape) != 3 or prod(shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape or shape} means {prod(shape)} values, but an atom has "
            f"{n_features}: pass image_shape=(C, H, W) or (H, W) of as many, or None for curves."
        )
    return shape


def atoms_in_input_space(estimator: Any, X: ArrayLike | None) -> NDArray[Any]:
    """Atoms in the space of the samples, (n_components, n_features).

    Those of the samples themselves as they are. Under linear features ``Z x + b`` the smallest x
    whose features are the atom, but for a factor. Under other features the mean of the samples
    `X`, each weighted by its coefficient of the atom.

    Raises
    ------
    ValueError
        If `X` is needed and missing.
    """
    # Those that it was made with: the parameter may have been set since.
    features = getattr(estimator, "_started_with", {}).get("features", "identity")
    atoms = estimator.components_
    if isinstance(features, str) and features == "identity":
        return np.asarray(atoms)
    if isinstance(features, str) and features == "linear":
        n_features = estimator.n_features_in_
        module = estimator.module_.features
        with torch.no_grad():
            dtype = next(module.parameters()).dtype
            constant = module(torch.zeros(1, n_features, dtype=dtype))
            transform = module(torch.eye(n_features, dtype=dtype)) - constant
        # The intercept is the feature of a constant, which is no value of the sample.
        affine = torch.cat([transform, constant]).numpy().T
        return (atoms @ np.linalg.pinv(affine).T)[:, :-1]
    if X is None:
        raise ValueError(
            f"Atoms under features={features!r} are no images themselves: pass samples X, of which "
            "those are averaged that each atom codes."
        )
    codes = estimator.transform(X)
    codes = codes.toarray() if hasattr(codes, "toarray") else np.asarray(codes)
    rows = np.asarray(as_array(X), dtype=float).reshape(len(codes), -1)
    weights = np.abs(codes).sum(0)
    return (codes.T @ rows) / np.where(weights > 0, weights, 1)[:, None]
