"""The compiled core, in the form for this processor."""

import importlib
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

# What torch calls the level of the processor. Its own loops follow it, too, and the environment
# variable ATEN_CPU_CAPABILITY changes it for both.
_LEVEL = torch.backends.cpu.get_cpu_capability()
_MODULES = {"AVX512": "_core_avx512", "AVX2": "_core_avx2"}


def _load() -> tuple[Any, str]:
    """The best module that was built and runs here, or None and why there is none."""
    reason = ""
    for name in (_MODULES.get(_LEVEL, "_core_baseline"), "_core_baseline"):
        try:
            return importlib.import_module(f".{name}", __package__), ""
        except ImportError as error:
            reason = str(error)
    return None, reason


core, _reason = _load()


def description() -> str:
    """Which form of the core is loaded, for people."""
    if core is None:
        return f"none: it was not built when skddl was installed, or does not load ({_reason})"
    return f"{core.__name__.rpartition('_')[2]}, for a processor with {_LEVEL}"


def as_array(values: Tensor) -> NDArray[Any]:
    """A tensor of the CPU as the core takes it: in rows, and with its signs in memory."""
    return values.resolve_neg().contiguous().numpy()
