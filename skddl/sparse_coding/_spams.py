"""Exact codes by the LARS algorithm of SPAMS, on the CPU."""

import numpy as np
import torch
from torch import Tensor

from ._finish import can_finish, finish
from ._optional import can_import
from ._precision import ACCEPTED_RESIDUAL
from ._problem import ElasticNetProblem
from ._solution import Solution, Supports

if can_import("spams"):
    import spams
else:  # not every platform has a wheel: "auto" then takes another solver
    spams = None


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
        init: Tensor | Supports | None,
        tol: float | None,
        max_iter: int | None,
        differentiable: bool = False,
        gram: Tensor | None = None,
    ) -> Solution:
        """Codes and their KKT residuals."""
        codes = self._lars(problem, X, dictionary, max_iter)
        tol = ACCEPTED_RESIDUAL[X.dtype] if tol is None else tol
        residual = X.new_full((len(X),), torch.inf)  # all are to be finished, if they can be
        if not can_finish(X):
            residual = problem.kkt_residual(X, dictionary, codes)
            # LARS loses its way where atoms are (nearly) linearly dependent: in float32 sooner.
            if X.dtype == torch.float32 and len(failed := (~(residual <= tol)).nonzero()[:, 0]):
                X64, dictionary64 = X[failed].double(), dictionary.double()
                codes[failed] = self._lars(problem, X64, dictionary64, max_iter).float()
                residual[failed] = problem.kkt_residual(
                    X64, dictionary64, codes[failed].double()
                ).float()
        if len(rows := (~(residual <= tol)).nonzero()[:, 0]):
            finished = finish(
                problem,
                X[rows],
                dictionary,
                codes[rows].nan_to_num_(0.0, 0.0, 0.0),
                tol=tol,
                max_rounds=10 * len(dictionary) if max_iter is None else int(max_iter),
                gram=gram,
            )
            codes[rows], residual[rows] = finished.codes, finished.residual.to(X.dtype)
        return Solution(codes, residual)

    @staticmethod
    def _lars(
        problem: ElasticNetProblem, X: Tensor, dictionary: Tensor, max_iter: int | None
    ) -> Tensor:
        # With lambda2 > 0 a code can use more atoms than there are features, which is where SPAMS
        # would stop by default; without, a larger bound only costs memory and time.
        max_nonzero = len(dictionary) if problem.lambda2 else min(dictionary.shape)
        # SPAMS wants samples and atoms as Fortran-ordered columns: transposed views, no copies.
        codes = spams.lasso(
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
        return torch.from_numpy(codes.T.toarray())
