"""Table I of paper 1 on MNIST, by the paper's own recipes, and what a user would take instead.

    python benchmarks/table1_mnist.py                   # everything: a day on two cores
    python benchmarks/table1_mnist.py --sizes 1k --systems lin recommended --subsets 2

dictlearn's classifiers need its package: ``python -m pip install '.[bench]'``. Every finished fit
is written to the JSON file at once, and a fit that was stopped goes on from its checkpoint where it
has one: call the script again with the same arguments. Rows that are already in the file are not
computed again.

Settings that no paper fixes were chosen on training images outside of the subsets; see
ablation_mnist.py for those of the recommended classifier.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _measure import Results
from _mnist_systems import N_LABELLED, SYSTEMS
from sklearn.exceptions import ConvergenceWarning

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
from skddl.datasets import load_mnist

HERE = Path(__file__).parent
N_PER_CLASS = N_LABELLED["1k"] // 10


def subset(y, seed):
    """Row numbers of 100 samples of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.choice(np.flatnonzero(y == label), N_PER_CLASS, replace=False) for label in range(10)]
    )


def run(name, size, seed, data, checkpoint):
    """One fit and its scores on the 10,000 test images."""
    system = SYSTEMS[name]
    (X, y), test = data["raw" if system.raw_pixels else "normalized"]
    rows = subset(y, seed) if size == "1k" else np.arange(len(y))
    if system.raw_pixels:
        mean_image = X[rows].mean(axis=0)
        X, test = X - mean_image, (test[0] - mean_image, test[1])
    if system.unlabelled:
        hidden = np.setdiff1d(np.arange(len(y)), rows)
        y = y.copy()
        y[hidden] = -1
    else:
        X, y = X[rows], y[rows]
    result = {"system": name, "size": size, "seed": seed}
    if system.has_start:
        # How far the start gets: dictionary without labels, then the best W. One step is the least.
        start = system.make(size, seed, None).set_params(max_iter=1).fit(X, y)
        result["start_accuracy"] = start.score(*test)
    begin = time.perf_counter()
    model = system.make(size, seed, checkpoint).fit(X, y)
    result["fit_seconds_since_last_stop"] = time.perf_counter() - begin
    begin = time.perf_counter()
    result["accuracy"] = model.score(*test)
    result["score_seconds"] = time.perf_counter() - begin
    if isinstance(model, TaskDrivenDictionaryClassifier):
        codes = model.transform(test[0])
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
    parts = [
        load_mnist(arguments.data_home, subset=part, return_X_y=True) for part in ("train", "test")
    ]
    normalizer = SampleNormalizer()
    data = {
        "raw": [(X.astype(np.float32), y) for X, y in parts],
        "normalized": [(normalizer.fit_transform(X.astype(np.float32)), y) for X, y in parts],
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
