"""Mean and spread of the samples, as the networks for images and tables take them."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from ._base import Samples, range_error
from .nn._inputs import StandardizedInputs


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
    size = samples.inference_batch
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(rows), size):
            batch = samples.X[rows[start : start + size]].astype(np.float64) / samples.divisor
            # Each pixel is a sample of its channel.
            scaler.partial_fit(batch.reshape(len(batch), n_channels, -1).mT.reshape(-1, n_channels))
    limits = torch.finfo(samples.dtype)
    # Beyond that, what the network sees would be infinite, or divided by zero.
    if not (np.abs(scaler.mean_).max() < limits.max and scaler.scale_.min() > limits.tiny):
        raise range_error(samples.dtype)
    return StandardizedInputs(
        input_shape, torch.from_numpy(scaler.mean_), torch.from_numpy(scaler.scale_)
    )
