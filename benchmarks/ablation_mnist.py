"""What each part of the recommended classifier is good for, on MNIST.

    python benchmarks/ablation_mnist.py               # 1,000 labels, hours on two cores
    python benchmarks/ablation_mnist.py --size 60k    # 50,000 labels, likewise

Accuracy on 10,000 training images that were held out: by these the recommended settings were
chosen, and the test images were not touched. Every row changes one thing. The subsets are others
than those of table1_mnist.py. With 50,000 labels the rows differ in what is over the network, and
those of a seed share it. Finished fits are kept in the JSON file, and not computed again.
"""

import argparse
import time
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Results
from _mnist_data import FIRST_SEED_OF_CHOICE, held_out, load_normalized, subset
from _mnist_systems import N_LABELLED, its_network, recommended
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from torch import nn

from skddl import TaskDrivenDictionaryClassifier
from skddl._pretraining import recommended_network
from skddl.nn import ConvNet

HERE = Path(__file__).parent
N_VALIDATION = 10_000


def network(**changes):
    """The network under the dictionary, changed."""
    return recommended_network(N_LABELLED["1k"]).set_params(**changes)


def untrained(image_shape):
    """Its features, with initial weights."""
    return ConvNet(image_shape, n_classes=10, activation="relu").features


def without_relus(image_shape):
    """Convolutions, batch norms and pooling alone."""
    return nn.Sequential(*(m for m in untrained(image_shape) if not isinstance(m, nn.ReLU)))


def lenet(**changes):
    """Paper 1's full CNN, trained by our recipe."""
    return network(architecture="lenet", learning_rate=1e-3, **changes)


FEW_LABELS: dict[str, dict[str, Any]] = {
    "recommended": {},
    "500 joint steps at 0.01": {"max_iter": 500, "learning_rate": 0.01},
    "500 joint steps at 0.1": {"max_iter": 500, "learning_rate": 0.1},
    "25 non-zeros, 500 joint steps at 0.1": {
        "n_nonzero_coefs": 25,
        "max_iter": 500,
        "learning_rate": 0.1,
    },
    "500 joint steps by SGD, rho = 0.05": {
        "max_iter": 500,
        "optimizer": "sgd",
        "learning_rate": 0.05,
    },
    "non-negative codes": {"positive": True},
    "non-negative codes, 500 joint steps at 0.1": {
        "positive": True,
        "max_iter": 500,
        "learning_rate": 0.1,
    },
    "lambda2 = 0": {"lambda2": 0.0},
    "lambda2 = 1": {"lambda2": 1.0},
    "lambda1 = 0.9, half of what it is": {"lambda1": 0.9},
    "lambda1 = 3.6, twice what it is": {"lambda1": 3.6},
    "20 atoms per class": {"n_components": 200},
    "80 atoms per class": {"n_components": 800},
    "dictionary of all classes together": {"init": "odl"},
    "nu1 = 0.001": {"nu1": 1e-3},
    "nu1 = 0.1, as in the paper": {"nu1": 0.1},
    "no training before, 1,000 joint steps": {
        "nu1": "auto",
        "features": untrained,
        "learning_rate": 0.1,
        "max_iter": 1000,
    },
    "network trained for 3,000 steps": {"features": network(max_epochs=150)},
    "network twice as wide": {"features": network(width=2.0)},
    "network without batch norms": {"features": network(batch_norm=False)},
    "network without dropout": {"features": network(dropout=0.0)},
    "network without ReLUs": {"features": network(architecture=without_relus)},
    "network of paper 1 (full-CNN), trained likewise": {"features": lenet()},
    "images shifted while the network is trained": {"features": network(augment="shift")},
    "likewise, and in 500 joint steps at 0.03": {
        "features": network(augment="shift"),
        "augment": "shift",
        "max_iter": 500,
        "learning_rate": 0.03,
    },
}
MANY_LABELS: dict[str, dict[str, Any]] = {
    "recommended": {},
    "500 joint steps at 0.01": {"max_iter": 500, "learning_rate": 0.01},
    "40 atoms per class": {"n_components": 400},
    "80 atoms per class": {"n_components": 800},
    "320 atoms per class": {"n_components": 3200},
    "dictionary of all classes together": {"init": "odl"},
    "lambda2 = 1": {"lambda2": 1.0},
    "nu1 = 0.01": {"nu1": 1e-2},
    "nu1 = 0.1, as in the paper": {"nu1": 0.1},
}
VARIANTS = {"1k": FEW_LABELS, "60k": MANY_LABELS}
ALONE = "the network alone"
# Other classifiers on the features of that network. The first has the loss of the dictionary's, and
# its penalty: what is gained by no more than fitting the last layer anew, without dropout.
LOGISTIC, SVM = "logistic regression on its features", "RBF SVM on its features"
OVER_NETWORK = (LOGISTIC, SVM)


