"""The sparse coders of other packages, by name.

Each is a function of samples, dictionary, lambda1 and a KKT residual to reach, in units of lambda1,
and returns a function without arguments that returns codes. What is not installed is left out.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.decomposition
import torch

from skddl.sparse_coding import kkt_residual

try:
    import spams
except ImportError:
    spams = None
try:
    import dictlearn
except ImportError:
    dictlearn = None
try:
    import celer
except ImportError:
    celer = None
try:
    import skglm
    import skglm.datafits
    import skglm.penalties
    import skglm.solvers
except ImportError:
    skglm = None

ENOUGH = 1_000_000  # iterations: the tolerance ends them


@dataclass(frozen=True)
class Peer:
    """A sparse coder.

    Attributes
    ----------
    make : callable
        As the module says.
    solves_ours : bool
        Whether it solves problem (3) of paper 1, so that a KKT residual means something.
    at_once : bool
        Whether it iterates over all samples together: few samples would not do it justice.
    """

    make: Any
    solves_ours: bool = True
    at_once: bool = False


def spams_lasso(X, dictionary, lambda1, residual):
    """LARS, in float32, which has no tolerance: what a user of SPAMS writes, with dense codes."""
    del residual
    return lambda: (
        spams.lasso(
            np.asfortranarray(X.T),
            np.asfortranarray(dictionary.T),
            lambda1=lambda1,
            L=min(dictionary.shape),
            numThreads=torch.get_num_threads(),
        )
        .toarray()
        .T
    )


def sklearn_lars(X, dictionary, lambda1, residual):
    """LARS in float32, the faster one of its float types, without a tolerance.

    The Gram matrix is there before, in its favour: with few samples it would weigh too much.
    """
    del residual
    gram = dictionary @ dictionary.T
    return lambda: sklearn.decomposition.sparse_encode(
        X, dictionary, gram=gram, algorithm="lasso_lars", alpha=lambda1, max_iter=ENOUGH
    )


def sklearn_cd(X, dictionary, lambda1, residual):
    """Coordinate descent to a fixed tolerance, which float32 does not reach; Gram as above."""
    del residual
    X, dictionary = X.astype(np.float64), dictionary.astype(np.float64)
    gram = dictionary @ dictionary.T
    return lambda: sklearn.decomposition.sparse_encode(
        X, dictionary, gram=gram, algorithm="lasso_cd", alpha=lambda1, max_iter=ENOUGH
    )


def dictlearn_fista(X, dictionary, lambda1, residual):
    """FISTA, to the largest power of ten as tolerance that is good enough."""
    X, dictionary = X.astype(np.float64), dictionary.astype(np.float64)

    def encode(tol):
        # Its data term is without our half.
        return dictlearn.sparse_encode(
            X, dictionary, algorithm="fista", alpha=2 * lambda1, tol=tol, max_iter=ENOUGH
        )

    tol = lambda1 * 1e-4
    while kkt_residual(X, dictionary, encode(tol), lambda1=lambda1).max() > residual:
        tol /= 10
    return lambda: encode(tol)


def dictlearn_omp(X, dictionary, lambda1, residual):
    """Orthogonal matching pursuit, another problem, with as many non-zeros as ours in the mean."""
    del residual
    codes = spams_lasso(X, dictionary, lambda1, None)()
    n_nonzero = round(float((codes != 0).sum(1).mean()))
    return lambda: dictlearn.sparse_encode(
        X, dictionary, algorithm="omp", n_nonzero_coefs=n_nonzero
    )


def celer_lasso(X, dictionary, lambda1, residual):
    """Coordinate descent on working sets, sample by sample, to the largest power of ten."""
    A, X = np.asfortranarray(dictionary.T, dtype=np.float64), X.astype(np.float64)

    def encode(tol):
        model = celer.Lasso(alpha=lambda1 / len(A), fit_intercept=False, tol=tol)
        return np.array([model.fit(A, sample).coef_ for sample in X])

    tol = 1e-6
    while kkt_residual(X, A.T, encode(tol), lambda1=lambda1).max() > residual and tol > 1e-14:
        tol /= 10
    return lambda: encode(tol)


def skglm_lasso(X, dictionary, lambda1, residual):
    """Coordinate descent on working sets, with extrapolation, sample by sample."""
    A, X = np.asfortranarray(dictionary.T, dtype=np.float64), X.astype(np.float64)
    clone = skglm.utils.jit_compilation.compiled_clone
    datafit = clone(skglm.datafits.Quadratic())
    penalty = clone(skglm.penalties.L1(lambda1 / len(A)))
    # Its tolerance is on the very residual, in its units.
    solver = skglm.solvers.AndersonCD(
        tol=residual * lambda1 / len(A), fit_intercept=False, max_iter=ENOUGH
    )

    def encode():
        codes = []
        for sample in X:
            datafit.initialize(A, sample)
            codes.append(solver.solve(A, sample, datafit, penalty)[0])
        return np.array(codes)

    return encode


PEERS = {
    "scikit-learn, lasso_lars": Peer(sklearn_lars),
    "scikit-learn, lasso_cd": Peer(sklearn_cd),
}
if spams is not None:
    PEERS = {"SPAMS": Peer(spams_lasso)} | PEERS
if dictlearn is not None:
    PEERS["dictlearn, fista"] = Peer(dictlearn_fista, at_once=True)
if dictlearn is not None and spams is not None:
    PEERS["dictlearn, omp"] = Peer(dictlearn_omp, solves_ours=False)
if celer is not None:
    PEERS["celer"] = Peer(celer_lasso)
if skglm is not None:
    PEERS["skglm"] = Peer(skglm_lasso)

warnings.filterwarnings("ignore", module="sklearn|celer|skglm")
