"""The compiled core, in the form for this processor."""

import importlib
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

# By what torch calls the processor: it is what torch's own loops take, and the environment variable
# ATEN_CPU_CAPABILITY changes both.
_LEVELS = {"AVX512": "_core_avx512", "AVX2": "_core_avx2"}


def _load() -> Any:
    """The best module that was built and runs here; None where none was built."""
    level = torch.backends.cpu.get_cpu_capability()
    for name in (_LEVELS.get(level, "_core_baseline"), "_core_baseline"):
        try:
            return importlib.import_module(f".{name}", __package__)
        except ModuleNotFoundError:
            continue
    return None


core = _load()


def as_array(values: Tensor) -> NDArray[Any]:
    """A tensor of the CPU as the core takes it: in rows, and with its signs in memory."""
    return values.resolve_neg().contiguous().numpy()
