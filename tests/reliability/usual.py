"""Fits of a usual size: ``python -m tests.reliability.usual FILE N NAMES`` writes what they give.

N is the number of threads.
"""

import sys

import numpy as np
import torch
from sklearn.base import is_regressor

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from skddl.sparse_coding import sparse_encode
from tests.data import small_digits

from .processes import printed_by

X, y = small_digits(1000)
SMOOTH = {"learning_rate": 0.02, "max_epochs": 3, "random_state": 0}
STEPS = {"max_iter": 60, "random_state": 0}

FITS = {
    "task-driven": lambda **more: TaskDrivenDictionaryClassifier(100, **STEPS, **more),
    "regressor": lambda **more: TaskDrivenDictionaryRegressor(100, **STEPS, **more),
    "regressor, sgd": lambda **more: TaskDrivenDictionaryRegressor(
        100, **STEPS, optimizer="sgd", **more
    ),
    "deep": lambda **more: DeepDictionaryClassifier((60, 40), **STEPS, **more),
    "detrame": lambda **more: DeTraMeClassifier((100,), **SMOOTH, **more),
    "plain-3": lambda **more: DeTraMeClassifier(
        architecture="plain-3", width=0.2, image_shape=(1, 8, 8), **SMOOTH, **more
    ),
    "convnet": lambda **more: ConvNetClassifier((100,), **SMOOTH, **more),
    "online": lambda **more: OnlineDictionaryLearning(100, **STEPS, **more),
}


def fit(name, samples=X, **more):
    model = FITS[name](**more)
    return model.fit(samples, samples[:, 20:22] if is_regressor(model) else y)


def result_of(model, samples=X):
    """Weights, answers and losses, in float64, by name."""
    if isinstance(model, OnlineDictionaryLearning):
        values = {"weights of components_": model.components_}
    else:
        values = {f"weights of {n}": v.numpy() for n, v in model.module_.state_dict().items()}
        values["losses"] = np.array(model.loss_curve_)
    methods = ("predict_proba", "predict", "transform")
    answers = {name: getattr(model, name)(samples) for name in methods if hasattr(model, name)}
    return {name: np.asarray(v, dtype=float) for name, v in (values | answers).items()}


def deviations(found, expected):
    """Largest deviation of the weights, of the losses and of each answer, relative to the largest.

    Of predictions of classes it is the share that differs.
    """
    worst = {}
    for name, value in expected.items():
        kind = name.split()[0]
        if name == "predict" and "predict_proba" in expected:
            deviation = np.mean(found[name] != value)
        else:
            deviation = np.abs(found[name] - value).max() / max(np.abs(value).max(), 1e-30)
        worst[kind] = max(worst.get(kind, 0.0), float(deviation))
    return worst


def on_threads(n_threads, names, folder):
    """Codes, and what fits give, on so many threads, by name of the fit."""
    file = folder / f"{n_threads}.npz"
    variables = ("OMP", "MKL", "OPENBLAS")
    environment = {f"{name}_NUM_THREADS": n_threads for name in variables}
    # Threads that spin would wait for one another on a machine with fewer cores.
    environment["OMP_WAIT_POLICY"] = "passive"
    printed_by("usual", file, n_threads, *names, **environment)
    results = {}
    with np.load(file) as arrays:
        for key in arrays:
            fit_name, _, name = key.partition(": ")
            results.setdefault(fit_name, {})[name] = arrays[key]
    return results


def codes():
    """Those of digits by all solvers in both types, by name."""
    options = {"lambda1": 0.1, "lambda2": 0.01}
    return {
        f"codes: {dtype} {solver} {positive}": sparse_encode(
            X[300 : 330 if solver == "fista" else None].astype(dtype),
            X[:300].astype(dtype),
            **options,
            positive=positive,
            solver=solver,
        )
        for dtype in ("float32", "float64")
        for solver in ("auto", "spams", "fista")
        for positive in (False, True)
    }


def main():
    file, n_threads, *names = sys.argv[1:]
    torch.set_num_threads(int(n_threads))  # else torch takes no more than there are cores
    arrays = codes()
    for name in names:
        result = result_of(fit(name))
        arrays |= {f"{name}: {key}": value for key, value in result.items()}
    np.savez(file, **arrays)


if __name__ == "__main__":
    main()
