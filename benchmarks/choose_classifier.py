"""What each setting of the classifiers does: sweeps around the defaults, three folds.

    OMP_NUM_THREADS=1 python benchmarks/choose_classifier.py    # half an hour on one core

Digits (samples of zero mean and unit norm) and breast cancer (standardised columns): accuracy on
the folds held out, non-zeros per code, and seconds of processor time of a fit.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _measure import STILL, Results
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from skddl import (
    ConvNetClassifier,
    DeTraMeClassifier,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
)

HERE = Path(__file__).parent
DATA = {"digits": load_digits, "breast cancer": load_breast_cancer}
N_CLASSES = {"digits": 10, "breast cancer": 2}

# Each list is a sweep, around the defaults, of the parameters that it names. `lambda1` and `nu1`
# are factors on what "auto" gives; `per_class` is n_components over the number of classes.
SWEEPS: dict[str, list[dict[str, Any]]] = {
    "lambda1": [{"lambda1": factor} for factor in (0.5, 1, 2, 4, 8)],
    "lambda2": [{"lambda2": lambda2} for lambda2 in (0, 0.05, 0.1, 0.5, 1)],
    "positive": [{"positive": True}, {"positive": False}],
    "atoms per class": [{"per_class": n} for n in (5, 10, 20, 40, 80)],
    "features": [
        {"features": "identity"},
        {"features": "linear"},
        {"features": "lenet", "image_shape": (1, 8, 8)},
        {"features": "convnet", "image_shape": (1, 8, 8)},
    ],
    "nu1": [{"nu1": factor} for factor in (0.01, 0.1, 1, 10, 100)],
    "learning_rate": [{"learning_rate": rate} for rate in (0.02, 0.04, 0.07, 0.1, 0.2)],
    "max_iter": [
        STILL,  # the start
        *({"max_iter": n} for n in (100, 500, 2000)),
    ],
    "n_steps of DeTraMeClassifier, 0: ConvNetClassifier": [{"n_steps": n} for n in (0, 1, 2, 3, 5)],
}

# These are the defaults, but for a number of steps: each of them is the same row.
DEFAULTS = {
    "lambda1": 1,
    "lambda2": 0.1,
    "positive": True,
    "features": "identity",
    "nu1": 1,
    "learning_rate": 0.07,
    "max_iter": 500,
}


def make_model(data, parameters, seed):
    """The classifier that a row of a sweep is about."""
    parameters = dict(parameters)
    if "n_steps" in parameters:
        network = {"random_state": seed, "max_epochs": 50, "architecture": "dense"}
        if data == "digits":
            network |= {"architecture": "plain-3", "image_shape": (1, 8, 8), "width": 0.25}
        n_steps = parameters["n_steps"]
        if not n_steps:  # its twin
            return ConvNetClassifier(**network)
        return DeTraMeClassifier(n_steps=n_steps, **network)
    for name in ("max_iter", "lambda2"):
        parameters.setdefault(name, DEFAULTS[name])
    if (per_class := parameters.pop("per_class", None)) is not None:
        parameters["n_components"] = per_class * N_CLASSES[data]
    return TaskDrivenDictionaryClassifier(random_state=seed, **parameters)


def fit(model, X, y):
    """The model, fitted; a lambda1 or nu1 that is given is a factor on what "auto" gives."""
    given = model.get_params()
    factors = {n: given[n] for n in ("lambda1", "nu1") if given.get(n, "auto") != "auto"}
    if factors:
        auto = clone(model).set_params(max_iter=1, **dict.fromkeys(factors, "auto")).fit(X, y)
        model.set_params(**{n: f * getattr(auto, f"{n}_") for n, f in factors.items()})
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a lambda1 that is too large
        model.fit(X, y)
    return time.process_time() - start


def run_row(data, parameters, seed):
    """What three folds give, one dict each."""
    X, y = DATA[data](return_X_y=True)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    for fold, (train, test) in enumerate(folds.split(X, y)):
        scaler = SampleNormalizer() if data == "digits" else StandardScaler()
        scaler.fit(X[train])
        X_train, X_test = scaler.transform(X[train]), scaler.transform(X[test])
        model = make_model(data, parameters, seed)
        run = {"data": data, "parameters": parameters, "fold": fold}
        try:
            run["fit_seconds"] = fit(model, X_train, y[train])
        except ValueError as error:
            yield run | {"error": str(error)}
            continue
        run["accuracy"] = model.score(X_test, y[test])
        run["training_accuracy"] = model.score(X_train, y[train])
        if isinstance(model, TaskDrivenDictionaryClassifier):
            codes = model.transform(X_test)
            run["n_nonzero"] = float((codes != 0).sum(1).mean())
            run["unused"] = int((~(model.transform(X_train) != 0).any(0)).sum())
        yield run


def as_in_file(parameters):
    """What differs from the defaults, with lists for tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in parameters.items()
        if DEFAULTS.get(name) != value
    }


def print_table(runs, sweep):
    """One sweep, both data sets."""
    print(f"\n| {sweep} | " + " | ".join(f"{d} | non-zeros | fit, s" for d in DATA) + " |")
    print("|---" * (1 + 3 * len(DATA)) + "|")
    for parameters in SWEEPS[sweep]:
        cells = []
        for data in DATA:
            row = find(runs, data, parameters)
            good = [run for run in row if "accuracy" in run]
            for key, digits in (("accuracy", 3), ("n_nonzero", 1), ("fit_seconds", 1)):
                values = [run[key] for run in good if key in run]
                cells.append(f"{np.mean(values):.{digits}f}" if values else "")
            if len(good) < len(row):
                cells[-3] += f" ({len(row) - len(good)} of {len(row)} diverged)"
        label = ", ".join(f"{k}={v!r}" for k, v in parameters.items() if k != "image_shape")
        print(f"| {label} | " + " | ".join(cells) + " |")


def find(runs, data, parameters):
    """The folds of a row."""
    wanted = (data, as_in_file(parameters))
    return [run for run in runs if (run["data"], run["parameters"]) == wanted]


def main():
    """Run what is not yet there, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--output", type=Path, default=HERE / "results" / "choose_classifier.json")
    arguments = parser.parse_args()
    results = Results(arguments.output, {})
    for sweep in arguments.sweeps:
        for parameters in SWEEPS[sweep]:
            for data in DATA:
                for_images = "image_shape" in parameters
                if (for_images and data != "digits") or find(results.runs, data, parameters):
                    continue
                for run in list(run_row(data, as_in_file(parameters), seed=0)):
                    results.add(run)
                print(data, parameters, flush=True)
    for sweep in arguments.sweeps:
        print_table(results.runs, sweep)


if __name__ == "__main__":
    main()
