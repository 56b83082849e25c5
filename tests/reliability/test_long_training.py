"""100,000 steps of training: memory that stays as it is, and nothing that is not finite."""

import json
import sys

import pytest

from .long_training import TRAININGS
from .processes import printed_by

pytestmark = pytest.mark.slow

# Memory may grow by so much after the first tenth of a training: the curves of loss and number of
# non-zeros, and the history, are 2 MB after 100,000 steps.
GROWTH = 0.02
LONG = pytest.mark.soak
CASES = [
    *(pytest.param(name, 100_000, marks=LONG, id=f"{name}-long") for name in TRAININGS),
    *(pytest.param(name, 2_000, id=f"{name}-short") for name in ("stream",)),
]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to measure memory")
@pytest.mark.parametrize(("name", "n_steps"), CASES)
def test_memory_stays_flat_and_all_is_finite(name, n_steps, tried, measured):
    found = json.loads(printed_by("long_training", name, n_steps))
    assert found["steps"] >= n_steps
    first, last = max(found["MB"][: -(-len(found["MB"]) // 10)]), max(found["MB"])
    measured(
        f"{name}: {n_steps:,} steps in {found['seconds']:.0f} s, {first:.1f} MB after a tenth of "
        f"them, {last:.1f} MB at most"
    )
    assert last <= (1 + GROWTH) * first
    tried("steps watched in long trainings", found["steps"])
