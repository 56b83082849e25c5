"""Packages that the solvers can do without."""

import functools
import importlib
import importlib.util
import warnings

from .._interrupts import interrupts


@functools.cache
def can_import(name: str) -> bool:
    """Whether a package is there and works; a warning if it is there and does not."""
    if importlib.util.find_spec(name) is None:
        return False
    try:
        with interrupts.guarded():  # what is half imported is so for good
            importlib.import_module(name)
    except Exception as error:  # numba's way to say that numpy is too new for it differs
        warnings.warn(
            f"{name} is installed but cannot be imported, so a slower solver is used: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
