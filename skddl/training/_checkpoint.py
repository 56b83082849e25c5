"""Checkpoints: a training that was killed goes on where it stood."""

import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._interrupts import interrupts
from ._archive import ArchiveError, damaged, partial_path, read_archive, write_archive
from ._early_stopping import EarlyStopping
from ._optimizers import Moments
from ._state import TrainingState, pack_state, unpack_state, with_prefix

_KIND = "checkpoint"
# A step takes milliseconds, a checkpoint as long as a few of them; but some steps take seconds.
_STEPS_BETWEEN, _SECONDS_BETWEEN = 100, 60.0
# That of a network holds the whole history: to write it takes the longer the more steps there were,
# and in the end more time than 100 of them. Hence no sooner than after so small a part of them.
_LEAST_SHARE = 200
# What is being written grows all the time; what has not grown for so long is a killed process's.
_SECONDS_OF_SILENCE = 600.0


class CheckpointFile:
    """One file that holds all of a fit; nothing in it is executed when it is read.

    Parameters
    ----------
    path : path-like
    identity : str
        Says which fit this is. A file with another identity is refused.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str) -> None:
        self.path = Path(path)
        self.identity = identity
        self._tried_at = time.monotonic()
        self._has_warned = False

    def check(self, *, writes: bool = True) -> None:
        """Raise the errors of `read`, or those of the folder, right now.

        `writes`: whether it is this process that writes the file, of several that train together.
        It then removes what processes that were killed while writing it have left behind.
        """
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise ValueError(f"The folder of checkpoint={str(self.path)!r} does not exist.")
        self.read()
        if not writes:
            return
        try:
            probe = partial_path(self.path)
            with interrupts.held():
                probe.touch(exist_ok=False)
                probe.unlink()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"In the folder of checkpoint={str(self.path)!r} no file can be written: {error}"
            ) from error
        self._remove_litter(folder)

    def is_due(self, iteration: int) -> bool:
        """Whether it is time to write."""
        between = _STEPS_BETWEEN * max(1, iteration // (_LEAST_SHARE * _STEPS_BETWEEN))
        return iteration % between == 0 or time.monotonic() - self._tried_at > _SECONDS_BETWEEN

    def save(self, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
        """Replace the file, in one move: it is never half written, and Ctrl-C waits meanwhile.

        If that fails, the file is as it was: a warning says so, once, and learning goes on.
        """
        try:
            with interrupts.held():
                write_archive(self.path, _KIND, tensors, {"identity": self.identity, **content})
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"The checkpoint {str(self.path)!r} could not be written: {error}. Learning "
                    "goes on, and tries again whenever a checkpoint is due.",
                    RuntimeWarning,
                    stacklevel=2,
                )
        finally:
            self._tried_at = time.monotonic()

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was saved; None if there is no file.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, or of another fit.
        """
        if not self.path.exists():
            return None
        with _advice():
            tensors, content = read_archive(self.path, _KIND)
        if not isinstance(content, dict) or content.get("identity") != self.identity:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} belongs to a fit with other parameters or "
                "other data. Remove it or pass another path as checkpoint. Each fit of a search "
                "and each that goes on by warm_start needs a file of its own."
            )
        return tensors, content

    def _remove_litter(self, folder: Path) -> None:
        partial = re.compile(re.escape(self.path.name) + r"\.[0-9a-f]{32}\.partial")
        with suppress(OSError):  # the folder may not be listed
            for path in filter(lambda path: partial.fullmatch(path.name), folder.iterdir()):
                with suppress(OSError):  # another process removes it, too
                    if time.time() - path.stat().st_mtime > _SECONDS_OF_SILENCE:
                        path.unlink()

    @contextmanager
    def damaged(self) -> Iterator[None]:
        """Say, where what was read leads to an error, that it is the file that is damaged."""
        with _advice(), damaged(self.path, _KIND):
            yield


@contextmanager
def _advice() -> Iterator[None]:
    """Say what to do about a file that cannot be used."""
    try:
        yield
    except ArchiveError as error:
        raise ValueError(f"{error} Remove it or pass another path as checkpoint.") from error


class Checkpoint(CheckpointFile):
    """The file of a training.

    Parameters
    ----------
    path, identity
        As in the base class.
    global_rng : bool, default=False
        Whether training draws from torch's global generators, so that they belong to its state.
    """

    def __init__(
        self, path: str | os.PathLike[str], identity: str, *, global_rng: bool = False
    ) -> None:
        super().__init__(path, identity)
        self.global_rng = global_rng

    def write(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: TrainingState,
        early_stopping: EarlyStopping | None,
    ) -> None:
        """Save the present state."""
        tensors, packed = pack_state(replace(state, moments=Moments.of(optimizer)))
        tensors |= {f"module.{name}": value for name, value in module.state_dict().items()}
        if self.global_rng:
            tensors |= _rng_states(module)
        content: dict[str, Any] = {"state": packed}
        if early_stopping is not None:
            tensors |= {f"best.{name}": v for name, v in early_stopping.best_state.items()}
            content["best_score"] = early_stopping.best_score
            content["n_without_improvement"] = early_stopping.n_without_improvement
        self.save(tensors, content)

    def restore(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: TrainingState,
        early_stopping: EarlyStopping | None,
    ) -> None:
        """Put everything back as it was written; do nothing if there is no file."""
        if (found := self.read()) is None:
            return
        tensors, content = found
        with self.damaged():
            _require_state(module, state_dict := with_prefix(tensors, "module."))
            module.load_state_dict(state_dict)
            vars(state).update(vars(unpack_state(tensors, content["state"])))
            state.moments.restore(optimizer)
            if early_stopping is not None:
                if best_state := with_prefix(tensors, "best."):
                    _require_state(module, best_state)
                early_stopping.best_state = best_state
                early_stopping.best_score = float(content["best_score"])
                early_stopping.n_without_improvement = int(content["n_without_improvement"])
            if self.global_rng:
                torch.set_rng_state(tensors["rng.cpu"])
                if "rng.cuda" in tensors:
                    torch.cuda.set_rng_state(tensors["rng.cuda"], _device(module))


def _require_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Raise ValueError unless `module` may have that state."""
    present = module.state_dict()
    types = [{name: (v.shape, v.dtype) for name, v in s.items()} for s in (present, state)]
    if types[0] != types[1]:
        raise ValueError("its weights are not those of a model with its parameters")
    # Buffers that are not finite from the start, such as masks, are meant to be so.
    if any(v.isfinite().all() and not state[name].isfinite().all() for name, v in present.items()):
        raise ValueError("its weights are not finite")


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _rng_states(module: nn.Module) -> dict[str, Tensor]:
    """States of torch's generators on the CPU and on the GPU of `module`."""
    states = {"rng.cpu": torch.get_rng_state()}
    if (device := _device(module)).type == "cuda":
        states["rng.cuda"] = torch.cuda.get_rng_state(device)
    return states
