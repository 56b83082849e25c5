"""Table I of paper 1: task-driven dictionary learning on MNIST, by the paper's own recipe.

    python benchmarks/table1_mnist.py                   # everything: hours on two cores
    python benchmarks/table1_mnist.py --sizes 1k --methods lin --subsets 2

Every finished fit is written to the JSON file at once, and a fit that was stopped goes on from its
checkpoint: call the script again with the same arguments. Rows that are already in the file are
not computed again.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Results

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
from skddl.datasets import load_mnist

HERE = Path(__file__).parent
PAPER = {("60k", "lin"): 0.971, ("60k", "cnn"): 0.984, ("1k", "lin"): 0.898, ("1k", "cnn"): 0.928}
ROWS = {"lin": "TDDL-LIN", "cnn": "TDDL-CNN"}
N_PER_CLASS = 100


def make_classifier(method, size, seed, checkpoint, nu2):
    """The classifier with every value that section IV of paper 1 names; its nu2 is 0."""
    features: dict[str, Any] = (
        {"features": "linear", "n_features_out": 196, "lambda1": 0.8}
        if method == "lin"
        else {"features": "lenet", "lambda1": 4.0}
    )
    return TaskDrivenDictionaryClassifier(
        400,
        image_shape=(1, 28, 28),
        lambda2=0.0,
        nu1=0.1,
        nu2=nu2,
        t0=4000,
        learning_rate=0.05,
        batch_size=100,
        max_iter=40_000 if size == "60k" else 1000,
        init="class-odl",
        fit_intercept=False,
        checkpoint=checkpoint,
        random_state=seed,
        **features,
    )


def subset(y, seed):
    """Row numbers of 100 samples of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.choice(np.flatnonzero(y == label), N_PER_CLASS, replace=False) for label in range(10)]
    )


def run(method, size, seed, train, test, checkpoint, nu2):
    """One fit and its scores on the 10,000 test images."""
    X, y = train
    if size == "1k":
        rows = subset(y, seed)
        X, y = X[rows], y[rows]
    # How far the start gets: dictionary without labels, then the best W. One step is the least.
    start = make_classifier(method, size, seed, None, nu2).set_params(max_iter=1).fit(X, y)
    begin = time.perf_counter()
    clf = make_classifier(method, size, seed, checkpoint, nu2).fit(X, y)
    seconds = time.perf_counter() - begin
    codes = clf.transform(test[0])
    history = [entry for entry in clf.history_ if "loss" in entry]
    return {
        "method": method,
        "size": size,
        "seed": seed,
        "accuracy": clf.score(*test),
        "start_accuracy": start.score(*test),
        "train_accuracy": clf.score(X[:10_000], y[:10_000]),
        "n_nonzero": float((codes != 0).sum(axis=1).mean()),
        "fit_seconds_since_last_stop": seconds,
        "history": history if size == "60k" else history[-1:],
    }


def print_table(runs):
    """Ours beside the paper's, in Markdown."""
    print("| train set | method | paper | ours | std | runs | start | non-zeros per code |")
    print("|---|---|---|---|---|---|---|---|")
    for (size, method), paper in PAPER.items():
        rows = [r for r in runs if (r["size"], r["method"]) == (size, method)]
        name = f"| {size.upper()} | {ROWS[method]} | {paper:.3f} "
        if not rows:
            print(name + "| not run | | | | |")
            continue
        accuracy = np.array([r["accuracy"] for r in rows])
        n_nonzero = np.mean([r["n_nonzero"] for r in rows])
        std = f"{accuracy.std(ddof=1):.4f}" if len(rows) > 1 else ""
        start = np.mean([r["start_accuracy"] for r in rows])
        mean = f"{accuracy.mean():.4f}"
        print(name + f"| {mean} | {std} | {len(rows)} | {start:.4f} | {n_nonzero:.1f} |")


def main():
    """Run what is asked for and not yet there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=["1k", "60k"], default=["1k", "60k"])
    parser.add_argument("--methods", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--subsets", type=int, default=20, help="subsets of 1,000 samples")
    parser.add_argument("--seeds", type=int, default=1, help="fits to all 60,000 samples")
    parser.add_argument("--nu2", type=float, default=0.0, help="not 0: beyond the paper")
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "table1_mnist.json")
    arguments = parser.parse_args()

    results = Results(arguments.output, {"nu2": arguments.nu2})
    done = {(r["method"], r["size"], r["seed"]) for r in results.runs}
    normalizer = SampleNormalizer()
    train, test = (
        (normalizer.fit_transform(X), y)
        for X, y in (
            load_mnist(arguments.data_home, subset=part, return_X_y=True)
            for part in ("train", "test")
        )
    )
    for size in arguments.sizes:
        for method in arguments.methods:
            for seed in range(arguments.subsets if size == "1k" else arguments.seeds):
                if (method, size, seed) in done:
                    continue
                checkpoint = arguments.output.with_suffix(f".{size}-{method}-{seed}.checkpoint")
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
                result = run(method, size, seed, train, test, checkpoint, arguments.nu2)
                print({k: v for k, v in result.items() if k != "history"}, flush=True)
                results.add(result)
                checkpoint.unlink()
    print_table(results.runs)


if __name__ == "__main__":
    main()
