"""Mean and spread of the samples, as the networks for images and tables take them."""

from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from ._base import Samples, dtype_name, range_error
from .nn._inputs import StandardizedInputs

# Rounding errors, in the type of the samples, within which values count as equal.
ULPS = 8
# Rounding error of values that is borne, over their standard deviation.
LARGEST_LOSS = 1e-3


def standardized_inputs(
    samples: Samples, rows: NDArray[np.intp], input_shape: tuple[int, ...], *, standardize: bool
) -> StandardizedInputs:
    """The first layer of a network: samples of their shape, by the statistics of some rows.

    Images have one mean and one scale per channel, tables one of each per column. The samples are
    read batch by batch.
    """
    n_channels = input_shape[0]
    if not standardize:
        return StandardizedInputs(input_shape, torch.zeros(n_channels), torch.ones(n_channels))
    scaler = StandardScaler()
    lowest, highest = np.full((2, prod(input_shape)), [[np.inf], [-np.inf]])
    size = samples.on("cpu").inference_batch  # where the statistics are computed
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(rows), size):
            batch = samples.raw(rows[start : start + size]).astype(np.float64) / samples.divisor
            scaler.partial_fit(batch)
            lowest, highest = np.minimum(lowest, batch.min(0)), np.maximum(highest, batch.max(0))
        # Of all pixels of a channel: the variance of their values is the mean of their variances
        # and the variance of their means.
        means, variances = (
            values.reshape(n_channels, -1) for values in (scaler.mean_, scaler.var_)
        )
        mean = means.mean(axis=1)
        scale = np.sqrt(variances.mean(axis=1) + means.var(axis=1))
        spread = highest.reshape(n_channels, -1).max(1) - lowest.reshape(n_channels, -1).min(1)
    # What is constant but for rounding is not blown up, be it later that of another type.
    kind_of_samples = samples.X.dtype if samples.X.dtype.kind == "f" else np.float64
    constant = spread <= ULPS * np.finfo(kind_of_samples).eps * np.abs(mean)
    scale[constant] = np.maximum(np.abs(mean[constant]), 1)
    limits = torch.finfo(samples.dtype)
    if (far := ~constant & (np.abs(mean) * limits.eps > LARGEST_LOSS * scale)).any():
        kind = "Channel" if len(input_shape) == 3 else "Column"
        raise ValueError(
            f"{kind} {far.argmax()} of X varies by {scale[far.argmax()]:.3g} around "
            f"{mean[far.argmax()]:.7g}: too little for {dtype_name(samples.dtype)}. Subtract its "
            "mean first, for example with StandardScaler"
            + (", or pass dtype='float64'." if samples.dtype == torch.float32 else ".")
        )
    # Beyond that, what the network sees would be infinite, or divided by zero.
    if not (np.abs(mean).max() < limits.max and limits.tiny < scale.min() <= scale.max() < np.inf):
        raise range_error(samples.dtype)
    return StandardizedInputs(input_shape, torch.from_numpy(mean), torch.from_numpy(scale))
