"""What a new process costs: imports, the first code, the first fit; and what is installed.

    python benchmarks/startup.py

Each measurement is a process of its own, and they take turns. Every process is timed with what the
disk has in its cache: one of each kind goes before those that count.
"""

import argparse
import json
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement

HERE = Path(__file__).parent
IMPORTS = """
import time
start = time.perf_counter()
import sklearn, torch
between = time.perf_counter()
import skddl
print(between - start, time.perf_counter() - between)
"""
# 1,000 samples: what is measured is what comes once.
CODES = """
import time
import numpy as np
from skddl.sparse_coding import kkt_residual, sparse_encode
rng = np.random.default_rng(0)
X, atoms = (rng.standard_normal((n, 192)).astype(np.{dtype}) for n in (1000, 400))
X, atoms = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (X, atoms))
seconds = []
for _ in range(2):
    start = time.perf_counter()
    codes = sparse_encode(X, atoms, lambda1=0.1)
    seconds.append(time.perf_counter() - start)
assert kkt_residual(X, atoms, codes, lambda1=0.1).max() <= 1e-4
print(*seconds)
"""
FITS = """
import time
from sklearn.datasets import load_digits
from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
X, y = load_digits(return_X_y=True)
X = SampleNormalizer().fit_transform(X)
seconds = []
for _ in range(2):
    start = time.perf_counter()
    TaskDrivenDictionaryClassifier(max_iter=10, init="samples", random_state=0).fit(X, y)
    seconds.append(time.perf_counter() - start)
print(*seconds)
"""


def run(program):
    """The numbers that a new process prints."""
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(word) for word in output.split()]


def installed(name, seen):
    """Bytes of a package and of all that it needs, without torch and its needs."""
    if name in seen or name == "torch":
        return {}
    seen.add(name)
    files = [Path(str(file.locate())) for file in distribution(name).files or []]
    sizes = {name: sum(file.stat().st_size for file in files if file.is_file())}
    for text in requires(name) or []:
        need = Requirement(text)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            sizes |= installed(need.name, seen)
    return sizes


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "startup.json")
    arguments = parser.parse_args()
    programs = {
        "import": IMPORTS,
        "float32": CODES.format(dtype="float32"),
        "float64": CODES.format(dtype="float64"),
        "fit": FITS,
    }
    found: dict[str, list[list[float]]] = {name: [] for name in programs}
    for repeat in range(-1, arguments.repeats):
        for name, program in programs.items():
            seconds = run(program)
            if repeat >= 0:
                found[name].append(seconds)
    of = {name: np.array(values) for name, values in found.items()}
    sizes = installed("skddl", set())
    result = {
        "import over importing torch and scikit-learn": float(
            np.median(of["import"].sum(1) / of["import"][:, 0])
        ),
        "seconds that the first sparse_encode takes more than the second": {
            name: float(np.median(of[name][:, 0] - of[name][:, 1]))
            for name in ("float32", "float64")
        },
        "seconds that the first fit takes more than the second": float(
            np.median(of["fit"][:, 0] - of["fit"][:, 1])
        ),
        "megabytes installed, without torch": {
            "all": sum(sizes.values()) / 1e6,
            **{name: size / 1e6 for name, size in sorted(sizes.items(), key=lambda item: -item[1])},
        },
    }
    print(json.dumps(result, indent=1))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
