"""Where a training stands."""

from array import array
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._optimizers import Moments


@dataclass
class TrainingState:
    """What a training needs to go on, and what it has to tell.

    Attributes
    ----------
    iteration : int
        Number of steps taken.
    curves : dict of arrays
        Loss and metrics of each step, 8 bytes each: in a list they would take 32.
    history : list of dicts
        One entry per epoch, and one at the end: iteration, learning rate, and what was measured
        since the entry before (means of loss and metrics, validation score).
    moments : Moments
        What the optimizer remembers.
    finished : bool
        Whether training ended before its last step, by early stopping or a callback.
    """

    iteration: int = 0
    curves: dict[str, "array[float]"] = field(default_factory=lambda: {"loss": array("d")})
    history: list[dict[str, float]] = field(default_factory=list)
    moments: Moments = field(default_factory=Moments)
    finished: bool = False

    def copy(self) -> "TrainingState":
        """One that goes on independently of this one.

        What has been recorded is shared: it does not change, and to copy each entry would make a
        short call of `partial_fit` the slower the more of them came before.
        """
        return replace(
            self,
            curves={name: curve[:] for name, curve in self.curves.items()},
            history=list(self.history),
            moments=deepcopy(self.moments),
        )

    def record_step(self, loss: float, metrics: dict[str, float]) -> None:
        """Take note of a step."""
        self.iteration += 1
        for name, value in {"loss": loss, **metrics}.items():
            self.curves.setdefault(name, array("d")).append(value)

    def record_epoch(self, learning_rate: float) -> dict[str, float]:
        """Add an entry to the history, and return it."""
        n_steps = self.iteration - (int(self.history[-1]["iteration"]) if self.history else 0)
        means = {name: float(np.mean(curve[-n_steps:])) for name, curve in self.curves.items()}
        self.history.append({"iteration": self.iteration, "learning_rate": learning_rate, **means})
        return self.history[-1]


def pack_state(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and plain data, that say all of `state`."""
    tensors = {
        f"optimizer.{index}.{name}": value
        for index, moments in state.moments.tensors.items()
        for name, value in moments.items()
    }
    tensors |= {
        f"curve.{name}": torch.from_numpy(np.array(curve)) for name, curve in state.curves.items()
    }
    plain = {
        "iteration": state.iteration,
        "history": state.history,
        "optimizer": state.moments.optimizer,
        "finished": state.finished,
    }
    return tensors, plain


def unpack_state(tensors: dict[str, Tensor], plain: dict[str, Any]) -> TrainingState:
    """What `pack_state` was given; other tensors may be among them.

    Raises
    ------
    AttributeError, KeyError, TypeError or ValueError
        If it is not what `pack_state` returns.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in with_prefix(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = value
    curves = with_prefix(tensors, "curve.")
    iteration = len(curves["loss"])
    if iteration != plain["iteration"]:
        raise ValueError(f"losses of {iteration} of {plain['iteration']} iterations")
    for name, curve in curves.items():
        if curve.dtype != torch.float64 or curve.shape != (iteration,):
            got = f"{curve.dtype} of the shape {tuple(curve.shape)}"
            raise ValueError(f"{name} of {iteration} iterations is {got}")
    return TrainingState(
        iteration=iteration,
        curves={name: array("d", curve.tolist()) for name, curve in curves.items()},
        history=[_checked(entry, iteration) for entry in plain["history"]],
        moments=Moments(str(plain["optimizer"]), moments),
        finished=bool(plain["finished"]),
    )


def _checked(entry: dict[str, float], iteration: int) -> dict[str, float]:
    """`entry` of a history up to `iteration`, or an error."""
    at = entry["iteration"]
    if type(at) is int and 0 <= at <= iteration and {*map(type, entry.values())} <= {int, float}:
        return dict(entry)
    raise TypeError(f"an entry of the history is {entry}")


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose name starts so, by the rest of the name."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
