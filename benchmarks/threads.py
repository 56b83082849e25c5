"""A default fit to digits on an idle machine, on a busy one, on one processor, and in a search.

    python benchmarks/threads.py

Compares with OMP_NUM_THREADS=1. Each measurement is a process of its own, and they take turns;
the ratios are medians over the turns. Linux only: processes are pinned by taskset.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from _measure import PROMISED

HERE = Path(__file__).parent
# The second fit of a process: the first imports what torch's optimizers want.
FIT = f"""
import time
import torch
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
from skddl.sparse_coding import kkt_residual
X, y = load_digits(return_X_y=True)
model = make_pipeline(SampleNormalizer(), TaskDrivenDictionaryClassifier(random_state=0))
for _ in range(2):
    start = time.perf_counter()
    model.fit(X, y)
print(time.perf_counter() - start)
network = model[-1].module_
with torch.no_grad():
    x = network.features(torch.tensor(model[:-1].transform(X), dtype=torch.float32))
    code = network.code
    residual = kkt_residual(x, code.dictionary, code(x), **vars(code.problem))
assert residual.max() <= {PROMISED}, residual.max()
"""
SEARCH = """
import sys
import time
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
X, y = load_digits(return_X_y=True)
model = make_pipeline(SampleNormalizer(), TaskDrivenDictionaryClassifier(random_state=0))
grid = {{"taskdrivendictionaryclassifier__nu1": [0.1, 0.01]}}
search = GridSearchCV(model, grid, cv=2, refit=False, n_jobs={n_jobs})
start = time.perf_counter()
search.fit(X, y)
print(time.perf_counter() - start)
"""
SPIN = "while True: pass"


def seconds(program, *, threads=None, pinned=False):
    """What a new process prints."""
    environment = {name: v for name, v in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = ["taskset", "-c", "0"] * pinned + [sys.executable, "-c", program]
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout
    return float(output)


def busy(function):
    """`function` while each processor has another program to run."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in os.sched_getaffinity(0)]
    try:
        return function()
    finally:
        for other in others:
            other.kill()
            other.wait()


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "threads.json")
    arguments = parser.parse_args()
    measurements = {
        "idle": lambda: seconds(FIT),
        "idle, one thread": lambda: seconds(FIT, threads=1),
        "busy": lambda: busy(lambda: seconds(FIT)),
        "busy, one thread": lambda: busy(lambda: seconds(FIT, threads=1)),
        "one processor": lambda: seconds(FIT, pinned=True),
        "one processor, one thread": lambda: seconds(FIT, pinned=True, threads=1),
        "search": lambda: seconds(SEARCH.format(n_jobs=1)),
        "search, two jobs": lambda: seconds(SEARCH.format(n_jobs=2)),
    }
    found: dict[str, list[float]] = {name: [] for name in measurements}
    for repeat in range(arguments.repeats):
        for name, measure in measurements.items():
            found[name].append(measure())
            print(f"{repeat + 1}: {name} {found[name][-1]:.2f} s", flush=True)

    def ratio(name, reference):
        return float(np.median(np.divide(found[name], found[reference])))

    result = {
        "processors": len(os.sched_getaffinity(0)),
        "seconds": {name: float(np.median(values)) for name, values in found.items()},
        "over one thread": {
            name: ratio(name, f"{name}, one thread") for name in ("idle", "busy", "one processor")
        },
        "search with two jobs over one": ratio("search, two jobs", "search"),
    }
    print(json.dumps(result, indent=1))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
