"""Whether learning together pays by default: the start, the defaults, and what else one would take.

    python benchmarks/joint_panel.py                  # all that is not in the results yet
    python benchmarks/joint_panel.py --only digits tones --models start defaults

Settings are chosen on this panel: MNIST and CIFAR-10 are training images alone, split; nothing here
is a test set. Accuracy on the held-out part, mean over the splits; in parentheses the change from
the start, with its standard error over splits or, of a single split, over the samples that only one
of both has right.
"""

import argparse
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import STILL, Results
from compare_small import tones
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_wine,
    make_blobs,
    make_circles,
    make_classification,
    make_moons,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
from skddl.datasets import load_cifar10, load_mnist
from skddl.datasets._files import resolve_data_home

HERE = Path(__file__).parent
SCALERS = {"samples": SampleNormalizer, "columns": StandardScaler}


def split(load, train_size, *, scaled=None, n_held_out=None):
    """A function from a seed to X, y and, held out, X and y."""

    def draw(seed):
        X, y = load()
        X, X_held_out, y, y_held_out = train_test_split(
            X, y, train_size=train_size, test_size=n_held_out, stratify=y, random_state=seed
        )
        if scaled is not None:
            scaler = SCALERS[scaled]().fit(X)
            X, X_held_out = scaler.transform(X), scaler.transform(X_held_out)
        return X, y, X_held_out, y_held_out

    return draw


def mnist():
    """The training images."""
    return load_mnist(subset="train", return_X_y=True)


def cifar(*, gray):
    """The training images, as rows of floats."""
    X, y = load_cifar10(subset="train", return_X_y=True)
    images = X.reshape(len(X), 3, -1)
    return (images.mean(axis=1) if gray else X).astype(np.float32), y


def embeddings():
    """Features of CIFAR-10 images by a network that was trained on ImageNet."""
    folder, _ = resolve_data_home(None)
    if folder is None:
        raise FileNotFoundError("SKDDL_DATA names no folder.")
    with np.load(folder / "embeddings" / "cifar10-efficientnet-lite0.npz") as content:
        return content["X"].astype(np.float32), content["y"]


def made_embeddings(n_classes, n_features=256, n_per_class=150):
    """Directions of classes with spread around them, and a large mean that all have in common."""
    rng = np.random.default_rng(n_classes)
    y = np.repeat(np.arange(n_classes), n_per_class)
    centres = rng.standard_normal((n_classes, n_features))
    X = centres[y] + 2.5 * rng.standard_normal((len(y), n_features))
    return (X + 3 * rng.standard_normal(n_features)).astype(np.float32), y


def noisy_breast_cancer(n_noise=500):
    """With columns that say nothing."""
    X, y = load_breast_cancer(return_X_y=True)
    return np.hstack([X, np.random.default_rng(0).standard_normal((len(X), n_noise))]), y


