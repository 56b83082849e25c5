"""Does a learned metric beat a ReLU? Narrow PlainNets, on MNIST and a piece of CIFAR-10.

    python benchmarks/detrame_small.py      # all of it: 39 minutes on two cores

A metric adds parameters, multiplications and depth to its network. So DeTraMe is compared with
four networks of ReLUs:

- twin: the same convolutions, and nothing in place of the metrics;
- equal parameters: the twin, made as wide as it takes to have as many parameters as DeTraMe;
- equal depth: each metric replaced by as many convolutions as it takes steps, each under a ReLU,
  with weights of their own (and so with more parameters than DeTraMe);
- equal depth and parameters: the same, narrowed until it has as many parameters as DeTraMe; only
  with batch norms, to save time.

For each of them the learning rate is chosen on a fifth of the training images of another subset,
which the network does not see: rates from 0.001 to 3 in steps of about 3, until the chosen one has
neighbours on both sides. Of those within one standard error of the best score it is the smallest:
the best is often next to rates at which trainings fail. Without batch norms a rate may fail with
one seed and not with the next: there the score is the mean over three seeds, of which the later
ones are spared a rate at which an earlier one fails. Then five seeds: each draws a subset of the
training images (the same one for all networks), initial weights and batches. Accuracies are those
of all 10,000 test images; a training that diverges counts as chance, 10 %. Each finished fit is in
the JSON file at once; fits that are already there are not computed again.
"""

import argparse
import time
from bisect import bisect
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _measure import Results, has_failed, peak_memory, percent
from joblib import Parallel, delayed
from torch import nn

from skddl import DeTraMeClassifier
from skddl.datasets import load_cifar10, load_mnist
from skddl.nn import PlainNet
from skddl.training import DivergenceError

HERE = Path(__file__).parent


class Setting(NamedTuple):
    """Data, and how long to learn them: 500 to 630 steps."""

    load: Callable
    image_shape: tuple[int, int, int]
    n_images: int
    epochs: int
    batch_size: int


SETTINGS = {
    "MNIST 1K": Setting(load_mnist, (1, 28, 28), 1000, 16, 32),
    "MNIST 10K": Setting(load_mnist, (1, 28, 28), 10_000, 3, 48),
    "CIFAR-10 10K": Setting(load_cifar10, (3, 32, 32), 10_000, 3, 48),
}
# By depth: factor on the widths of 96 and 192, and number of steps of DeTraMe.
NETWORKS = {3: (1 / 6, 3), 6: (1 / 12, 2)}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Where the search starts, with and without batch norms: near where it ended before, to save time.
FIRST_RATES = {
    "twin": (0.3, 0.1),
    "equal parameters": (0.3, 0.1),
    "equal depth": (0.1, 0.03),
    "equal depth and parameters": (0.1, 0.03),
    "DeTraMe": (0.1, 0.03),
}
WIDTHS = [step / 500 for step in range(10, 300)]
SEEDS = range(5)
# With and without batch norms.
SEARCH_SEEDS = ([1000], [1000, 1001, 1002])
CHANCE = 0.1

COLUMNS = tuple(FIRST_RATES)


def convolutions(n_channels, kernel_size, *, n_steps, batch_norm):
    """ReLU, then as many convolutions under ReLUs as a metric takes steps."""
    layers = nn.Sequential(nn.ReLU())
    for _ in range(n_steps):
        padding, bias = kernel_size // 2, not batch_norm
        convolution = nn.Conv2d(n_channels, n_channels, kernel_size, padding=padding, bias=bias)
        # As the convolutions of a PlainNet start: torch's default lets deep chains fade.
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
        layers.append(convolution)
        if batch_norm:
            layers.append(nn.BatchNorm2d(n_channels))
        layers.append(nn.ReLU())
    return layers


def count_parameters(depth, channels, width, activation, n_steps, batch_norm):
    """Number of parameters of a PlainNet for 10 classes."""
    network = PlainNet(
        depth,
        n_classes=10,
        in_channels=channels,
        activation=activation,
        n_steps=n_steps,
        width=width,
        batch_norm=batch_norm,
    )
    return sum(parameter.numel() for parameter in network.parameters())


