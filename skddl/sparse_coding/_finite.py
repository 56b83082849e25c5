"""How large tensors are, and whether they are finite."""

import math

from torch import Tensor

from . import _core


def largest(values: Tensor) -> float:
    """Largest magnitude of all entries, of which there is one at least; NaN if one of them is."""
    if _core.core is not None and values.device.type == "cpu":
        return _core.core.largest(_core.as_array(values).reshape(-1))
    lowest, highest = values.aminmax()
    return max(-float(lowest), float(highest))


def all_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite."""
    return not values.numel() or math.isfinite(largest(values))
