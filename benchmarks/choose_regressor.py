"""How optimizer, rate and nu1 of the regressor were chosen: R^2 on samples held out.

    python benchmarks/choose_regressor.py    # half an hour on one core

Data that come with scikit-learn, and made ones. The start is the model after a single step.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Results
from sklearn.datasets import load_diabetes, load_digits, load_sample_image, make_friedman1
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skddl import TaskDrivenDictionaryRegressor

HERE = Path(__file__).parent


def setting(optimizer: str, learning_rate: float, nu1: float, **others: Any) -> dict[str, Any]:
    """Parameters written out, so that a row stays what it says when defaults change."""
    return {"optimizer": optimizer, "learning_rate": learning_rate, "nu1": nu1, **others}


SETTINGS = {
    "the start": setting("sgd", 0.001, 0.001, max_iter=1),
    "SGD, rate 0.001": setting("sgd", 0.001, 0.001),
    "SGD, rate 0.01": setting("sgd", 0.01, 0.001),
    "Adam, rate 0.001": setting("adam", 0.001, 0.001),
    "Adam, rate 0.003": setting("adam", 0.003, 0.001),
    "Adam, rate 0.01": setting("adam", 0.01, 0.001),
    "Adam, rate 0.03": setting("adam", 0.03, 0.001),
    "Adam, rate 0.01, early stopping": setting("adam", 0.01, 0.001, early_stopping=True),
    "Adam, rate 0.01, nu1 = 0.01": setting("adam", 0.01, 0.01),
    "Adam, rate 0.01, nu1 = 0.1": setting("adam", 0.01, 0.1),
    "Adam, rate 0.01, nu1 = 1": setting("adam", 0.01, 1.0),
    "Adam, rate 0.03, nu1 = 0.1": setting("adam", 0.03, 0.1),
    "Adam, rate 0.01, nu1 = 0.1, early stopping": setting("adam", 0.01, 0.1, early_stopping=True),
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
            for name, parameters in SETTINGS.items():
                if (load.__name__, name, seed) in done:
                    continue
                model = TaskDrivenDictionaryRegressor(random_state=seed, **shape, **parameters)
                try:
                    score = model.fit(X, y).score(X_unseen, y_unseen)
                except ValueError:
                    score = None  # diverged
                result = {"data": load.__name__, "setting": name, "seed": seed, "r2": score}
                results.add(result)
                print(result, flush=True)
    print("| | " + " | ".join(load.__name__.replace("_", " ") for load in DATA) + " |")
    print("|---" * (len(DATA) + 1) + "|")
    for name in SETTINGS:
        cells = []
        for load in DATA:
            scores = [
                run["r2"]
                for run in results.runs
                if (run["data"], run["setting"]) == (load.__name__, name)
            ]
            failed = sum(score is None for score in scores)
            mean = np.mean([score for score in scores if score is not None] or [np.nan])
            cells.append(f"{mean:.3f}" + (f" ({failed} diverged)" if failed else ""))
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