def make_network(column, depth, channels, batch_norm):
    """Activation and width of a column, and its number of parameters."""
    width, n_steps = NETWORKS[depth]
    chain = partial(convolutions, n_steps=n_steps, batch_norm=batch_norm)
    activation = "q-metric" if column == "DeTraMe" else chain if "depth" in column else "relu"

    def count(width, activation=activation):
        return count_parameters(depth, channels, width, activation, n_steps, batch_norm)

    if "parameters" in column:
        wanted = count(width, "q-metric")
        position = bisect(WIDTHS, wanted, key=count)
        width = min(WIDTHS[position - 1 : position + 1], key=lambda w: abs(count(w) - wanted))
    return {"activation": activation, "width": width}, count(width)


def make_classifier(cell, rate, seed, epochs):
    """The classifier of a cell of the table."""
    name, depth, batch_norm, column = cell
    setting = SETTINGS[name]
    options, n_parameters = make_network(column, depth, setting.image_shape[0], batch_norm)
    classifier = DeTraMeClassifier(
        architecture=f"plain-{depth}",
        n_steps=NETWORKS[depth][1],
        image_shape=setting.image_shape,
        batch_norm=batch_norm,
        max_epochs=epochs,
        batch_size=setting.batch_size,
        learning_rate=rate,
        lr_schedule="cosine",
        random_state=seed,
        **options,
    )
    return classifier, n_parameters


def subset(y, n_samples, seed):
    """Numbers of training images, drawn without looking at the classes."""
    return np.random.default_rng(seed).choice(len(y), n_samples, replace=False)


