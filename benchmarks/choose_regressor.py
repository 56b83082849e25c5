"""How the defaults of the regressor were chosen: R^2 on samples held out.

    python benchmarks/choose_regressor.py    # a quarter of an hour on one core

Data that come with scikit-learn, and made ones; beside it what else one would take.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _measure import STILL, Results
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits, load_sample_image, make_friedman1
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from skddl import TaskDrivenDictionaryRegressor

HERE = Path(__file__).parent


# Settings around the defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "the start": STILL,
    "defaults": {},
    "500 steps, nothing held out before": {"max_iter": 500},
    "early stopping": {"early_stopping": True},
    "samples themselves as features": {"features": "identity"},
    "codes of either sign": {"positive": False},
    "lambda2 = 0": {"lambda2": 0.0},
    "learning_rate = 0.02": {"learning_rate": 0.02},
    "learning_rate = 0.1": {"learning_rate": 0.1},
}
OTHERS = {
    "ridge": RidgeCV(np.logspace(-3, 3, 13)),
    "RBF SVM": MultiOutputRegressor(
        TransformedTargetRegressor(SVR(), transformer=StandardScaler())
    ),
}


def pixels():
    """The four pixels in the middle of digits from the others."""
    X, _ = load_digits(return_X_y=True)
    hidden = [27, 28, 35, 36]
    return np.delete(X, hidden, axis=1), X[:, hidden], {}


def few_pixels():
    """The same, from 400 images."""
    X, y, parameters = pixels()
    return X[:400], y[:400], parameters


def friedman():
    """A table of ten columns."""
    X, y = make_friedman1(600, noise=1.0, random_state=0)
    return StandardScaler().fit_transform(X), y, {}


def diabetes():
    """Another one, of 442 patients."""
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), y, {}


def signals():
    """Three frequencies from the 64 values of a noisy sum of sinusoids."""
    rng = np.random.default_rng(0)
    frequencies = np.sort(rng.uniform(1, 10, (1500, 3)), axis=1)
    phases = rng.uniform(0, 2 * np.pi, (1500, 3, 1))
    waves = np.sin(2 * np.pi * frequencies[:, :, None] * np.linspace(0, 1, 64) + phases)
    return waves.sum(1) + 0.1 * rng.standard_normal((1500, 64)), frequencies, {}


def photographs():
    """Noise taken off 8x8 patches of a photograph, whose mean is not zero, by LeNet features."""
    image = load_sample_image("china.jpg").mean(axis=2) / 255
    clean = extract_patches_2d(image, (8, 8), max_patches=3000, random_state=0).reshape(-1, 64)
    noise = 0.2 * np.random.default_rng(0).standard_normal(clean.shape)
    return clean + noise, clean, {"features": "lenet", "image_shape": (1, 8, 8)}


DATA = (pixels, few_pixels, friedman, diabetes, signals, photographs)


def main():
    """Run what is not yet there, then print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "choose_regressor.json")
    arguments = parser.parse_args()
    results = Results(arguments.output, {})
    done = {(run["data"], run["setting"], run["seed"]) for run in results.runs}
    for seed in range(arguments.seeds):
        for load in DATA:
            X, y, shape = load()
            X, X_unseen, y, y_unseen = train_test_split(X, y, test_size=0.3, random_state=seed)
            models = {
                name: TaskDrivenDictionaryRegressor(random_state=seed, **(shape | parameters))
                for name, parameters in SETTINGS.items()
            }
            for name, model in (models | OTHERS).items():
                if (load.__name__, name, seed) in done:
                    continue
                y, y_unseen = y.reshape(len(y), -1), y_unseen.reshape(len(y_unseen), -1)
                score = model.fit(X, y).score(X_unseen, y_unseen)
                result = {"data": load.__name__, "setting": name, "seed": seed, "r2": score}
                results.add(result)
                print(result, flush=True)
    print("| | " + " | ".join(load.__name__.replace("_", " ") for load in DATA) + " |")
    print("|---" * (len(DATA) + 1) + "|")
    for name in [*SETTINGS, *OTHERS]:
        cells = []
        for load in DATA:
            scores = [
                run["r2"]
                for run in results.runs
                if (run["data"], run["setting"]) == (load.__name__, name)
            ]
            cells.append(f"{np.mean(scores):.3f}" if scores else "")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
