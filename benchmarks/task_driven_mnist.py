"""The method on MNIST: what learning the dictionary with the labels adds to one learned without.

    python benchmarks/task_driven_mnist.py                       # all: hours of one core
    python benchmarks/task_driven_mnist.py --atoms 100 --only one   # one dictionary of 100 atoms
    python benchmarks/task_driven_mnist.py --validate            # on training images held out

Test error in percent, pixels of zero mean and unit norm, 60,000 training images, with and without
their shifts by a pixel. "One": one dictionary for all classes. "Rest": a dictionary for each class
against the others (`OneVsRestClassifier`), of as many atoms each. The start is a dictionary
learned without labels, and the best W for its codes. The settings below were chosen with
``--validate``: 50,000 training images to learn from, the other 10,000 to look at. Every finished
fit is written to the JSON file at once; what is in it is not computed again. Classes are learned in
parallel by ``--jobs``.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from _measure import STILL, Results
from _mnist_data import load_normalized
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier

from skddl import TaskDrivenDictionaryClassifier

HERE = Path(__file__).parent
SETTINGS: dict[str, Any] = {
    "features": "identity",
    "init": "odl",
    "lambda1": 0.1,
    "lambda2": 0.05,
    "positive": True,
    "nu1": 2e-7,
    "learning_rate": 0.05,
    "batch_size": 200,
    "image_shape": (1, 28, 28),
    "random_state": 0,
}
# Steps with one dictionary, and of each against the rest: without shifts and with them.
N_STEPS = {"one": (30_000, 30_000), "rest": (8_000, 20_000)}
COLUMNS: dict[str, dict[str, Any]] = {
    "start": {"shifts": False, **STILL},
    "learned together": {"shifts": False},
    "learned together, shifts": {"shifts": True},
}


def make(kind, n_atoms, *, shifts, n_jobs, **parameters):
    """A classifier of one dictionary, or of one per class."""
    augment = "shift" if shifts else None
    steps = {"max_iter": N_STEPS[kind][shifts]}
    one = TaskDrivenDictionaryClassifier(
        n_atoms, augment=augment, **(SETTINGS | steps | parameters)
    )
    return one if kind == "one" else OneVsRestClassifier(one, n_jobs=n_jobs)


def mean_nonzeros(classifier, X):
    """Of the codes of a dictionary, the mean over the dictionaries."""
    parts = getattr(classifier, "estimators_", [classifier])
    return float(np.mean([(part.transform(X[:2000]) != 0).sum(axis=1).mean() for part in parts]))


def print_table(runs):
    """Errors in percent, non-zeros and minutes of the last column."""
    print("| dictionaries | atoms of each | " + " | ".join(COLUMNS) + " | non-zeros | minutes |")
    print("|---" * (len(COLUMNS) + 4) + "|")
    for kind in N_STEPS:
        for n_atoms in sorted({run["n_atoms"] for run in runs if run["kind"] == kind}):
            found = {
                run["column"]: run
                for run in runs
                if (run["kind"], run["n_atoms"]) == (kind, n_atoms)
            }
            cells = [f"{100 * found[c]['error']:.2f}" if c in found else "" for c in COLUMNS]
            last = [found[c] for c in COLUMNS if c in found and c != "start"][-1:]
            cells += [f"{run['n_nonzero']:.1f}" for run in last] or [""]
            cells += [f"{run['seconds'] / 60:.1f}" for run in last] or [""]
            name = "one" if kind == "one" else "one per class"
            print(f"| {name} | {n_atoms} | " + " | ".join(cells) + " |")


def main():
    """Run what is not in the results yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[50, 100, 200, 300])
    parser.add_argument("--only", nargs="+", choices=list(N_STEPS), default=list(N_STEPS))
    parser.add_argument("--columns", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    name = "task_driven_mnist" + ("-validation" if arguments.validate else "")
    path = arguments.output or HERE / "results" / f"{name}.json"
    settings = {key: str(value) for key, value in (SETTINGS | N_STEPS).items()}
    results = Results(path, {"settings": settings})
    X, y = load_normalized(None, "train")
    if arguments.validate:
        X, X_unseen, y, y_unseen = train_test_split(X, y, test_size=10_000, random_state=0)
    else:
        X_unseen, y_unseen = load_normalized(None, "test")
    done = {(run["kind"], run["n_atoms"], run["column"]) for run in results.runs}
    for kind in arguments.only:
        for n_atoms in arguments.atoms:
            for column in arguments.columns:
                if (kind, n_atoms, column) in done:
                    continue
                classifier = make(kind, n_atoms, n_jobs=arguments.jobs, **COLUMNS[column])
                start = time.perf_counter()
                classifier.fit(X, y)
                run = {
                    "kind": kind,
                    "n_atoms": n_atoms,
                    "column": column,
                    "seconds": time.perf_counter() - start,
                    "error": 1 - classifier.score(X_unseen, y_unseen),
                    "n_nonzero": mean_nonzeros(classifier, X_unseen),
                }
                results.add(run)
                print(run, flush=True)
    print_table(results.runs)


if __name__ == "__main__":
    main()
