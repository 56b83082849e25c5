"""Schedules: the factor on the learning rate in each step."""

import math
from collections.abc import Callable
from numbers import Real

# Takes the number of a step (from 0).
RateFactor = Callable[[int], float]

# The recipe of paper 2's networks: times 0.2 after 60, 120 and 160 of 200 epochs.
_MILESTONES = (0.3, 0.6, 0.8)
_DROP = 0.2


def inverse_time(t0: float) -> RateFactor:
    """Algorithm 1 of paper 1: ``rho_t = min(rho, rho t0 / t)``; the first step is t = 1."""
    return lambda step: min(1.0, t0 / (step + 1))


def _step(done: float) -> float:
    return _DROP ** sum(done >= milestone for milestone in _MILESTONES)


def _cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


# By name: the factor where that share of the training is done, in [0, 1).
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": _cosine,
    "linear": lambda done: 1.0 - done,
    "step": _step,
}


def over_training(schedule: Callable[[float], float], start: int, n_steps: int) -> RateFactor:
    """`schedule`, a function of the share that is done, over `n_steps` steps from `start`."""

    def factor(step: int) -> float:
        # torch asks for the rate of the step after the last one, too.
        done = min(step - start, n_steps - 1) / n_steps
        value = schedule(done)
        if not isinstance(value, Real) or not 0 <= value < math.inf:
            raise ValueError(f"lr_schedule must return a number >= 0, got {value!r} at {done:g}.")
        return value

    return factor
