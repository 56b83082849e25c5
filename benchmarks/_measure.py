"""What several benchmarks share: how they measure, and where the results go."""

import json
import os
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

# KKT residual, in units of lambda1, that codes in float32 are promised to have.
PROMISED = 1e-4
# A step that does not move the start: with it a task-driven estimator is its start.
STILL: dict[str, Any] = {"max_iter": 1, "learning_rate": 1e-12}


def require_promised(residuals, what):
    """End the program if one of the KKT residuals of what was timed is not as promised."""
    if not np.max(residuals) <= PROMISED:
        sys.exit(f"{what}: a KKT residual of {np.max(residuals):.1e}, not {PROMISED:g} at most.")


def medians(functions, repeats, device, warm_up=3, settle=False):
    """Median seconds of each function, called in turns, and the seconds of each call.

    With `settle` each is called once more, after a rest, before each call that counts: what the
    function before left in the caches, and its threads, which wait for more work by spinning for
    milliseconds, are then not charged to the next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(-warm_up, repeats):
        for name, function in functions.items():
            if settle:
                time.sleep(0.02)
                function()
                if device.type == "cuda":
                    torch.cuda.synchronize()
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(s)) for name, s in seconds.items()}, seconds


def median_ratio(seconds, name, reference):
    """Median over the turns of how much longer `name` takes than `reference`."""
    return float(np.median(np.divide(seconds[name], seconds[reference])))


def peak_memory(function):
    """Bytes of tensors and arrays on the CPU that a call of `function` adds at its peak.

    Those of tensors and those of arrays are added although their peaks may come one after the
    other. What compiled code of other packages allocates for itself is not seen.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        tracemalloc.start()
        function()
        _, of_arrays = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # `profiler.events()` has the events of memory only as parts of operators.
    results = profiler.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max()) + of_arrays


class Results:
    """The runs of a benchmark in a JSON file, which is replaced in one move after each of them.

    Parameters
    ----------
    path : Path
        Need not exist.
    setting : dict
        What all runs of a file have in common. A file of another setting is refused.
    """

    def __init__(self, path, setting):
        self.path = path
        self.setting = json.loads(json.dumps(setting))  # tuples become lists, as in the file
        self.runs = []
        if path.exists():
            content = json.loads(path.read_text())
            if content["setting"] != self.setting:
                sys.exit(
                    f"{path} holds runs of another setting, {content['setting']}, not "
                    f"{self.setting}: pass another --output."
                )
            self.runs = content["runs"]

    def add(self, run):
        """Take note of a run."""
        self.runs.append(run)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        content = {"setting": self.setting, "runs": self.runs}
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, self.path)


def has_failed(run, chance):
    """Whether a training learned nothing."""
    return run["diverged"] or run["accuracy"] < 1.5 * chance


def percent(runs, *, digits, chance):
    """Mean and standard deviation of the accuracies of some runs, and how many learned nothing."""
    accuracy = 100 * np.array([run["accuracy"] for run in runs])
    spread = f" ± {accuracy.std(ddof=1):.{digits}f}" if len(accuracy) > 1 else ""
    failed = sum(has_failed(run, chance) for run in runs)
    note = f" ({failed} of {len(runs)} failed)" if failed else ""
    return f"{accuracy.mean():.{digits}f}{spread}{note}"
