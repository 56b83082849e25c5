"""Where a training stands."""

from dataclasses import dataclass, field

import numpy as np

from ._optimizers import Moments


@dataclass
class TrainingState:
    """What a training needs to go on, and what it has to tell.

    Attributes
    ----------
    iteration : int
        Number of steps taken.
    curves : dict of lists
        Loss and metrics of each step.
    history : list of dicts
        One entry per epoch, and one at the end: iteration, learning rate, and what was measured
        since the entry before (means of loss and metrics, validation score).
    moments : Moments
        What the optimizer remembers.
    finished : bool
        Whether training ended before its last step, by early stopping or a callback.
    """

    iteration: int = 0
    curves: dict[str, list[float]] = field(default_factory=lambda: {"loss": []})
    history: list[dict[str, float]] = field(default_factory=list)
    moments: Moments = field(default_factory=Moments)
    finished: bool = False

    def record_step(self, loss: float, metrics: dict[str, float]) -> None:
        """Take note of a step."""
        self.iteration += 1
        for name, value in {"loss": loss, **metrics}.items():
            self.curves.setdefault(name, []).append(value)

    def record_epoch(self, learning_rate: float) -> dict[str, float]:
        """Add an entry to the history, and return it."""
        n_steps = self.iteration - (int(self.history[-1]["iteration"]) if self.history else 0)
        means = {name: float(np.mean(curve[-n_steps:])) for name, curve in self.curves.items()}
        self.history.append({"iteration": self.iteration, "learning_rate": learning_rate, **means})
        return self.history[-1]
