"""How exact codes are, also where torch was told to save on precision."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

# KKT residuals, in units of lambda1, above which a solver looks at codes again: in float32 the
# promised 1e-4, less what the rounding of the residual may hide; in float64 what LARS reaches on
# well-conditioned supports.
ACCEPTED_RESIDUAL = {torch.float32: 9e-5, torch.float64: 1e-8}


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No autocast, and no TF32 (10 bits of mantissa) on CUDA: codes need all of float32."""
    is_autocast = torch.is_autocast_enabled(device.type)
    with torch.autocast(device.type, enabled=False) if is_autocast else nullcontext():
        if device.type != "cuda":
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
