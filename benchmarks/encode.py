"""What sparse codes cost, beside other packages, from warm starts, and at many sizes.

    python benchmarks/encode.py [--device cuda] [--solver fista]

Every package solves the same problems, to a KKT residual of at most 1e-4 lambda1 where it has a
tolerance; the residuals that they reach are in the results. Functions are called in turns, and the
ratios are medians over the turns. Packages that need milliseconds per sample get fewer samples
(the results say how many), as a batch of their own.

With CUDA, ours encodes 10,000 samples on the GPU, beside SPAMS on the CPU.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import PROMISED, median_ratio, medians, require_promised
from _speed_peers import PEERS
from _speed_problems import (
    BATCH,
    N_ATOMS,
    cold_problems,
    large_problems,
    load_images,
    problem_of_size,
    warm_problems,
)

from skddl.sparse_coding import kkt_residual, sparse_encode

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "figures"
# Seconds that one call of a slow package may take, about.
SLOW_SECONDS = 0.4
# What is fast enough for whole batches.
FAST = ("SPAMS",)
SLOW = tuple(name for name, peer in PEERS.items() if name not in FAST and not peer.at_once)
N_COMPONENTS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
N_FEATURES = (64, 128, 256, 512, 1024, 2048, 4096)
# As many at each size: they share the cost of the Gram matrix.
N_SAMPLES_OF_SIZES = 500
N_SAMPLES_ON_GPU = 10_000


def our_coder(problem, solver, device, *, init=None):
    """A function that returns our codes."""
    x, dictionary = (torch.from_numpy(v).to(device) for v in (problem.X, problem.dictionary))
    start = None if init is None else torch.from_numpy(init).to(device)
    return lambda: sparse_encode(x, dictionary, lambda1=problem.lambda1, solver=solver, init=start)


def seconds_of(function):
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def affordable(make, problem, seconds, *, most):
    """How many samples a slow coder encodes in about so many seconds, a round number."""
    trial = problem.first(10)
    function = make(trial)
    function()  # compiles, perhaps
    many = seconds / seconds_of(function) * len(trial.X)
    return int(np.clip(float(f"{many:.0e}"), 10, most))


def describe(name, problem, codes):
    """How good codes are, and how sparse; ours must be as good as promised."""
    residual = kkt_residual(
        *(np.asarray(v, dtype=np.float64) for v in (problem.X, problem.dictionary, codes)),
        lambda1=problem.lambda1,
    )
    if name.startswith("skddl"):
        require_promised(residual, f"{name}, {problem.name}")
    return {
        "n_samples": len(problem.X),
        "non-zeros": float((codes != 0).sum(1).mean()),
        "kkt residual": float(residual.max()),
        "above 1e-4": float((residual > PROMISED).mean()),
    }


def time_coders(coders, repeats, device, settle=True):
    """The coders, (problem, function) pairs, in turns; "skddl" is the one to compare with."""
    codes = {}

    def keep(name, function):
        codes[name] = function()

    functions = {name: partial(keep, name, function) for name, (_, function) in coders.items()}
    _, seconds = medians(functions, repeats, device, warm_up=0, settle=settle)
    per_sample = {name: np.divide(seconds[name], len(own.X)) for name, (own, _) in coders.items()}
    return {
        name: {
            "microseconds per sample": 1e6 * float(np.median(per_sample[name])),
            "over skddl": median_ratio(per_sample, name, "skddl"),
            **describe(name, own, np.asarray(torch.as_tensor(codes[name]).cpu())),
        }
        for name, (own, _) in coders.items()
    }


def heading(problem, codes_of):
    """What a problem is, for the results."""
    n_components, n_features = problem.dictionary.shape
    return {
        "problem": problem.name,
        "n_samples": len(problem.X),
        "n_components": n_components,
        "n_features": n_features,
        "lambda1": problem.lambda1,
        "start": "zero" if problem.init is None else problem.notes["older"],
        **{key: value for key, value in problem.notes.items() if key != "older"},
        "coders": codes_of,
    }


def peer_coder(name, problem):
    """The problem and a function that returns the codes of another package."""
    return problem, PEERS[name].make(problem.X, problem.dictionary, problem.lambda1, PROMISED)


def slow_coder(name, problem):
    """Likewise, on as many of the samples as do not take too long."""
    n_samples = affordable(lambda own: peer_coder(name, own)[1], problem, SLOW_SECONDS, most=BATCH)
    return peer_coder(name, problem.first(n_samples))


def time_fast(problem, solver, repeats, device):
    """Ours, from older codes if there are any and from zero, and SPAMS from zero."""
    coders = {"skddl": (problem, our_coder(problem, solver, device, init=problem.init))}
    if problem.init is not None:
        coders["skddl from zero"] = (problem, our_coder(problem, solver, device))
    coders |= {name: peer_coder(name, problem) for name in FAST if name in PEERS}
    return heading(problem, time_coders(coders, repeats, device))


def time_all(problem, solver, repeats, device, *, slow=SLOW):
    """Ours, SPAMS, and those of the slow packages, from zero."""
    row = time_fast(problem, solver, repeats, device)
    ours = {"skddl": (problem, our_coder(problem, solver, device))}
    slow = {name: slow_coder(name, problem) for name in slow}
    found = time_coders(ours | slow, max(3, repeats // 5), device)
    # Those that take seconds, minutes on larger problems.
    slowest = {}
    if len(problem.X) == BATCH and len(problem.dictionary) == N_ATOMS:
        slowest = {name: peer_coder(name, problem) for name, peer in PEERS.items() if peer.at_once}
        found |= time_coders(ours | slowest, 2, device, settle=False)
    row["coders"] |= {name: found[name] for name in (*slow, *slowest)}
    return row


def draw_sizes(sizes, path):
    """Microseconds per sample against the number of atoms, and of features."""
    import matplotlib

    matplotlib.use("agg")
    # The same figure from the same numbers, byte for byte, with words that can be searched.
    matplotlib.rcParams.update({"svg.hashsalt": "skddl", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True, layout="constrained")
    styles = {"skddl": "o-", "SPAMS": "s--", "scikit-learn, lasso_lars": "^:"}
    for ax, key, others in (
        (axes[0], "n_components", "192 features"),
        (axes[1], "n_features", "400 atoms"),
    ):
        rows = sizes[key]
        for name, style in styles.items():
            points = [
                (row[key], row["coders"][name]["microseconds per sample"])
                for row in rows
                if name in row["coders"]
            ]
            if points:
                ax.loglog(*zip(*points, strict=True), style, label=name, markersize=4)
        ax.set_xticks([row[key] for row in rows], [str(row[key]) for row in rows])
        ax.minorticks_off()
        ax.set_xlabel(f"{'atoms' if key == 'n_components' else 'features'} ({others})")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("microseconds per sample")
    axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(f"wrote {path}")


def print_row(row):
    """What one problem gave."""
    shape = f"{row['n_components']} x {row['n_features']}, {row['n_samples']} samples"
    print(f"\n{row['problem']} ({shape}), start: {row['start']}")
    for name, found in row["coders"].items():
        print(
            f"  {name:26} {found['microseconds per sample']:10.1f} us  {found['over skddl']:8.2f} x"
            f"  {found['non-zeros']:5.1f} non-zeros  residual {found['kkt residual']:.1e}"
            f" ({100 * found['above 1e-4']:.1f} % above 1e-4)  {found['n_samples']} samples",
            flush=True,
        )


def main():
    """Time, print, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument(
        "--output", type=Path, help="default: benchmarks/results/encode-DEVICE.json"
    )
    arguments = parser.parse_args()
    solver, repeats = arguments.solver, arguments.repeats
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"

    X, y, source = load_images(arguments.data_home, N_SAMPLES_ON_GPU if on_gpu else 4000)
    result: dict[str, Any] = {
        "setting": {
            "data": source,
            "device": device.type,
            "solver": solver,
            "threads": torch.get_num_threads(),
        },
        "cold": [],
        "warm": [],
        "sizes": {},
    }

    def note(rows, row):
        rows.append(row)
        print_row(row)

    cold, warm = list(cold_problems(X, y)), list(warm_problems(X, y))
    time_cold = time_fast if on_gpu else time_all
    for n_samples in (N_SAMPLES_ON_GPU,) if on_gpu else (BATCH, 2000):
        for problem in cold:
            note(result["cold"], time_cold(problem.first(n_samples), solver, repeats, device))
        for problem in warm:
            note(result["warm"], time_fast(problem.first(n_samples), solver, repeats, device))
    if not on_gpu:
        for problem in large_problems(X):
            note(result["cold"], time_all(problem.first(BATCH), solver, repeats, device))
            note(result["cold"], time_all(problem, solver, max(3, repeats // 5), device))
        for key, sizes in (
            ("n_components", [(n, 192) for n in N_COMPONENTS]),
            ("n_features", [(N_ATOMS, n) for n in N_FEATURES]),
        ):
            rows: list[dict[str, Any]] = []
            result["sizes"][key] = rows
            for size in sizes:
                problem = problem_of_size(*size, N_SAMPLES_OF_SIZES)
                lars = ("scikit-learn, lasso_lars",)
                note(rows, time_all(problem, solver, repeats // 2, device, slow=lars))

    path = arguments.output or HERE / "results" / f"encode-{device.type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwrote {path}")
    if result["sizes"]:
        draw_sizes(result["sizes"], FIGURES / f"encode-sizes-{device.type}.svg")


if __name__ == "__main__":
    main()
