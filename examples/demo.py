"""Supervised dictionary learning on scikit-learn's digits, beside what one would use otherwise.

    python examples/demo.py [--output FOLDER]

Prints time of `fit`, and of a held-out third the accuracy and the non-zeros per code; writes
five figures.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
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
from skddl.inspection import (
    ClassifierWeightsDisplay,
    DictionaryDisplay,
    ExplanationDisplay,
    SparsityDisplay,
    TrainingCurveDisplay,
)

TASK_DRIVEN = "task-driven (skddl)"


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
        "the same over LeNet features": [
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


def draw(model, X, y):
    """What a task-driven model has learned, by file name."""
    return {
        "dictionary": DictionaryDisplay.from_estimator(
            model, image_shape=(8, 8), max_atoms=400, n_cols=20
        ),
        "weights_by_class": ClassifierWeightsDisplay.from_estimator(model),
        "training_curve": TrainingCurveDisplay.from_estimator(model),
        "sparsity": SparsityDisplay.from_estimator(model, X),
        "explanation": ExplanationDisplay.from_estimator(
            model, X[model.predict(X) == y][0], image_shape=(8, 8)
        ),
    }


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
    for name, display in draw(models[TASK_DRIVEN], X_test, y_test).items():
        path = arguments.output / f"{name}.png"
        display.figure_.savefig(path, dpi=150)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
