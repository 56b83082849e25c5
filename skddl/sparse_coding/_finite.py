"""Whether tensors are finite."""

from torch import Tensor


def all_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite."""
    # A finite sum has finite terms, and costs a tenth of looking at each; it can also overflow.
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())
