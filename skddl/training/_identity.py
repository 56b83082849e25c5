"""What tells one fit from another."""

import functools
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

_ROWS_AT_A_TIME = 1000
# What a function may find in its module that is to it as a parameter.
_SETTINGS = (str, int, float, bytes, tuple, list, dict)


def identify(*parts: Any) -> str:
    """A digest of values that is the same, also in another process, where they mean the same."""
    digest = blake2b()
    for part in parts:
        if isinstance(part, np.ndarray) and not part.dtype.hasobject:
            digest.update(repr((part.shape, part.dtype.str)).encode())
            part = np.atleast_1d(part)
            # A memmap is not to be copied whole.
            for start in range(0, len(part), _ROWS_AT_A_TIME):
                digest.update(part[start : start + _ROWS_AT_A_TIME].tobytes())
        else:
            digest.update(repr(_plain(part)).encode())
    return digest.hexdigest()


def _plain(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """`value` such that what means the same has the same repr.

    `inside` are the objects that hold it, of which one may be held by another.
    """
    if id(value) in inside:
        return None
    inside = (*inside, id(value))

    def plain(part: Any) -> Any:
        return _plain(part, inside)

    if isinstance(value, dict):
        return sorted((repr(plain(key)), repr(plain(item))) for key, item in value.items())
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, (str, int, float, bytes)):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    if hasattr(value, "__array__") and not isinstance(value, type):  # a data frame, too
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return plain([value.shape, value.tolist()]) if value.dtype.hasobject else identify(value)
    # The repr of anything else may hold an address, which another process does not know.
    if isinstance(value, functools.partial):
        return plain([value.func, value.args, value.keywords])
    if isinstance(value, MethodType):
        return plain([value.__func__, value.__self__])
    if isinstance(value, FunctionType):  # a lambda has no name of its own
        code = value.__code__
        closed_over = [cell.cell_contents for cell in value.__closure__ or ()]
        used = {name: value.__globals__.get(name) for name in code.co_names}
        settings = {name: item for name, item in used.items() if isinstance(item, _SETTINGS)}
        return plain([value.__qualname__, code, value.__defaults__, closed_over, settings])
    if isinstance(value, CodeType):
        return plain([value.co_code, value.co_consts, value.co_names])
    if hasattr(value, "__qualname__") or isinstance(value, ModuleType):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if hasattr(value, "__dict__"):
        return plain([type(value).__qualname__, vars(value)])
    try:
        return plain([type(value).__qualname__, value.__reduce_ex__(2)])
    except TypeError:  # it cannot be pickled, such as a generator
        return type(value).__qualname__
