"""Checkpoints: a training that was killed goes on where it stood."""

import functools
import os
import time
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._archive import ArchiveError, read_archive, write_archive
from ._early_stopping import EarlyStopping
from ._optimizers import Moments
from ._state import TrainingState, pack_state, unpack_state, with_prefix

_KIND = "checkpoint"
# A step takes milliseconds, a checkpoint as long as a few of them; but some steps take seconds.
_STEPS_BETWEEN, _SECONDS_BETWEEN = 100, 60.0
_ROWS_AT_A_TIME = 1000
# What a function may find in its module that is to it as a parameter.
_SETTINGS = (str, int, float, bytes, tuple, list, dict)


class Checkpoint:
    """One file (safetensors, with JSON in its header) that holds all of a training.

    Nothing in the file is executed when it is read.

    Parameters
    ----------
    path : path-like
    identity : str
        Says which fit this is. A file with another identity is refused.
    global_rng : bool, default=False
        Whether training draws from torch's global generators, so that they belong to its state.
    """

    def __init__(
        self, path: str | os.PathLike[str], identity: str, *, global_rng: bool = False
    ) -> None:
        self.path = Path(path)
        self.identity = identity
        self.global_rng = global_rng
        self._written_at = time.monotonic()

    def check(self) -> None:
        """Raise the errors of `restore`, or that of a folder that is missing, right now."""
        if not self.path.absolute().parent.is_dir():
            raise ValueError(f"The folder of checkpoint={str(self.path)!r} does not exist.")
        if self.path.exists():
            self._read()

    def is_due(self, state: TrainingState) -> bool:
        """Whether it is time to write."""
        return (
            state.finished
            or state.iteration % _STEPS_BETWEEN == 0
            or time.monotonic() - self._written_at > _SECONDS_BETWEEN
        )

    def write(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: TrainingState,
        early_stopping: EarlyStopping | None,
    ) -> None:
        """Replace the file by the present state, in one move: it is never half written."""
        tensors, packed = pack_state(replace(state, moments=Moments.of(optimizer)))
        tensors |= {f"module.{name}": value for name, value in module.state_dict().items()}
        if self.global_rng:
            tensors |= _rng_states(module)
        content: dict[str, Any] = {"identity": self.identity, "state": packed}
        if early_stopping is not None:
            tensors |= {f"best.{name}": v for name, v in early_stopping.best_state.items()}
            content["best_score"] = early_stopping.best_score
            content["n_without_improvement"] = early_stopping.n_without_improvement
        write_archive(self.path, _KIND, tensors, content)
        self._written_at = time.monotonic()

    def restore(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: TrainingState,
        early_stopping: EarlyStopping | None,
    ) -> None:
        """Put everything back as it was written; do nothing if there is no file.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, or of another fit.
        """
        if not self.path.exists():
            return
        tensors, content = self._read()
        try:
            module.load_state_dict(with_prefix(tensors, "module."))
            vars(state).update(vars(unpack_state(tensors, content["state"])))
            state.moments.restore(optimizer)
            if early_stopping is not None:
                early_stopping.best_state = with_prefix(tensors, "best.")
                early_stopping.best_score = float(content["best_score"])
                early_stopping.n_without_improvement = int(content["n_without_improvement"])
            if self.global_rng:
                torch.set_rng_state(tensors["rng.cpu"])
                if "rng.cuda" in tensors:
                    torch.cuda.set_rng_state(tensors["rng.cuda"], _device(module))
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"The checkpoint {str(self.path)!r} is damaged: {error}") from error

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        try:
            tensors, content = read_archive(self.path, _KIND)
        except ArchiveError as error:
            raise ValueError(f"{error} Remove it or pass another path as checkpoint.") from error
        if not isinstance(content, dict) or content.get("identity") != self.identity:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} belongs to a fit with other parameters or "
                "other data. Remove it or pass another path as checkpoint. Each fit of a search "
                "and each that goes on by warm_start needs a file of its own."
            )
        return tensors, content


def identify(*parts: Any) -> str:
    """A digest of values that is the same, also in another process, where they mean the same."""
    digest = blake2b()
    for part in parts:
        if isinstance(part, np.ndarray):
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
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bytes)):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    if isinstance(value, np.ndarray):
        return identify(value)
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
    if isinstance(value, type | ModuleType) or not hasattr(value, "__dict__"):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return plain([type(value).__qualname__, vars(value)])


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _rng_states(module: nn.Module) -> dict[str, Tensor]:
    """States of torch's generators on the CPU and on the GPU of `module`."""
    states = {"rng.cpu": torch.get_rng_state()}
    if (device := _device(module)).type == "cuda":
        states["rng.cuda"] = torch.cuda.get_rng_state(device)
    return states
