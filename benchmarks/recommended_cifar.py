"""The recommended classifier on images that it was not chosen for: 4,000 of CIFAR-10.

    python benchmarks/recommended_cifar.py    # half an hour on one core

Accuracy on 5,000 other training images; the test images are not touched. Every row of a seed has
the features of one network, which "the network alone" is. Finished fits are kept in the JSON file,
and not computed again.
"""

import argparse
import time
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Results

from skddl import TaskDrivenDictionaryClassifier
from skddl._pretraining import recommended_network
from skddl.datasets import load_cifar10

HERE = Path(__file__).parent
IMAGE_SHAPE = (3, 32, 32)
N_TRAIN, N_VALIDATION = 4000, 5000
ALONE = "the network alone"
VARIANTS: dict[str, dict[str, Any]] = {
    "recommended": {},
    "nu1 = 0.01": {"nu1": 0.01},
    "nu1 = 0.1": {"nu1": 0.1},
    "160 atoms per class": {"n_components": 1600},
    "160 atoms per class, nu1 = 0.01": {"n_components": 1600, "nu1": 0.01},
    "160 atoms per class, nu1 = 0.1": {"n_components": 1600, "nu1": 0.1},
}


def copied_features(network, image_shape):
    """What a dictionary over a network that has been fitted starts from."""
    return deepcopy(network.module_.features)


def make(name, network, seed):
    """The network, or a dictionary over its features."""
    if name == ALONE:
        return network
    return TaskDrivenDictionaryClassifier.from_preset(
        "recommended",
        features=partial(copied_features, network),
        image_shape=IMAGE_SHAPE,
        random_state=seed,
        **VARIANTS[name],
    )


def print_table(runs):
    """Mean accuracies, and the paired differences from the network alone, in Markdown."""
    accuracy = {
        name: np.array([run["accuracy"] for run in runs if run["variant"] == name])
        for name in (ALONE, *VARIANTS)
    }
    print("| | accuracy | difference, points | standard error |\n|---|---|---|---|")
    for name, values in accuracy.items():
        difference = 100 * (values - accuracy[ALONE])
        error = difference.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
        print(f"| {name} | {values.mean():.4f} | {difference.mean():+.2f} | {error:.2f} |")


def main():
    """Run the seeds that are not yet there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-home", help="folder with CIFAR-10 (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "recommended_cifar.json")
    arguments = parser.parse_args()

    results = Results(arguments.output, {"images": N_TRAIN})
    done = {run["seed"] for run in results.runs}
    X, y = load_cifar10(arguments.data_home, return_X_y=True)
    for seed in range(arguments.seeds):
        if seed in done:
            continue
        rows = np.random.default_rng(seed).permutation(len(y))[: N_TRAIN + N_VALIDATION]
        train, unseen = rows[:N_TRAIN], rows[N_TRAIN:]
        network = recommended_network(N_TRAIN).set_params(
            image_shape=IMAGE_SHAPE, random_state=seed
        )
        for name in (ALONE, *VARIANTS):
            begin = time.perf_counter()
            model = make(name, network, seed).fit(X[train], y[train])
            fit_seconds = time.perf_counter() - begin
            result = {"variant": name, "seed": seed, "fit_seconds": fit_seconds}
            result["accuracy"] = model.score(X[unseen], y[unseen])
            print(result, flush=True)
            results.add(result)
    print_table(results.runs)


if __name__ == "__main__":
    main()
