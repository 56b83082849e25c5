"""The elastic-net sparse coding problem: its objective and its optimality conditions.

The papers write one sample as a column and code it as ``x = D alpha``. Here, as in scikit-learn,
samples, atoms and codes are rows: ``X`` is (n_samples, n_features), ``dictionary`` is
(n_components, n_features), ``codes`` is (n_samples, n_components), and ``X = codes @ dictionary``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ElasticNetProblem:
    """Elastic-net sparse coding, paper 1, Eq. (3), for every row ``x`` of ``X``.

    ``min_a  1/2 ||x - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2``, with ``a >= 0`` if `positive`.

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
        """Distance of `correlation` from lambda1 times the subdifferential of ``||.||_1`` at `codes`.

        Entry by entry: an atom in use must have correlation ``lambda1 sign(a)``, an atom not in use
        one in ``[-lambda1, lambda1]`` (``(-inf, lambda1]`` if positive). An infeasible (negative)
        entry under `positive` is an infinite violation.
        """
        # Two Python numbers would make `where` give torch's default dtype, not that of the codes.
        lambda1 = codes.new_tensor(self.lambda1)
        below = codes.new_tensor(-math.inf if self.positive else -self.lambda1)
        lower = torch.where(codes > 0, lambda1, below)
        upper = torch.where(codes < 0, below, lambda1)
        return (correlation - correlation.clamp(lower, upper)).abs_()

    def kkt_residual(self, X: Tensor, dictionary: Tensor, codes: Tensor) -> Tensor:
        """Largest violation of the optimality conditions per sample, in units of lambda1."""
        violation = self.violation(self.correlation(X, dictionary, codes), codes)
        return violation.amax(1) / self.lambda1

    def lambda_max(self, X: Tensor, dictionary: Tensor) -> Tensor:
        """Smallest lambda1 at which the code of each sample is zero, shape (n_samples,)."""
        correlation = X @ dictionary.T
        return (correlation.clamp_(min=0) if self.positive else correlation.abs_()).amax(1)
