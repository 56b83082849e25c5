"""The last digits of codes, which do not depend on the neighbours of a sample."""

from torch import Tensor

from . import _core
from ._exact import encode_exactly
from ._polish import polish
from ._problem import ElasticNetProblem
from ._solution import Solution


def can_finish(X: Tensor) -> bool:
    """Whether there is the compiled core, in which each sample is coded on its own."""
    return X.device.type == "cpu" and _core.core is not None


def finish(
    problem: ElasticNetProblem,
    X: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    *,
    tol: float,
    max_rounds: int,
    gram: Tensor | None = None,
) -> Solution:
    """Exact codes and their KKT residuals, from codes that are nearly optimal.

    A product of a batch is rounded in a way that depends on the shape of the batch and on the
    number of threads, and so are the codes that come of it. The compiled core leaves no trace of
    that: what they end with depends on the sample and on its support alone. Without them, codes
    are as good, but their last digits may differ from batch to batch.
    """
    if can_finish(X):
        return encode_exactly(
            problem, X, dictionary, init=codes, tol=tol, max_iter=max_rounds, gram=gram
        )
    return Solution(*polish(problem, X, dictionary, codes, tol=tol, max_rounds=max_rounds))