def over_network(name, network, nu1, n_samples):
    """A classifier of scikit-learn on the features of a network that has been fitted."""
    classifier = LogisticRegression(C=1 / (n_samples * nu1), max_iter=1000)
    if name == SVM:
        classifier = SVC(C=3)
    return make_pipeline(FunctionTransformer(network.transform), classifier)


def run(name, model, X, y, rows, unseen):
    """One fit, and its accuracy on images that it has not seen."""
    begin = time.perf_counter()
    model.fit(X[rows], y[rows])
    result = {
        "variant": name,
        "fit_seconds": time.perf_counter() - begin,
        "accuracy": model.score(X[unseen], y[unseen]),
    }
    if isinstance(model, TaskDrivenDictionaryClassifier):
        codes = model.transform(X[unseen[:1000]])
        result["n_nonzero"] = float((codes != 0).sum(axis=1).mean())
    return result


def print_table(runs, variants):
    """Mean accuracies, and the paired differences from the first variant, in Markdown."""
    by_variant = {
        name: {run["seed"]: run for run in runs if run["variant"] == name} for name in variants
    }
    reference = next(iter(by_variant.values()))
    print("| | accuracy | difference, points | standard error | non-zeros | fit, s |")
    print("|---|---|---|---|---|---|")
    for name, rows in by_variant.items():
        seeds = sorted(rows.keys() & reference.keys())
        if not seeds:
            continue
        accuracy = np.mean([rows[seed]["accuracy"] for seed in seeds])
        difference = 100 * np.array(
            [rows[seed]["accuracy"] - reference[seed]["accuracy"] for seed in seeds]
        )
        error = difference.std(ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else np.nan
        n_nonzero = np.mean([rows[seed].get("n_nonzero", np.nan) for seed in seeds])
        print(
            f"| {name} | {accuracy:.4f} | {difference.mean():+.2f} | {error:.2f} "
            f"| {'' if np.isnan(n_nonzero) else f'{n_nonzero:.1f}'} "
            f"| {np.median([rows[seed]['fit_seconds'] for seed in seeds]):.0f} |"
        )


def copied_features(network, image_shape):
    """What a dictionary over a network that has been fitted starts from."""
    return deepcopy(network.module_.features)


def main():
    """Run what is not yet there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=list(VARIANTS), default="1k")
    parser.add_argument(
        "--variants", nargs="+", choices=[*FEW_LABELS, *MANY_LABELS, ALONE, *OVER_NETWORK]
    )
    parser.add_argument("--subsets", type=int, default=5, help="training sets")
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, help="default: in benchmarks/results/")
    arguments = parser.parse_args()

    size = arguments.size
    variants = VARIANTS[size] | {name: {} for name in (ALONE, *OVER_NETWORK)}
    path = arguments.output or HERE / "results" / f"ablation_mnist-{size}.json"
    results = Results(path, {"size": size})
    done = {(run["variant"], run["seed"]) for run in results.runs}
    X, y = load_normalized(arguments.data_home, "train")
    for seed in range(FIRST_SEED_OF_CHOICE, FIRST_SEED_OF_CHOICE + arguments.subsets):
        missing = [name for name in arguments.variants or variants if (name, seed) not in done]
        if not missing:
            continue
        unseen = held_out(y, seed, N_VALIDATION)
        rows = subset(y, seed) if size == "1k" else np.setdiff1d(np.arange(len(y)), unseen)
        network_alone = its_network(size, seed, None)
        shared = {}
        if size == "60k" or set(missing) & set(OVER_NETWORK):
            missing = [ALONE, *(name for name in missing if name != ALONE)]
        if size == "60k":
            shared = {"features": partial(copied_features, network_alone)}
        for name in missing:
            model = recommended(size, seed, None, **shared).set_params(**variants[name])
            if name in OVER_NETWORK:
                model = over_network(name, network_alone, model.nu1, len(rows))
            elif name == ALONE:
                model = network_alone
            result = run(name, model, X, y, rows, unseen) | {"seed": seed}
            print(result, flush=True)
            if (name, seed) not in done:
                results.add(result)
    print_table(results.runs, variants)


if __name__ == "__main__":
    main()
