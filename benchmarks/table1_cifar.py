"""Table 1 of paper 2: plain and residual networks on CIFAR, with ReLUs and with metrics.

    python benchmarks/table1_cifar.py                     # PlainNet 3 and 9 on CIFAR-10, both kinds
    python benchmarks/table1_cifar.py --datasets cifar100 --networks resnet-20 --seeds 0 1 2 3 4
    python benchmarks/table1_cifar.py --minutes 8         # a piece: the next call goes on

The full recipe takes a GPU: 200 epochs, batch 128, SGD with momentum 0.9, learning rate 0.1, times
0.2 after 60, 120 and 160 epochs, weight decay 5e-4, shifts by up to 4 pixels and flips. What the
paper leaves open is in docs/decisions.md. A training that diverges counts as chance. A run that was
stopped, by `--minutes`, Ctrl-C or a power cut, goes on from its checkpoint when the script is
called again with the same arguments. Runs that are in the JSON file are not computed again.
"""

import argparse
import threading
import time
import warnings
from _thread import interrupt_main
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import torch
from _measure import Results, percent

from skddl import DeTraMeClassifier
from skddl.datasets import load_cifar10, load_cifar100
from skddl.training import DivergenceError

HERE = Path(__file__).parent
LOADERS = {"cifar10": load_cifar10, "cifar100": load_cifar100}
NETWORKS = [f"plain-{n}" for n in (3, 6, 9, 12)] + [f"resnet-{n}" for n in (8, 20, 56, 110)]
EPOCHS, N_IMAGES = 200, 50_000
# Accuracy and standard deviation of "Original" and of DeTraMe-Net, and the latter's steps.
PAPER = {
    ("cifar10", "plain-3"): ("35.14 ± 4.94", "88.51 ± 0.17", 5),
    ("cifar10", "plain-6"): ("86.71 ± 0.36", "92.24 ± 0.32", 2),
    ("cifar10", "plain-9"): ("90.31 ± 0.31", "93.05 ± 0.46", 2),
    ("cifar10", "plain-12"): ("91.28 ± 0.27", "92.03 ± 0.54", 2),
    ("cifar10", "resnet-8"): ("87.36 ± 0.34", "89.13 ± 0.23", 3),
    ("cifar10", "resnet-20"): ("92.17 ± 0.15", "92.19 ± 0.30", 3),
    ("cifar10", "resnet-56"): ("93.48 ± 0.16", "93.54 ± 0.30", 3),
    ("cifar10", "resnet-110"): ("93.57 ± 0.14", "93.68 ± 0.32", 2),
    ("cifar100", "plain-3"): ("22.01 ± 1.24", "64.99 ± 0.34", 3),
    ("cifar100", "plain-6"): ("62.81 ± 0.75", "69.49 ± 0.61", 2),
    ("cifar100", "plain-9"): ("66.15 ± 0.61", "69.68 ± 0.50", 2),
    ("cifar100", "plain-12"): ("68.70 ± 0.65", "70.92 ± 0.78", 2),
    ("cifar100", "resnet-8"): ("60.38 ± 0.49", "64.50 ± 0.54", 2),
    ("cifar100", "resnet-20"): ("68.42 ± 0.29", "68.62 ± 0.27", 2),
    ("cifar100", "resnet-56"): ("71.52 ± 0.34", "71.52 ± 0.44", 2),
    ("cifar100", "resnet-110"): ("72.99 ± 0.43", "73.05 ± 0.40", 2),
}
ACTIVATIONS = ("relu", "q-metric")


def make_classifier(cell, arguments, checkpoint=None):
    """The classifier of a cell, with the recipe in full."""
    dataset, network, activation, batch_norm, seed = cell
    return DeTraMeClassifier(
        architecture=network,
        activation=activation,
        n_steps=PAPER[dataset, network][2],
        image_shape=(3, 32, 32),
        # All-CNN-C has dropout, ResNet has none.
        dropout=(0.2, 0.5) if network.startswith("plain") else 0.0,
        batch_norm=batch_norm,
        augment="shift-flip",
        max_epochs=arguments.epochs,
        batch_size=128,
        learning_rate=arguments.learning_rate,
        momentum=0.9,
        weight_decay=5e-4,
        lr_schedule="step",
        mixed_precision=arguments.mixed_precision,
        compile=arguments.compile,
        device=arguments.device,
        checkpoint=checkpoint,
        random_state=seed,
        verbose=1,
    )


@contextmanager
def interrupted_after(seconds):
    """As Ctrl-C would, after so many seconds; never, if that is None."""
    timer = threading.Timer(seconds, interrupt_main) if seconds is not None else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()


