"""Supervised dictionary learning on scikit-learn's digits, beside what one would use otherwise.

    python examples/demo.py [--output FOLDER]

Prints time of `fit`, and of a held-out third the accuracy and the non-zeros per code; writes
three figures.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from skddl import (
    ConvNetClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
)

TASK_DRIVEN = "TDDL-LIN (skddl)"


def make_models():
    """The models by name, each for raw pixels."""
    # 0.05, as lambda1="auto" would choose on samples of unit norm.
    unsupervised = MiniBatchDictionaryLearning(
        100, alpha=0.05, max_iter=5, transform_algorithm="lasso_lars", random_state=0
    )
    images: dict[str, Any] = {
        "architecture": "plain-3",
        "image_shape": (1, 8, 8),
        "width": 0.25,
        "max_epochs": 50,
    }
    steps = {
        TASK_DRIVEN: [TaskDrivenDictionaryClassifier(random_state=0)],
        "TDDL-CNN (skddl)": [
            TaskDrivenDictionaryClassifier(features="lenet", image_shape=(1, 8, 8), random_state=0)
        ],
        "DeTraMe, a narrow PlainNet 3 (skddl)": [DeTraMeClassifier(**images, random_state=0)],
        "its ReLU twin (skddl)": [ConvNetClassifier(**images, random_state=0)],
        "logistic regression": [LogisticRegression(C=10, max_iter=1000)],
        "RBF SVM": [SVC(C=10)],
        "dictionary learning + logistic regression": [
            unsupervised,
            LogisticRegression(C=10, max_iter=1000),
        ],
        "the same by skddl": [
            OnlineDictionaryLearning(100, random_state=0),
            LogisticRegression(C=10, max_iter=1000),
        ],
    }
    return {name: make_pipeline(SampleNormalizer(), *parts) for name, parts in steps.items()}


def count_nonzeros(model, X):
    """Mean number of non-zeros of the codes on which `model` decides; None if it has none."""
    coder = model[-1] if hasattr(model[-1], "components_") else model[-2]
    if not hasattr(coder, "components_"):
        return None
    codes = coder.transform(model[0].transform(X))
    return (codes != 0).sum(axis=1).mean()


def plot_dictionary(clf, path):
    """The atoms as images: what the linear features would have to see to be exactly the atom."""
    features = clf.module_.features
    # The intercept is the feature of a constant, which is no pixel.
    transform = np.column_stack([p.detach().numpy() for p in (features.weight, features.bias)])
    images = (clf.components_ @ np.linalg.pinv(transform).T)[:, :-1].reshape(-1, 8, 8)
    per_class = 20
    figure, axes = plt.subplots(10, per_class, figsize=(10, 5.3))
    for label, row in enumerate(axes):
        # The dictionary was started class by class, in blocks of 40 atoms.
        for image, ax in zip(images[40 * label :], row, strict=False):
            limit = np.abs(image).max()
            ax.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(label, rotation=0, labelpad=10, va="center")
    figure.suptitle(f"Atoms, mapped back to pixels: {per_class} of the 40 that each class started")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_weights(clf, path):
    """W by class, as Fig. 2 of paper 1 shows it."""
    figure, axes = plt.subplots(5, 2, figsize=(10, 8), sharex=True, sharey=True)
    for weights, label, ax in zip(clf.coef_, clf.classes_, axes.ravel(), strict=True):
        ax.axvspan(40 * label, 40 * label + 39, color="0.9")
        ax.vlines(np.arange(len(weights)), 0, weights, linewidth=0.8)
        ax.set_title(f"class {label}", fontsize=9, pad=3)
    figure.supxlabel("atom (shaded: started from this class)")
    figure.supylabel("weight")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_training(clf, path):
    """Loss of each mini-batch, its mean per epoch, and non-zeros per code."""
    # The first entry describes the start, and the last one may cover a few batches only.
    epochs = clf.history_[1:-1]
    at = [entry["iteration"] for entry in epochs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    left.plot(np.arange(1, clf.n_iter_ + 1), clf.loss_curve_, color="0.8", label="mini-batch")
    left.plot(at, [entry["loss"] for entry in epochs], label="mean of an epoch")
    left.set(xlabel="iteration", ylabel="cross-entropy", yscale="log")
    left.legend()
    right.plot(at, [entry["n_nonzero"] for entry in epochs])
    right.set(xlabel="iteration", ylabel="non-zeros per code (training samples)")
    right.set_ylim(0, 1.1 * max(entry["n_nonzero"] for entry in epochs))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    """Fit all models, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="for figures")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=1 / 3, stratify=y, random_state=0
    )
    print(f"digits: {len(X_train)} training samples, {len(X_test)} test samples, 8x8 pixels\n")
    print(f"{'':42}  accuracy  fit time  non-zeros")
    models = make_models()
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        n_nonzero = count_nonzeros(model, X_test)
        shown = "" if n_nonzero is None else f"{n_nonzero:.1f}"
        accuracy = model.score(X_test, y_test)
        print(f"{name:42}  {accuracy:8.3f}  {seconds:6.1f} s  {shown:>9}", flush=True)

    print()
    plt.rcParams["figure.constrained_layout.use"] = True
    clf = models[TASK_DRIVEN][-1]
    for name, plot in (
        ("dictionary", plot_dictionary),
        ("weights_by_class", plot_weights),
        ("training_curve", plot_training),
    ):
        path = arguments.output / f"{name}.png"
        plot(clf, path)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
