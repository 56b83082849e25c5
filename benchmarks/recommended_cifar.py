"""The recommended classifier on images that it was not chosen for: 4,000 of CIFAR-10.

    python benchmarks/recommended_cifar.py    # half an hour on one core

Accuracy on 5,000 other training images; the test images are not touched. Every row of a seed has
the features of one network, which "the network alone" is. Finished seeds are kept in the JSON file,
and not computed again.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Results
from ablation_mnist import ALONE, copied_features, print_table, run

from skddl import TaskDrivenDictionaryClassifier
from skddl._pretraining import recommended_network
from skddl.datasets import load_cifar10

HERE = Path(__file__).parent
IMAGE_SHAPE = (3, 32, 32)
N_TRAIN, N_VALIDATION = 4000, 5000
VARIANTS: dict[str, dict[str, Any]] = {
    "recommended": {},
    "nu1 = 0.001": {"nu1": 1e-3},
    "nu1 = 0.1": {"nu1": 0.1},
    "160 atoms per class": {"n_components": 1600},
    "160 atoms per class, nu1 = 0.001": {"n_components": 1600, "nu1": 1e-3},
    "160 atoms per class, nu1 = 0.1": {"n_components": 1600, "nu1": 0.1},
}


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


def main():
    """Run the seeds that are not yet there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-home", help="folder with CIFAR-10 (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "recommended_cifar.json")
    arguments = parser.parse_args()

    results = Results(arguments.output, {"images": N_TRAIN})
    done = {result["seed"] for result in results.runs}
    X, y = load_cifar10(arguments.data_home, return_X_y=True)
    for seed in range(arguments.seeds):
        if seed in done:
            continue
        rows = np.random.default_rng(seed).permutation(len(y))[: N_TRAIN + N_VALIDATION]
        train, unseen = rows[:N_TRAIN], rows[N_TRAIN:]
        network = recommended_network(N_TRAIN).set_params(
            image_shape=IMAGE_SHAPE, random_state=seed
        )
        of_seed = []
        for name in (ALONE, *VARIANTS):
            model = make(name, network, seed)
            of_seed.append(run(name, model, X, y, train, unseen) | {"seed": seed})
            print(of_seed[-1], flush=True)
        for result in of_seed:
            results.add(result)
    print_table(results.runs, (ALONE, *VARIANTS))


if __name__ == "__main__":
    main()
