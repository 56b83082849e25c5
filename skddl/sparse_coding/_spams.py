"""Exact codes by the LARS algorithm of SPAMS, on the CPU."""

import numpy as np
import torch
from torch import Tensor

from ._active_set import polish
from ._problem import ElasticNetProblem

try:
    import spams
except ImportError:  # no wheel for this platform: "auto" then takes the torch solver
    spams = None

# What LARS reaches on well-conditioned supports; samples above it are finished by `polish`.
_DEFAULT_TOL = {torch.float32: 5e-5, torch.float64: 1e-8}


class SpamsSolver:
    """LARS (homotopy) of SPAMS, one sample after another on the CPU, on torch's number of threads.

    LARS starts from zero: starting codes are not used.
    """

    name = "spams"

    @staticmethod
    def is_available(device: torch.device) -> bool:
        """Whether SPAMS can be imported, and codes where the tensors are."""
        return spams is not None and device.type == "cpu"

    def solve(
        self,
        problem: ElasticNetProblem,
        X: Tensor,
        dictionary: Tensor,
        *,
        init: Tensor | None,
        tol: float | None,
        max_iter: int | None,
    ) -> tuple[Tensor, Tensor]:
        """Codes and their KKT residuals."""
        n_components = len(dictionary)
        # With lambda2 > 0 a code can use more atoms than there are features, which is where SPAMS
        # would stop by default; without, a larger bound only costs memory and time.
        max_nonzero = n_components if problem.lambda2 else min(dictionary.shape)
        # SPAMS wants samples and atoms as Fortran-ordered columns: transposed views, no copies.
        sparse_codes = spams.lasso(
            np.ascontiguousarray(X.numpy()).T,
            np.ascontiguousarray(dictionary.numpy()).T,
            lambda1=problem.lambda1,
            lambda2=problem.lambda2,
            pos=problem.positive,
            # A path of 1 step, which SPAMS takes for no bound, has 1 non-zero.
            L=max_nonzero if max_iter is None else min(int(max_iter), max_nonzero),
            max_length_path=-1 if max_iter is None else int(max_iter),
            numThreads=torch.get_num_threads(),
        )
        codes = torch.from_numpy(sparse_codes.T.toarray())
        residual = problem.kkt_residual(X, dictionary, codes)

        # LARS loses its way where atoms are (nearly) linearly dependent.
        tol = _DEFAULT_TOL[X.dtype] if tol is None else tol
        failed = (~(residual <= tol)).nonzero()[:, 0]
        if len(failed):
            start = codes[failed].nan_to_num_(0.0, 0.0, 0.0)
            codes[failed], residual[failed] = polish(
                problem,
                X[failed],
                dictionary,
                start,
                tol=tol,
                max_rounds=10 * n_components if max_iter is None else int(max_iter),
            )
        return codes, residual
