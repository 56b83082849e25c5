"""The elastic-net sparse coding problem: its objective and its optimality conditions.

The papers write one sample as a column and code it as ``x = D alpha``. Here, as in scikit-learn,
samples, atoms and codes are rows: ``X`` is (n_samples, n_features), ``dictionary`` is
(n_components, n_features), ``codes`` is (n_samples, n_components), and ``X = codes @ dictionary``.
"""

import math
from dataclasses import dataclass
from numbers import Real
from typing import SupportsFloat

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ElasticNetProblem:
    """Elastic-net sparse coding, paper 1, Eq. (3), for every row ``x`` of ``X``.

    ``min_a  1/2 ||x - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2``, ``a >= 0`` if `positive`.

    Parameters
    ----------
    lambda1 : float
        Weight of the l1 norm, > 0.
    lambda2 : float, default=0.0
        Weight of the squared l2 norm, >= 0.
    positive : bool, default=False
        Whether the codes are constrained to be non-negative.
    """

    lambda1: float
    lambda2: float = 0.0
    positive: bool = False

    def __post_init__(self) -> None:
        # Plain numbers and flags are kept: SPAMS refuses numpy's scalars.
        for name in ("lambda1", "lambda2"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{name} must be a real number, got {value!r}.")
            object.__setattr__(self, name, to_float(value))
        object.__setattr__(self, "positive", to_bool("positive", self.positive))
        if not (math.isfinite(self.lambda1) and self.lambda1 > 0):
            raise ValueError(f"lambda1 must be a finite number > 0, got {self.lambda1!r}.")
        if not (math.isfinite(self.lambda2) and self.lambda2 >= 0):
            raise ValueError(f"lambda2 must be a finite number >= 0, got {self.lambda2!r}.")

    def objective(self, X: Tensor, dictionary: Tensor, codes: Tensor) -> Tensor:
        """Value of Eq. (3) per sample, shape (n_samples,)."""
        residual = torch.addmm(X, codes, dictionary, alpha=-1)
        return (
            0.5 * residual.square().sum(1)
            + self.lambda1 * codes.abs().sum(1)
            + 0.5 * self.lambda2 * codes.square().sum(1)
        )

    def correlation(self, X: Tensor, dictionary: Tensor, codes: Tensor) -> Tensor:
        """Minus the gradient of the smooth part of Eq. (3), shape (n_samples, n_components)."""
        residual = torch.addmm(X, codes, dictionary, alpha=-1)
        correlation = residual @ dictionary.T
        return correlation.sub_(codes, alpha=self.lambda2) if self.lambda2 else correlation

    def violation(self, correlation: Tensor, codes: Tensor) -> Tensor:
        """Distance of `correlation` from lambda1 times the subdifferential of the l1 norm.

        Entry by entry: an atom in use must have correlation ``lambda1 sign(a)``, an atom not in use
        one in ``[-lambda1, lambda1]`` (``(-inf, lambda1]`` if positive). An infeasible (negative)
        entry under `positive` is an infinite violation.
        """
        if self.positive:
            excess = correlation - self.lambda1
            violation = torch.where(codes > 0, excess.abs(), excess.clamp_(min=0))
            return violation.masked_fill_(codes < 0, math.inf)
        # In use: |c - lambda1 sign(a)|; not in use: |c| - lambda1, where that is positive. In few
        # passes over the memory, since beside LARS each of them counts.
        sign = codes.sign()
        violation = torch.sub(correlation, sign, alpha=self.lambda1).abs_()
        return violation.sub_(1 - sign.abs_(), alpha=self.lambda1).clamp_(min=0)

    def kkt_residual(self, X: Tensor, dictionary: Tensor, codes: Tensor) -> Tensor:
        """Largest violation of the optimality conditions per sample, in units of lambda1."""
        violation = self.violation(self.correlation(X, dictionary, codes), codes)
        return violation.amax(1) / self.lambda1

    def lambda_max(self, X: Tensor, dictionary: Tensor) -> Tensor:
        """Smallest lambda1 at which the code of each sample is zero, shape (n_samples,)."""
        correlation = X @ dictionary.T
        return (correlation.clamp_(min=0) if self.positive else correlation.abs_()).amax(1)


def to_float(value: SupportsFloat) -> float:
    """A plain number; infinity for integers beyond float64."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def to_bool(name: str, value: object) -> bool:
    """A flag of Python; an error if it is no flag at all."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}.")
    return bool(value)
