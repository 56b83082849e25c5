"""How near codes by a fixed number of steps, as in an ONNX file, are to the exact ones.

    python benchmarks/onnx_steps.py

A third of digits is held out. Codes are compared by the largest difference over the largest
coefficient, predictions by how many are the same.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from _measure import Results
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier

HERE = Path(__file__).parent
N_STEPS = (50, 100, 200, 500, 1000, 2000)
SETTINGS: dict[str, dict[str, Any]] = {
    "lambda2=0.05": {"lambda2": 0.05},
    "lambda2=0.1": {"lambda2": 0.1},
    'features="lenet"': {"features": "lenet", "image_shape": (1, 8, 8)},
}


def compare(clf, X, y, path):
    """What a file gives beside the estimator."""
    session = onnxruntime.InferenceSession(path)
    codes, scores, _ = session.run(None, {"X": X})
    expected = clf.transform(X)
    predicted = clf.classes_[scores.argmax(axis=1)]
    return {
        "error": float(np.abs(codes - expected).max() / np.abs(expected).max()),
        "same predictions": float((predicted == clf.predict(X)).mean()),
        "accuracy": float((predicted == y).mean()),
        "exact accuracy": float(clf.score(X, y)),
        "kilobytes": path.stat().st_size / 1000,
    }


def main():
    """Fit, export, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE / "results" / "onnx_steps.json")
    arguments = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X = SampleNormalizer().fit_transform(X).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=0)
    arguments.output.unlink(missing_ok=True)
    results = Results(arguments.output, {"data": "digits", "held out": len(y_test)})
    print("| classifier | steps | error of codes | same predictions | accuracy | exact | kB |")
    print("|---|---|---|---|---|---|---|")
    for name, parameters in SETTINGS.items():
        clf = TaskDrivenDictionaryClassifier(random_state=0, **parameters).fit(X_train, y_train)
        for n_steps in N_STEPS:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                clf.to_onnx(path, n_steps=n_steps)
                run = {"classifier": name, "steps": n_steps, **compare(clf, X_test, y_test, path)}
            results.add(run)
            print(
                f"| {name} | {n_steps} | {run['error']:.2g} | {run['same predictions']:.4f} "
                f"| {run['accuracy']:.4f} | {run['exact accuracy']:.4f} | {run['kilobytes']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
