"""The losses l_s of task-driven learning: per sample, convex in the scores ``W a + b``."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Softmax loss, paper 1, Eq. (15); its derivatives are Eqs. (17) and (18)."""
    return F.cross_entropy(scores, y, reduction="none")


def squared_hinge(scores: Tensor, y: Tensor) -> Tensor:
    """Squared hinge loss of each class against the others, ``sum_c max(0, 1 - s_c score_c)^2``."""
    return (1 - _signs(scores, y) * scores).relu().square().sum(1)


def one_vs_rest_logistic(scores: Tensor, y: Tensor) -> Tensor:
    """Logistic loss of each class against the others, ``sum_c log(1 + exp(-s_c score_c))``."""
    return F.softplus(-_signs(scores, y) * scores).sum(1)


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Square loss, ``1/2 ||y - output||^2``."""
    return 0.5 * (y - outputs).square().sum(1)


def _signs(scores: Tensor, y: Tensor) -> Tensor:
    """s_c: 1 for the class of a sample, -1 for the others."""
    return torch.full_like(scores, -1).scatter_(1, y[:, None], 1)


CLASSIFICATION_LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "squared-hinge": squared_hinge,
    "one-vs-rest-logistic": one_vs_rest_logistic,
}