def run(cell, arguments, train, test, seconds_left):
    """Accuracy of a cell on the test images; None if time ran out before the last epoch."""
    name = "-".join([*cell[:3], "bn" if cell[3] else "plain", str(cell[4])])
    checkpoint = arguments.output.with_suffix(f".{name}.checkpoint")
    classifier = make_classifier(cell, arguments, checkpoint)
    start = time.perf_counter()
    diverged = False
    try:
        with interrupted_after(seconds_left), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Training was interrupted")
            classifier.fit(*train)
    except KeyboardInterrupt:  # before the first step
        pass
    except DivergenceError as error:
        print(f"{name}: {error}")
        diverged = True
    fit_seconds = time.perf_counter() - start
    n_steps = arguments.epochs * -(-len(train[1]) // 128)
    n_taken = classifier.n_iter_ if hasattr(classifier, "module_") else 0
    if n_taken < n_steps and not diverged:
        until = f"after {n_taken} of {n_steps} steps" if n_taken else "before it went on"
        print(f"{name}: stopped {until}; call again")
        return None
    dataset, network, activation, batch_norm, seed = cell
    result = {
        "dataset": dataset,
        "network": network,
        "activation": activation,
        "batch_norm": batch_norm,
        "seed": seed,
        "accuracy": 1 / len(np.unique(test[1])) if diverged else classifier.score(*test),
        "diverged": diverged,
        "n_parameters": sum(p.numel() for p in classifier.module_.parameters()),
        "device": "cuda" if torch.cuda.is_available() and arguments.device != "cpu" else "cpu",
        "fit_seconds_since_last_stop": fit_seconds,
        "loss": [entry["loss"] for entry in classifier.history_],
    }
    checkpoint.unlink(missing_ok=True)
    return result


def cell_of(run):
    """Where a run belongs in the table."""
    keys = ("dataset", "network", "activation", "batch_norm", "seed")
    return tuple(run[key] for key in keys)


def shown(runs, dataset, network, activation, batch_norm):
    """Mean and standard deviation of a cell in percent."""
    of_cell = [r for r in runs if cell_of(r)[:4] == (dataset, network, activation, batch_norm)]
    if not of_cell:
        return "not run"
    chance = 0.1 if dataset == "cifar10" else 0.01
    return f"{percent(of_cell, digits=2, chance=chance)}, {len(of_cell)} run(s)"


def print_table(runs):
    """Ours beside the paper's, in Markdown."""
    kinds = list(product(ACTIVATIONS, (True, False)))
    print(
        "\n| | ReLU, paper | ReLU, with batch norm | ReLU, without | DeTraMe, paper (steps) "
        "| DeTraMe, with batch norm | DeTraMe, without |"
    )
    print("|---|---|---|---|---|---|---|")
    for (dataset, network), (original, detrame, n_steps) in PAPER.items():
        ours = [shown(runs, dataset, network, *kind) for kind in kinds]
        cells = [original, *ours[:2], f"{detrame} ({n_steps})", *ours[2:]]
        print(f"| {dataset} {network} | " + " | ".join(cells) + " |")


def parse():
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=list(LOADERS), default=["cifar10"])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["plain-3", "plain-9"])
    parser.add_argument("--activations", nargs="+", choices=ACTIVATIONS, default=list(ACTIVATIONS))
    parser.add_argument("--batch-norm", nargs="+", choices=["yes", "no"], default=["yes"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 in training")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument(
        "--minutes",
        type=float,
        help="stop after so long; what came after the last checkpoint, at most a minute, is lost",
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="fewer: a trial")
    parser.add_argument("--images", type=int, default=N_IMAGES, help="fewer: a trial")
    parser.add_argument("--data-home", help="folder of CIFAR (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/table1_cifar.json")
    arguments = parser.parse_args()
    arguments.trial = (arguments.epochs, arguments.images) != (EPOCHS, N_IMAGES)
    if arguments.output is None:
        name = "table1_cifar_trial.json" if arguments.trial else "table1_cifar.json"
        arguments.output = HERE / "results" / name
    return arguments


def run_all(arguments, results):
    """Run the cells that are asked for and not yet there, until time is over."""
    start = time.perf_counter()
    done = {cell_of(r) for r in results.runs}
    batch_norm = [answer == "yes" for answer in arguments.batch_norm]
    for dataset in arguments.datasets:
        train, test = (
            LOADERS[dataset](arguments.data_home, subset=part, return_X_y=True)
            for part in ("train", "test")
        )
        train = tuple(array[: arguments.images] for array in train)
        for cell in product(
            [dataset], arguments.networks, arguments.activations, batch_norm, arguments.seeds
        ):
            if cell in done:
                continue
            seconds_left = None
            if arguments.minutes is not None:
                seconds_left = max(0.0, 60 * arguments.minutes - (time.perf_counter() - start))
            result = run(cell, arguments, train, test, seconds_left)
            if result is None:
                return
            print({key: value for key, value in result.items() if key != "loss"}, flush=True)
            results.add(result)


def main():
    """Run, then print the table."""
    arguments = parse()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    recipe = ("epochs", "images", "learning_rate", "mixed_precision", "compile")
    results = Results(arguments.output, {name: getattr(arguments, name) for name in recipe})
    run_all(arguments, results)
    print_table(results.runs)
    if arguments.trial:
        print("\nA trial, with fewer epochs or images than the recipe: not to be compared.")


if __name__ == "__main__":
    main()
