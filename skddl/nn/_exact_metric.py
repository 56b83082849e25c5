"""The metric of a dictionary: Theorems 3.1 and 3.2 of paper 2 in numbers."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Frequencies per degree of a trigonometric polynomial: its largest value there is at most 4 %
# below the largest of all.
_OVERSAMPLING = 16
# Plain steps converge below 2. Near it, what oscillates hardly fades; here it loses 5 % a step.
_LARGEST_OF_PLAIN_STEPS = 1.95


class ExactMetric(NamedTuple):
    """W~, h and b of Theorem 3.2, and a damping with which the steps of Eq. (9) converge."""

    weight: Tensor
    h: Tensor
    b: Tensor
    damping: float


def exact_metric(dictionary: Tensor, lambda_: float, alpha: float, beta: float) -> ExactMetric:
    """The metric ``Q = D' D + alpha I`` of atoms, or of filters, that are rows; in float64.

    Of filters, Q is a convolution: the tap r from filter l to filter i is their product where l is
    shifted by r.
    """
    is_dense = dictionary.ndim == 2
    filters = (dictionary[:, :, None, None] if is_dense else dictionary).double()
    reach = filters.shape[-1] - 1
    q = nn.functional.conv2d(filters, filters, padding=reach)
    q[:, :, reach, reach].diagonal().add_(alpha)
    q_own = q[:, :, reach, reach].diagonal().clone()
    weight = -q / (q_own + beta)[:, None, None, None]
    weight[:, :, reach, reach].diagonal().zero_()

    # Divided by the roots of its diagonal on both sides, Q + beta I has the eigenvalues of I - W~.
    roots = (q_own + beta).sqrt()
    a = q / (roots[:, None] * roots)[:, :, None, None]
    a[:, :, reach, reach].diagonal().fill_(1)
    return ExactMetric(
        weight[:, :, 0, 0] if is_dense else weight,
        q_own / (q_own + beta),
        lambda_ / (q_own + beta),
        _stable_damping(a),
    )


def _stable_damping(a: Tensor) -> float:
    """1 if plain steps converge, else the damping that is best where no entry is held at zero.

    Steps damped by less than 2 / L, L being the largest eigenvalue of the convolution `a`, are
    projected gradient steps, each of which lowers the objective. With the smallest one, l, the best
    is 2 / (L + l).
    """
    reach = a.shape[-1] // 2
    n_frequencies = max(1, _OVERSAMPLING * reach)
    taps = nn.functional.pad(a, (0, n_frequencies - a.shape[-1]) * 2)
    # The Fourier transform of a kernel centred at the origin: a Hermitian matrix per frequency.
    # Half of them are enough, since the others are their conjugates.
    symbol = torch.fft.rfft2(taps.roll((-reach, -reach), (2, 3)))
    eigenvalues = torch.linalg.eigvalsh(symbol.permute(2, 3, 0, 1))
    # Ehlich and Zeller (1964): between so many frequencies the largest rises by no more.
    largest = float(eigenvalues.max()) / math.cos(math.pi * reach / n_frequencies) ** 2
    if largest < _LARGEST_OF_PLAIN_STEPS:
        return 1.0
    # Rounding may bring the smallest to 0 or below.
    return 2 / (largest + max(1e-6 * largest, float(eigenvalues.min())))
