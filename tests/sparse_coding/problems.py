"""The sparse coding problems that the tests of several modules solve."""

import numpy as np
from sklearn.datasets import load_digits


def unit_rows(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_wide():
    """More atoms than features."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(25, 20)), unit_rows(rng.normal(size=(50, 20)))


def random_tall():
    """Fewer atoms than features, not of unit norm."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(25, 30)), rng.normal(size=(12, 30)) * rng.uniform(0.2, 3.0, (12, 1))


def coherent():
    """Atoms with a large common part: cosines of 0.9."""
    rng = np.random.default_rng(2)
    dictionary = 0.3 * rng.normal(size=(40, 25)) + rng.normal(size=25)
    return rng.normal(size=(25, 25)), unit_rows(dictionary)


def rank_deficient():
    """30 atoms that span 6 of 20 dimensions."""
    rng = np.random.default_rng(3)
    dictionary = rng.normal(size=(30, 6)) @ rng.normal(size=(6, 20))
    return rng.normal(size=(25, 20)), unit_rows(dictionary)


def duplicated():
    """Each atom twice, and one of them negated as well."""
    rng = np.random.default_rng(4)
    atoms = unit_rows(rng.normal(size=(8, 15)))
    return rng.normal(size=(25, 15)), np.vstack([atoms, atoms, -atoms[:1]])


def nearly_duplicated():
    """Each atom twice, but for what float32 can hardly tell apart."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(12, 10))
    dictionary = np.vstack([atoms, atoms + 1e-6 * rng.normal(size=atoms.shape)])
    return rng.normal(size=(200, 10)), unit_rows(dictionary)


def digits():
    """Digits in a dictionary of other digits."""
    images = unit_rows(load_digits().data)
    return images[100:125], images[:100]


PROBLEMS = {
    problem.__name__: problem
    for problem in (
        random_wide,
        random_tall,
        coherent,
        rank_deficient,
        duplicated,
        nearly_duplicated,
        digits,
    )
}
# Those whose codes are unique for lambda2 = 0.
UNIQUE = ["random_wide", "random_tall", "coherent", "digits"]


def lambda_max(X, dictionary, positive=False):
    """Smallest lambda1 at which all codes are zero."""
    correlation = X @ dictionary.T
    return float(correlation.max() if positive else np.abs(correlation).max())


def objective(X, dictionary, codes, lambda1, lambda2):
    """Value of Eq. (3) of paper 1 per sample."""
    return (
        0.5 * np.square(X - codes @ dictionary).sum(1)
        + lambda1 * np.abs(codes).sum(1)
        + 0.5 * lambda2 * np.square(codes).sum(1)
    )


def residual_of_definition(X, dictionary, codes, lambda1, lambda2, positive):
    """Largest distance of the gradient from the subdifferential, entry by entry, over lambda1."""
    gradient = (X - codes @ dictionary) @ dictionary.T - lambda2 * codes
    worst = np.zeros(len(X))
    for (i, j), code in np.ndenumerate(codes):
        if code > 0:
            distance = abs(gradient[i, j] - lambda1)
        elif code < 0:
            distance = np.inf if positive else abs(gradient[i, j] + lambda1)
        elif positive:
            distance = max(gradient[i, j] - lambda1, 0.0)
        else:
            distance = max(abs(gradient[i, j]) - lambda1, 0.0)
        worst[i] = max(worst[i], distance / lambda1)
    return worst
