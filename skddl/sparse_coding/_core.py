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


def _load() -> Any:
    """The best module that was built and runs here; None where none was built."""
    for name in (_MODULES.get(_LEVEL, "_core_baseline"), "_core_baseline"):
        try:
            return importlib.import_module(f".{name}", __package__)
        except ModuleNotFoundError:
            continue
    return None


core = _load()


def description() -> str:
    """Which form of the core is loaded, for people."""
    if core is None:
        return "none (there was no C++ compiler when skddl was installed)"
    return f"{core.__name__.rpartition('_')[2]}, for a processor with {_LEVEL}"


def as_array(values: Tensor) -> NDArray[Any]:
    """A tensor of the CPU as the core takes it: in rows, and with its signs in memory."""
    return values.resolve_neg().contiguous().numpy()
