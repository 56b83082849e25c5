"""What a fit settles by trials where the user has left it open: its steps, and its atoms."""

from collections.abc import Mapping
from dataclasses import dataclass

# How many samples a trial of a classifier holds out, and the share of all that they are at least
# and at most. Where that is less, there are two trials.
_HELD_OUT, _LEAST_SHARE, _LARGEST_SHARE = 200, 1 / 5, 1 / 3
# In units of the standard error of the difference of two independent accuracies: what may be
# chance. Those of the same samples vary less.
_CHANCE = 1 / 2


@dataclass(frozen=True)
class Plan:
    """What a fit is to do; by default, as without trials.

    Attributes
    ----------
    share_of_steps : float
        Which share of its steps it takes.
    n_components : int or None
        Number of atoms. None: what the estimator's parameter of that name says.
    """

    share_of_steps: float = 1.0
    n_components: int | None = None


def trials_of_classes(n_samples: int) -> tuple[float, int]:
    """The share of the samples that a trial holds out, and how many trials there are."""
    share = min(max(_HELD_OUT / n_samples, _LEAST_SHARE), _LARGEST_SHARE)
    return share, 1 if n_samples >= _HELD_OUT / _LARGEST_SHARE else 2


def best_plan(accuracies: Mapping[Plan, float], n_held_out: float) -> Plan:
    """The plan of the highest accuracy on so many samples, unless `Plan()` is as good."""
    best = max(accuracies, key=accuracies.__getitem__)
    usual, highest = accuracies[Plan()], accuracies[best]
    error = ((usual * (1 - usual) + highest * (1 - highest)) / n_held_out) ** 0.5
    return best if highest - usual > _CHANCE * error else Plan()