def overlapping(n_columns=300):
    """Five classes in far more noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 8000)
    centres = 0.12 * rng.standard_normal((5, n_columns))
    return centres[y] + rng.standard_normal((len(y), n_columns)), y


GENERATED = {
    "made, 20 columns": partial(
        make_classification, 600, n_informative=5, n_classes=3, random_state=0
    ),
    "made, 40 columns, 200 samples": partial(
        make_classification, 300, n_features=40, n_informative=8, n_redundant=0, random_state=0
    ),
    "moons": partial(make_moons, 400, noise=0.25, random_state=0),
    "circles": partial(make_circles, 400, noise=0.15, factor=0.5, random_state=0),
    "blobs": partial(make_blobs, 400, centers=5, n_features=10, cluster_std=4.0, random_state=0),
}
# Data, and how many splits.
PANEL = {
    "digits": (split(partial(load_digits, return_X_y=True), 2 / 3, scaled="samples"), 10),
    "digits, 10 per class": (
        split(partial(load_digits, return_X_y=True), 100, scaled="samples"),
        10,
    ),
    "breast cancer": (
        split(partial(load_breast_cancer, return_X_y=True), 2 / 3, scaled="columns"),
        25,
    ),
    "breast cancer, 500 columns of noise": (
        split(noisy_breast_cancer, 2 / 3, scaled="columns"),
        5,
    ),
    "overlapping, 300 columns": (split(overlapping, 4000, scaled="columns"), 3),
    "wine": (split(partial(load_wine, return_X_y=True), 2 / 3, scaled="columns"), 5),
    "tones": (split(partial(tones, 1300, 0), 300), 5),
    **{name: (split(load, 2 / 3, scaled="columns"), 5) for name, load in GENERATED.items()},
    **{
        f"embeddings, {n} per class": (split(embeddings, 10 * n, n_held_out=1000), 5)
        for n in (5, 20, 100)
    },
    **{
        f"made embeddings, {n} classes": (
            split(partial(made_embeddings, n), 20 * n, n_held_out=100 * n),
            3,
        )
        for n in (8, 50, 100)
    },
    "MNIST, 1,000": (split(mnist, 1000, scaled="samples", n_held_out=10_000), 10),
    "MNIST, 10,000": (split(mnist, 10_000, scaled="samples", n_held_out=10_000), 1),
    "MNIST, 50,000": (split(mnist, 50_000, scaled="samples", n_held_out=10_000), 1),
    "CIFAR-10, gray, 10,000": (
        split(partial(cifar, gray=True), 10_000, scaled="samples", n_held_out=5000),
        1,
    ),
    "CIFAR-10, 10,000": (
        split(partial(cifar, gray=False), 10_000, scaled="samples", n_held_out=5000),
        1,
    ),
}
OLD: dict[str, Any] = {
    "features": "linear",
    "lambda1": "auto",
    "lambda2": 0.0,
    "positive": False,
    "nu1": 1e-3,
    "learning_rate": 0.05,
    "max_iter": 1000,
    "batch_size": 100,
    "init": "class-odl",
    "optimizer": "sgd",
}
MODELS = {
    "old start": partial(TaskDrivenDictionaryClassifier, **OLD | STILL),
    "old defaults": partial(TaskDrivenDictionaryClassifier, **OLD),
    "old, identity": partial(TaskDrivenDictionaryClassifier, **OLD | {"features": "identity"}),
    "start": partial(TaskDrivenDictionaryClassifier, **STILL),
    "defaults": TaskDrivenDictionaryClassifier,
    "lambda2=0.3": partial(TaskDrivenDictionaryClassifier, lambda2=0.3),
    "logistic regression": partial(LogisticRegression, max_iter=5000),
    "RBF SVM": SVC,
    "MLP": partial(MLPClassifier, max_iter=1000, early_stopping=False),
}


def run(data, model, seed):
    """One fit, as an entry of the results."""
    load, _ = PANEL[data]
    X, y, X_held_out, y_held_out = load(seed)
    estimator = MODELS[model](random_state=seed)
    if model.startswith("old"):
        n_atoms = int(np.minimum(np.unique(y, return_counts=True)[1], 40).sum())
        estimator.set_params(n_components=n_atoms)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(X, y)
        except ValueError as error:  # it has diverged
            caught_error = str(error)
        else:
            caught_error = ""
    seconds = time.perf_counter() - start
    is_right = estimator.predict(X_held_out) == y_held_out
    return {
        "data": data,
        "model": model,
        "seed": seed,
        "accuracy": float(is_right.mean()),
        # Bits, to compare single splits by.
        "is_right": np.packbits(is_right).tobytes().hex() if PANEL[data][1] == 1 else "",
        "n_held_out": len(y_held_out),
        "seconds": seconds,
        "warnings": sorted({warning.category.__name__ for warning in caught}),
        "error": caught_error,
    }


def cell(runs, data, model):
    """Accuracy, and by how much it is above that of its start."""
    start = "old start" if model.startswith("old") else "start"
    found, of_start = (
        {r["seed"]: r for r in runs if r["data"] == data and r["model"] == name}
        for name in (model, start)
    )
    if not found:
        return ""
    text = f"{np.mean([r['accuracy'] for r in found.values()]):.3f}"
    if model == start or not of_start.keys() >= found.keys():
        return text
    gains = np.array([r["accuracy"] - of_start[seed]["accuracy"] for seed, r in found.items()])
    if len(gains) > 1:
        error = gains.std(ddof=1) / len(gains) ** 0.5
    else:
        bits = [bytes.fromhex(r["is_right"]) for r in (*found.values(), *of_start.values())]
        n_different = np.unpackbits(np.bitwise_xor(*(np.frombuffer(b, np.uint8) for b in bits)))
        error = n_different.sum() ** 0.5 / found[0]["n_held_out"]
    return f"{text} ({100 * gains.mean():+.1f} ± {100 * error:.1f})"


def print_table(runs):
    """Data by models, accuracy and seconds of the defaults."""
    models = [model for model in MODELS if any(r["model"] == model for r in runs)]
    print("| data | " + " | ".join(models) + " | s, defaults |")
    print("|---" * (len(models) + 2) + "|")
    for data in PANEL:
        cells = [cell(runs, data, model) for model in models]
        seconds = [r["seconds"] for r in runs if (r["data"], r["model"]) == (data, "defaults")]
        if any(cells):
            last = f"{np.median(seconds):.1f}" if seconds else ""
            print(f"| {data} | " + " | ".join(cells) + f" | {last} |")


def main():
    """Run what is not in the results yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PANEL), default=list(PANEL))
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--output", type=Path, default=HERE / "results" / "joint_panel.json")
    arguments = parser.parse_args()
    results = Results(arguments.output, {"splits": {name: n for name, (_, n) in PANEL.items()}})
    done = {(r["data"], r["model"], r["seed"]) for r in results.runs}
    for data in arguments.only:
        for model in arguments.models:
            for seed in range(PANEL[data][1]):
                if (data, model, seed) not in done:
                    results.add(run(data, model, seed))
    print_table(results.runs)


if __name__ == "__main__":
    main()
