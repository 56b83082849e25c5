"""MNIST as the benchmarks take it: which samples, and how they are scaled."""

import numpy as np

from skddl import SampleNormalizer
from skddl.datasets import load_mnist

N_PER_CLASS = 100
# Subsets by which something is chosen have seeds from here on.
FIRST_SEED_OF_CHOICE = 100


def load_normalized(data_home, part):
    """Images of zero mean and unit norm, and their labels."""
    X, y = load_mnist(data_home, subset=part, return_X_y=True)
    return SampleNormalizer().fit_transform(X.astype(np.float32)), y


def subset(y, seed):
    """Row numbers of 100 samples of each class, class by class."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.choice(np.flatnonzero(y == label), N_PER_CLASS, replace=False) for label in range(10)]
    )


def held_out(y, seed, n_samples):
    """Row numbers of samples by which to choose: training images outside of the subset."""
    rest = np.setdiff1d(np.arange(len(y)), subset(y, seed))
    return np.random.default_rng(seed).choice(rest, n_samples, replace=False)
