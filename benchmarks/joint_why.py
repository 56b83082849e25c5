"""Why learning together did not pay: from the defaults of before on, one change at a time.

    python benchmarks/joint_why.py                      # half an hour on one core
    python benchmarks/joint_why.py --figure docs/figures/joint_learning.png

10,000 training images of MNIST, zero mean and unit norm; error on 10,000 others, never test images.
Each row changes one setting of the row before, and each of the last rows one of those of the row
with non-negative codes. Beside the errors of the start and of the end: by which share of their norm
the first 100 steps move dictionary and weights, all in all and step by step. The figure shows loss
and held-out error during training.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _measure import STILL, Results
from _mnist_data import load_normalized
from joint_panel import OLD
from sklearn.model_selection import train_test_split

from skddl import TaskDrivenDictionaryClassifier

HERE = Path(__file__).parent
# What each row changes. The penalty of the last rows is the one that "auto" stands for.
CHANGES: dict[str, dict[str, Any]] = {
    "defaults of before": {},
    "samples themselves as features": {"features": "identity"},
    "nu1 by the number of samples": {"nu1": "auto"},
    "40 passes, 4,000 steps": {"max_iter": 4000},
    "Adam, rates by scale, falling to zero": {"optimizer": "adam", "learning_rate": 0.07},
    "lambda2 = 0.05": {"lambda2": 0.05},
    "non-negative codes": {"positive": True},
}
# What else decides: each changes one of the settings reached. `samples` are multiplied.
AROUND: dict[str, dict[str, Any]] = {
    "samples 100 times as large": {"samples": 100.0},
    "nu1 ten times as large": {"nu1": 10.0},
    "nu1 a tenth": {"nu1": 0.1},
    "rate falling as t0 / t, t0 = 400": {"t0": 400},
    "a rate of 0.02": {"learning_rate": 0.02},
    "a rate of 0.2": {"learning_rate": 0.2},
    "2,000 steps, 20 passes, as by default": {"max_iter": 2000},
    "1,000 steps": {"max_iter": 1000},
    "16,000 steps": {"max_iter": 16_000},
    "start of all classes together": {"init": "odl"},
    "100 atoms": {"n_components": 100},
    "100 atoms, start of all classes together": {"n_components": 100, "init": "odl"},
    "defaults of today": {"lambda2": 0.1, "max_iter": 2000},
}
N_PROBED = 100
CURVES = ["defaults of before", "40 passes, 4,000 steps", "defaults of today"]


def settings():
    """Parameters by the name of the row."""
    parameters = OLD | {"n_components": 400, "positive": False, "random_state": 0}
    rows = {}
    for name, change in CHANGES.items():
        parameters = parameters | change
        rows[name] = parameters
    return rows | {name: parameters | change for name, change in AROUND.items()}


def weights(model):
    """Dictionary and W."""
    return {"D": model.components_.copy(), "W": model.coef_.copy()}


def movement(parameters, X, y):
    """Of dictionary and W, at the first rate: a step, and the first steps together, relative."""
    model = TaskDrivenDictionaryClassifier(**(parameters | STILL)).fit(X, y)
    first = before = weights(model)
    rate = {"t0": 10**9, "learning_rate": parameters["learning_rate"], "warm_start": True}
    model.set_params(max_iter=1, **rate)
    path = dict.fromkeys(first, 0.0)
    for _ in range(N_PROBED):
        after = weights(model.fit(X, y))
        for name in path:
            path[name] += float(np.linalg.norm(after[name] - before[name]))
        before = after
    size = {name: float(np.linalg.norm(value)) for name, value in first.items()}
    return {
        name: {
            "step": path[name] / N_PROBED / size[name],
            "net": float(np.linalg.norm(before[name] - first[name])) / size[name],
        }
        for name in first
    }


def run(name, parameters, X, y):
    """A row: held-out errors and losses of each pass, and movement."""
    parameters = dict(parameters)
    X = parameters.pop("samples", 1) * X
    if name in AROUND and parameters["nu1"] != "auto":
        start = TaskDrivenDictionaryClassifier(**(parameters | STILL | {"nu1": "auto"})).fit(X, y)
        parameters["nu1"] *= start.nu1_
    watched = {"early_stopping": True, "validation_fraction": 0.5, "n_iter_no_change": 10**9}
    model = TaskDrivenDictionaryClassifier(**(parameters | watched)).fit(X, y)
    return {
        "row": name,
        "errors": [[entry["iteration"], 1 - entry["validation_score"]] for entry in model.history_],
        "losses": [[entry["iteration"], entry["loss"]] for entry in model.history_[1:]],
        "n_nonzero": model.history_[-1]["n_nonzero"],
        "movement": movement(parameters, X[: len(X) // 2], y[: len(X) // 2]),
    }


def print_table(runs):
    """Errors in percent, movement in percent of the norm."""
    print(
        "| | start | end | non-zeros | a step of D | of W | 100 steps of D | of W |\n"
        + "|---" * 8
        + "|"
    )
    for r in runs:
        errors = [error for _, error in r["errors"]]
        moved = [r["movement"][name][what] for what in ("step", "net") for name in ("D", "W")]
        cells = [f"{100 * errors[0]:.2f}", f"{100 * errors[-1]:.2f}", f"{r['n_nonzero']:.1f}"]
        cells += [f"{100 * share:.2g} %" for share in moved]
        print(f"| {r['row']} | " + " | ".join(cells) + " |")


def draw(runs, path):
    """Loss and held-out error against steps."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    for r in (r for r in runs if r["row"] in CURVES):
        left.plot(*np.transpose(r["losses"]), label=r["row"])
        right.plot(*np.transpose([[step, 100 * error] for step, error in r["errors"]]))
    left.set(xlabel="steps", ylabel="training loss, mean of a pass", yscale="log")
    right.set(xlabel="steps", ylabel="held-out error, %")
    left.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    """Run what is not in the results yet, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "joint_why.json")
    arguments = parser.parse_args()
    results = Results(arguments.output, {})
    done = {r["row"] for r in results.runs}
    X, y = load_normalized(None, "train")
    X, _, y, _ = train_test_split(X, y, train_size=20_000, stratify=y, random_state=0)
    for name, parameters in settings().items():
        if name not in done:
            results.add(run(name, parameters, X, y))
    print_table(results.runs)
    if arguments.figure is not None:
        draw(results.runs, arguments.figure)


if __name__ == "__main__":
    main()
