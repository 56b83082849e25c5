"""The linear output from which training starts: the best one for the first codes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from ._first_atoms import squares_error
from ._training_data import number_of_equal_weight
from .nn._losses import Loss, cross_entropy

# More weights than that, as of thousands of classes with thousands of atoms, start from zero: the
# best ones would take gigabytes and hours to find.
_MAX_WEIGHTS = 2**23
# nu1="auto" in units of the mean squared norm of the codes over their number, and of what
# cross-validation finds for codes that do not learn. Chosen on the panels of the benchmarks.
_NU1_OF_CLASSES, _NU1_OF_NUMBERS = 0.1, 3.0
# Samples that are enough to know the noise.
_MAX_RIDGE = 10_000
_LBFGS = {"maxiter": 500, "gtol": 1e-4, "ftol": 64 * np.finfo(np.float64).eps}


def auto_nu1(
    codes: Tensor,
    values: NDArray[Any],
    sample_weight: NDArray[Any],
    *,
    n_samples: int,
    of_classes: bool,
    fit_intercept: bool,
) -> float:
    """The meaning of ``nu1="auto"`` for first codes: W then does not depend on their scale.

    Of classes it falls with the number of samples. Of numbers it follows their noise, which
    generalised cross-validation of ridge regression on the codes measures. The codes are those of
    some of `n_samples`.
    """
    squares = torch.linalg.vector_norm(codes, dim=1, dtype=torch.float64).square().numpy()
    size = float(np.average(squares, weights=sample_weight))
    if size > float(np.finfo(np.float32).max):
        raise squares_error(codes.numpy().dtype)
    if size == 0 or of_classes or len(codes) == 1:
        n_equal = number_of_equal_weight(sample_weight) * n_samples / len(codes)
        return _NU1_OF_CLASSES * (size or 1.0) / n_equal
    rows = np.linspace(0, len(codes) - 1, num=min(len(codes), _MAX_RIDGE), dtype=np.intp)
    alphas = size * len(rows) / codes.shape[1] * np.logspace(-5, 2, 29)
    ridge = RidgeCV(alphas, fit_intercept=fit_intercept).fit(
        codes[rows].double().numpy(),
        values[rows],
        sample_weight=sample_weight[rows] / sample_weight[rows].mean(),
    )
    return _NU1_OF_NUMBERS * float(ridge.alpha_) / n_samples


def fit_output_(
    output: nn.Linear, codes: Tensor, y: Tensor, sample_weight: Tensor, loss: Loss, nu1: float
) -> None:
    """Set W and b to those of the convex problem (5), ``weighted mean loss + nu1/2 ||W||^2``.

    More than 8 million weights are set to zero. With the softmax loss, which would draw the
    intercept of a class that does not occur in `y` to minus infinity, W and b of such a class are
    zero.
    """
    present = torch.arange(output.out_features)
    nn.init.zeros_(output.weight)
    if output.bias is not None:
        nn.init.zeros_(output.bias)
    if loss is cross_entropy:
        present, y = y.unique(return_inverse=True)
        if len(present) == 1:
            return
    sample_weight = sample_weight / sample_weight.mean()
    n_weights = len(present) * codes.shape[1]
    if n_weights > _MAX_WEIGHTS:
        return

    def split(flat: Tensor) -> tuple[Tensor, Tensor | None]:
        weight, bias = flat[:n_weights].reshape(len(present), -1), flat[n_weights:]
        return weight, bias if len(bias) else None

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = torch.from_numpy(flat).requires_grad_()
        weight, bias = split(parameters.to(codes.dtype))
        losses = loss(nn.functional.linear(codes, weight, bias), y)
        value = (losses * sample_weight).mean() + nu1 / 2 * weight.square().sum()
        (gradient,) = torch.autograd.grad(value, parameters)
        return value.item(), gradient.numpy()

    start = np.zeros(n_weights + (0 if output.bias is None else len(present)))
    with torch.enable_grad():
        # It need not be exact: training goes on from it.
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=_LBFGS).x
    with torch.no_grad():
        weight, bias = split(torch.from_numpy(found).to(output.weight.dtype))
        output.weight[present] = weight
        if output.bias is not None and bias is not None:
            output.bias[present] = bias