def fit(cell, rate, seed, train, test, threads):
    """One fit and its score on `test`, which is None where a rate is tried."""
    torch.set_num_threads(threads)
    name, depth, batch_norm, column = cell
    setting = SETTINGS[name]
    X, y = train
    rows = subset(y, setting.n_images, seed)
    if test is None:
        held_out, rows = np.split(rows, [len(rows) // 5])
        test = X[held_out], y[held_out]
    classifier, n_parameters = make_classifier(cell, rate, seed, setting.epochs)
    start = time.perf_counter()
    try:
        classifier.fit(X[rows], y[rows])
        diverged = False
    except DivergenceError:
        diverged = True
    seconds = time.perf_counter() - start
    memory = measure_memory(cell) if seed == SEEDS[0] else None
    return {
        "setting": name,
        "depth": depth,
        "batch_norm": batch_norm,
        "column": column,
        "seed": seed,
        "rate": rate,
        "n_parameters": n_parameters,
        "accuracy": CHANCE if diverged else classifier.score(*test),
        "n_scored": len(test[1]),
        "diverged": diverged,
        "seconds_per_epoch": seconds / setting.epochs,
        "memory": memory,
        "loss": float(np.mean(classifier.loss_curve_[-10:])) if classifier.loss_curve_ else None,
    }


def cell_of(run):
    """Where a run belongs in the table."""
    return run["setting"], run["depth"], run["batch_norm"], run["column"]


def search(cell, known, train, threads):
    """Fits with other rates until the best has a worse one on either side; the new ones.

    `known` are those of an earlier call.
    """
    runs = list(known)
    *_, batch_norm, column = cell
    which = 0 if batch_norm else 1
    seeds = SEARCH_SEEDS[which]
    best = RATES.index(FIRST_RATES[column][which])
    while True:
        for rate in RATES[max(best - 1, 0) : best + 2]:
            for seed in seeds:
                of_rate = [run for run in runs if run["rate"] == rate]
                if any(run["seed"] == seed or has_failed(run, CHANCE) for run in of_rate):
                    continue
                runs.append(fit(cell, rate, seed, train, None, threads))
        if (found := RATES.index(best_rate(runs))) == best:
            return runs[len(known) :]
        best = found


def best_rate(runs):
    """The smallest rate with a score, on images held out, within a standard error of the best."""
    scores = {
        rate: np.mean([run["accuracy"] for run in runs if run["rate"] == rate])
        for rate in {run["rate"] for run in runs}
    }
    # If all rates fail, the smallest is the place to go on from.
    leader, best = max(scores.items(), key=lambda item: item[1])
    n_scored = sum(run["n_scored"] for run in runs if run["rate"] == leader)
    error = (best * (1 - best) / n_scored) ** 0.5
    return min(rate for rate, score in scores.items() if score >= best - error)


def measure_memory(cell):
    """Megabytes that a training step takes, batch 128, beyond the network itself."""
    shape = SETTINGS[cell[0]].image_shape
    rng = np.random.default_rng(0)
    X, y = rng.integers(256, size=(256, *shape)).astype(np.uint8), np.arange(256) % 10
    classifier, _ = make_classifier(cell, rate=1e-3, seed=0, epochs=1)
    network = classifier.fit(X, y).module_.train()
    x, target = torch.from_numpy(X[:128]).float().flatten(1), torch.from_numpy(y[:128])

    def step():
        network.zero_grad()
        nn.functional.cross_entropy(network(x), target).backward()

    step()
    return peak_memory(step) / 1e6


def keep(runs, results):
    """Take note of runs as they come."""
    for run in runs:
        results.add(run)
        shown = ("setting", "depth", "batch_norm", "column", "rate", "seed", "accuracy", "diverged")
        print({key: run[key] for key in shown}, flush=True)


def print_tables(runs, cells):
    """Accuracies, then what they cost, in Markdown."""

    def accuracy(of_cell):
        return percent(of_cell, digits=1, chance=CHANCE)

    def cost(of_cell):
        seconds = np.median([run["seconds_per_epoch"] for run in of_cell])
        first = next(run for run in of_cell if run["memory"] is not None)
        return (
            f"{first['rate']:g}; {first['n_parameters']:,}; {seconds:.2f} s; "
            f"{first['memory']:.1f} MB"
        )

    for show in accuracy, cost:
        print("\n| data | layers | batch norm | " + " | ".join(COLUMNS) + " |")
        print("|---|---|---|" + "---|" * len(COLUMNS))
        for row in dict.fromkeys(cell[:3] for cell in cells):
            shown = []
            for column in COLUMNS:
                cell = (*row, column)
                of_cell = [r for r in runs if cell_of(r) == cell and r["seed"] in SEEDS]
                shown.append(show(of_cell) if of_cell else "")
            name, depth, batch_norm = row
            print(f"| {name} | {depth} | {'yes' if batch_norm else 'no'} | {' | '.join(shown)} |")


def main():
    """Choose the rates, run the seeds, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--depths", nargs="+", type=int, choices=[3, 6], default=[3, 6])
    parser.add_argument("--jobs", type=int, default=2, help="fits at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each fit")
    parser.add_argument("--data-home", help="folder of the data sets (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "detrame_small.json")
    arguments = parser.parse_args()

    start = time.perf_counter()
    data = {
        load: [
            load(arguments.data_home, subset=part, return_X_y=True) for part in ("train", "test")
        ]
        for load in {SETTINGS[name].load for name in arguments.settings}
    }
    settings = {name: setting[1:] for name, setting in SETTINGS.items()}
    results = Results(arguments.output, {"networks": NETWORKS, "rates": RATES, "data": settings})
    runs = results.runs
    cells = [
        cell
        for cell in product(arguments.settings, arguments.depths, (True, False), COLUMNS)
        if cell[2] or cell[3] != "equal depth and parameters"
    ]
    parallel = Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")

    def tried(cell):
        return [r for r in runs if cell_of(r) == cell and r["seed"] not in SEEDS]

    searches = (
        delayed(search)(cell, tried(cell), data[SETTINGS[cell[0]].load][0], arguments.threads)
        for cell in cells
    )
    for found in parallel(searches):
        keep(found, results)
    done = {(cell_of(r), r["rate"], r["seed"]) for r in runs}
    rates = {cell: best_rate(tried(cell)) for cell in cells}
    # Seed by seed: the networks of a row are measured side by side.
    fits = [
        delayed(fit)(cell, rates[cell], seed, *data[SETTINGS[cell[0]].load], arguments.threads)
        for seed in SEEDS
        for cell in cells
        if (cell, rates[cell], seed) not in done
    ]
    keep(parallel(fits), results)
    print_tables(runs, cells)
    print(f"\n{(time.perf_counter() - start) / 60:.0f} minutes, wrote {arguments.output}")


if __name__ == "__main__":
    main()
