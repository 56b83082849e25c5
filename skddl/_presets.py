"""Settings of `TaskDrivenDictionaryClassifier` that have names."""

from typing import Any

# Section IV of paper 1, with 1,000 samples; with 60,000 its `max_iter` is 40,000.
_PAPER: dict[str, Any] = {
    "n_components": 400,
    "lambda2": 0.0,
    "positive": False,
    "nu1": 0.1,
    "learning_rate": 0.05,
    "t0": 4000,
    "max_iter": 1000,
    "batch_size": 100,
    "init": "class-odl",
    "optimizer": "sgd",
    "fit_intercept": False,
}

PRESETS: dict[str, dict[str, Any]] = {
    "paper-lin": _PAPER | {"features": "linear", "n_features_out": 196, "lambda1": 0.8},
    "paper-cnn": _PAPER | {"features": "lenet", "lambda1": 4.0},
    # Chosen on training images: benchmarks/ablation_mnist.py, benchmarks/recommended_cifar.py.
    "recommended": {
        "features": "convnet",
        "lambda2": 0.1,
        "positive": False,
        "nu1": 0.01,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "max_iter": 1,  # the least, of next to no effect: more gained nothing
    },
}
