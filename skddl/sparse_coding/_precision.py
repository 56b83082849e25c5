"""How exact codes are, also where torch was told to save on precision."""

from contextlib import nullcontext
from typing import Any

import torch

from .._process_settings import ProcessSetting

# KKT residuals, in units of lambda1, above which a solver looks at codes again: in float32 the
# promised 1e-4, less what the rounding of the residual may hide; in float64 what LARS reaches on
# well-conditioned supports.
ACCEPTED_RESIDUAL = {torch.float32: 9e-5, torch.float64: 1e-8}


class full_precision:
    """No autocast, and no TF32 (10 bits of mantissa) on CUDA: codes need all of float32."""

    def __init__(self, device: torch.device) -> None:
        is_autocast = torch.is_autocast_enabled(device.type)
        self._autocast = (
            torch.autocast(device.type, enabled=False) if is_autocast else nullcontext()
        )
        self._products = _exact_products if device.type == "cuda" else nullcontext()

    def __enter__(self) -> None:
        self._autocast.__enter__()
        self._products.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._products.__exit__(*error)
        self._autocast.__exit__(*error)


class _ExactProducts(ProcessSetting):
    def _look(self) -> None:
        self._before = torch.get_float32_matmul_precision()

    def _change(self) -> None:
        torch.set_float32_matmul_precision("highest")

    def _put_back(self) -> None:
        torch.set_float32_matmul_precision(self._before)


_exact_products = _ExactProducts()
