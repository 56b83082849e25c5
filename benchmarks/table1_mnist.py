"""Table I of paper 1 on MNIST, by the paper's own recipes, and what a user would take instead.

    python benchmarks/table1_mnist.py                   # everything: many hours
    python benchmarks/table1_mnist.py --sizes 1k --systems lin recommended --subsets 2

dictlearn's classifiers need its package: ``python -m pip install '.[bench]'``. Every finished fit
is written to the JSON file at once, and a fit that was stopped goes on from its checkpoint where it
has one: call the script again with the same arguments. Rows that are already in the file are not
computed again.

Settings that no paper fixes were chosen on training images outside of the subsets, by
choose_mnist.py, and those of the recommended classifier by ablation_mnist.py.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _measure import Results
from _mnist_data import load_normalized, subset
from _mnist_systems import N_LABELLED, SYSTEMS
from sklearn.exceptions import ConvergenceWarning

from skddl import TaskDrivenDictionaryClassifier
from skddl.datasets import load_mnist

HERE = Path(__file__).parent


def training_set(system, size, seed, X, y, without=()):
    """What a system learns from: all samples or a subset, perhaps with the rest, unlabelled.

    `without` are rows that are not to be among the rest.
    """
    rows = subset(y, seed) if size == "1k" else np.arange(len(y))
    if system.in_random_order:
        rows = np.random.default_rng(seed).permutation(rows)
    if not system.unlabelled:
        return X[rows], y[rows]
    marked = np.full(len(y), -1)
    marked[rows] = y[rows]
    kept = np.setdiff1d(np.arange(len(y)), without)
    return X[kept], marked[kept]


def run(name, size, seed, data, checkpoint):
    """One fit and its scores on the 10,000 test images."""
    system = SYSTEMS[name]
    train, (X_test, y_test) = data["raw" if system.raw_pixels else "normalized"]
    X, y = training_set(system, size, seed, *train)
    if system.raw_pixels:
        mean_image = X.mean(axis=0)
        X, X_test = X - mean_image, X_test - mean_image
    result = {"system": name, "size": size, "seed": seed}
    if system.has_start:
        # How far the start gets: dictionary without labels, then the best W. One step is the least.
        start = system.make(size, seed, None).set_params(max_iter=1).fit(X, y)
        result["start_accuracy"] = start.score(X_test, y_test)
    begin = time.perf_counter()
    model = system.make(size, seed, checkpoint).fit(X, y)
    result["fit_seconds_since_last_stop"] = time.perf_counter() - begin
    begin = time.perf_counter()
    result["accuracy"] = model.score(X_test, y_test)
    result["score_seconds"] = time.perf_counter() - begin
    if isinstance(model, TaskDrivenDictionaryClassifier):
        codes = model.transform(X_test)
        result["n_nonzero"] = float((codes != 0).sum(axis=1).mean())
        result["last"] = model.history_[-1]
    return result


def print_table(runs):
    """All that was run beside the paper's numbers, in Markdown."""
    print("| train set | system | paper | accuracy | std | runs | start | non-zeros | fit, s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in N_LABELLED:
        for name, system in SYSTEMS.items():
            rows = [run for run in runs if (run["size"], run["system"]) == (size, name)]
            if not rows:
                continue
            accuracy = np.array([row["accuracy"] for row in rows])
            paper = f"{system.paper[size]:.3f}" if size in system.paper else ""
            std = f"{accuracy.std(ddof=1):.4f}" if len(rows) > 1 else ""
            start, n_nonzero, seconds = (
                f"{np.mean([row[key] for row in rows]):.{digits}f}" if key in rows[0] else ""
                for key, digits in (
                    ("start_accuracy", 4),
                    ("n_nonzero", 1),
                    ("fit_seconds_since_last_stop", 0),
                )
            )
            print(
                f"| {size.upper()} | {system.label} | {paper} | {accuracy.mean():.4f} | {std} "
                f"| {len(rows)} | {start} | {n_nonzero} | {seconds} |"
            )


def main():
    """Run what is asked for and not yet there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(N_LABELLED), default=list(N_LABELLED))
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--subsets", type=int, default=20, help="subsets of 1,000 samples")
    parser.add_argument("--seeds", type=int, default=1, help="fits to all 60,000 samples")
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "table1_mnist.json")
    arguments = parser.parse_args()

    results = Results(arguments.output, {})
    done = {(r["system"], r["size"], r["seed"]) for r in results.runs}
    parts, home = ("train", "test"), arguments.data_home
    raw = [load_mnist(home, subset=part, return_X_y=True) for part in parts]
    data = {
        "raw": [(X.astype(np.float32), y) for X, y in raw],
        "normalized": [load_normalized(home, part) for part in parts],
    }
    # Some peers are meant to stop before they have converged.
    warnings.simplefilter("ignore", ConvergenceWarning)
    for size in arguments.sizes:
        n_seeds = arguments.subsets if size == "1k" else arguments.seeds
        # Seed by seed, so that what is there after a while can be compared.
        for seed in range(n_seeds):
            for name in arguments.systems:
                if size not in SYSTEMS[name].sizes or (name, size, seed) in done:
                    continue
                checkpoint = arguments.output.with_suffix(f".{size}-{name}-{seed}.checkpoint")
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
                result = run(name, size, seed, data, checkpoint)
                print({k: v for k, v in result.items() if k != "last"}, flush=True)
                results.add(result)
                checkpoint.unlink(missing_ok=True)
    print_table(results.runs)


if __name__ == "__main__":
    main()
