"""Packages that the solvers can do without."""

import functools
import importlib
import importlib.util
import warnings


@functools.cache
def can_import(name: str) -> bool:
    """Whether a package is there and works; a warning if it is there and does not."""
    if importlib.util.find_spec(name) is None:
        return False
    try:
        importlib.import_module(name)
    except Exception as error:  # what was built for another numpy says so in many ways
        warnings.warn(
            f"{name} is installed but cannot be imported, so a slower solver is used: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
