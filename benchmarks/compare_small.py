"""Which estimator for which data: all of ours, and what else one would take, on small data sets.

    OMP_NUM_THREADS=1 python benchmarks/compare_small.py    # half an hour on one core

Data that come with scikit-learn, and made ones; three random splits, seconds of processor time.
Defaults, unless said otherwise in `classifiers` and `regressors`: nothing is tuned.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _measure import STILL, Results
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_friedman1,
)
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)

HERE = Path(__file__).parent


def tones(n_samples, seed):
    """64 values of a noisy sinusoid of 4, 5 or 6 periods and any phase; its class is the number."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n_samples)
    phase = rng.uniform(size=(n_samples, 1))
    waves = np.sin(2 * np.pi * ((4 + y[:, None]) * np.arange(64) / 64 + phase))
    return waves + rng.normal(size=waves.shape), y


def split_of(load, train_size, scaler):
    """A function from a seed to X, X_unseen, y, y_unseen."""

    def split(seed):
        X, y = load(return_X_y=True)
        stratify = y if np.issubdtype(y.dtype, np.integer) else None
        X, X_unseen, y, y_unseen = train_test_split(
            X, y, train_size=train_size, stratify=stratify, random_state=seed
        )
        scaler.fit(X)
        return scaler.transform(X), scaler.transform(X_unseen), y, y_unseen

    return split


def split_tones(seed):
    """300 tones to learn from."""
    X, y = tones(1300, seed)
    return X[:300], X[300:], y[:300], y[300:]


def load_pixels(return_X_y):
    """The four pixels in the middle of digits, from the others."""
    X, _ = load_digits(return_X_y=return_X_y)
    hidden = [27, 28, 35, 36]
    return np.delete(X, hidden, axis=1), X[:, hidden]


def load_friedman(return_X_y):
    """A made table of ten columns."""
    return make_friedman1(600, noise=1.0, random_state=0)


CLASSIFICATION = {
    "digits": split_of(load_digits, 0.7, SampleNormalizer()),
    "digits, 100 labels": split_of(load_digits, 100, SampleNormalizer()),
    "breast cancer": split_of(load_breast_cancer, 0.7, StandardScaler()),
    "wine": split_of(load_wine, 0.7, StandardScaler()),
    "tones": split_tones,
}
REGRESSION = {
    "pixels": split_of(load_pixels, 0.7, StandardScaler()),
    "friedman": split_of(load_friedman, 0.7, StandardScaler()),
    "diabetes": split_of(load_diabetes, 0.7, StandardScaler()),
}


def classifiers(data, seed):
    """The rows of the table; those for images only where there are images."""
    images = data.startswith("digits")
    network = {"random_state": seed, "max_epochs": 50}
    if images:
        network |= {"architecture": "plain-3", "image_shape": (1, 8, 8), "width": 0.25}
    twin = network if images else network | {"architecture": "dense"}
    models = {
        "TaskDriven": TaskDrivenDictionaryClassifier(random_state=seed),
        "TaskDriven, its start": TaskDrivenDictionaryClassifier(random_state=seed, **STILL),
        "TaskDriven, linear": TaskDrivenDictionaryClassifier(features="linear", random_state=seed),
        "DeepDictionary, dense": DeepDictionaryClassifier(random_state=seed),
        "DeTraMe": DeTraMeClassifier(**network),
        "ConvNet, its twin with ReLUs": ConvNetClassifier(**twin),
        "OnlineDictionaryLearning, logistic regression": make_pipeline(
            OnlineDictionaryLearning(100, random_state=seed), LogisticRegression(max_iter=5000)
        ),
        "logistic regression": LogisticRegression(max_iter=5000),
        "RBF SVM": SVC(),
        "random forest": RandomForestClassifier(random_state=seed),
    }
    if images:
        models["TaskDriven, recommended"] = TaskDrivenDictionaryClassifier.from_preset(
            "recommended", image_shape=(1, 8, 8), random_state=seed
        )
    return models


def regressors(data, seed):
    """The rows of the other table."""
    svm = SVR()
    return {
        "TaskDriven": TaskDrivenDictionaryRegressor(random_state=seed),
        "TaskDriven, its start": TaskDrivenDictionaryRegressor(random_state=seed, **STILL),
        "OnlineDictionaryLearning, ridge": make_pipeline(
            OnlineDictionaryLearning(100, random_state=seed), RidgeCV(np.logspace(-3, 3, 13))
        ),
        "ridge": RidgeCV(np.logspace(-3, 3, 13)),
        "RBF SVM, standardised targets": svm,
        "random forest": RandomForestRegressor(random_state=seed),
    }


def score(model, X, X_unseen, y, y_unseen):
    """Accuracy, or R^2 of all outputs alike; SVR knows neither several of them nor their scale."""
    if isinstance(model, SVR):
        scaler = StandardScaler().fit(y.reshape(len(y), -1))
        y, y_unseen = (
            scaler.transform(values.reshape(len(values), -1)) for values in (y, y_unseen)
        )
        model = MultiOutputRegressor(model)
    start = time.process_time()
    model.fit(X, y)
    return {
        "fit_seconds": time.process_time() - start,
        "score": model.score(X_unseen, y_unseen),
        "training_score": model.score(X, y),
    }


def main():
    """Run what is not yet there, then print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "compare_small.json")
    arguments = parser.parse_args()
    results = Results(arguments.output, {})
    done = {(run["data"], run["model"], run["seed"]) for run in results.runs}
    tables = ((CLASSIFICATION, classifiers), (REGRESSION, regressors))
    for seed in range(arguments.seeds):
        for splits, models in tables:
            for data, split in splits.items():
                parts = split(seed)
                for name, model in models(data, seed).items():
                    if (data, name, seed) in done:
                        continue
                    run = {"data": data, "model": name, "seed": seed, **score(model, *parts)}
                    results.add(run)
                    print(run, flush=True)
    for what, key in (("score", "score"), ("seconds", "fit_seconds")):
        for splits, _ in tables:
            print(f"\n| {what} | " + " | ".join(splits) + " |")
            print("|---" * (len(splits) + 1) + "|")
            runs = [run for run in results.runs if run["data"] in splits]
            for name in dict.fromkeys(run["model"] for run in runs):
                cells = []
                for data in splits:
                    values = [
                        run[key] for run in runs if (run["data"], run["model"]) == (data, name)
                    ]
                    digits = 3 if key == "score" else 1
                    cells.append(f"{np.mean(values):.{digits}f}" if values else "")
                print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
