"""What several benchmarks share: how they measure, and where the results go."""

import json
import os
import time

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile


def medians(functions, repeats, device, warm_up=3):
    """Median seconds of each function, called in turns, and the seconds of each call."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(-warm_up, repeats):
        for name, function in functions.items():
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
    """Bytes of tensors on the CPU that a call of `function` adds at its peak."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    # `profiler.events()` has the events of memory only as parts of operators.
    results = profiler.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max())


def load_runs(path):
    """The runs of a JSON file, none if it is not there yet."""
    return json.loads(path.read_text())["runs"] if path.exists() else []


def save_runs(path, runs):
    """Replace the JSON file in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    os.replace(partial, path)
