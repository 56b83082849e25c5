"""Table 2 of paper 2: deep dictionary learning and DeTraMe side by side.

    python benchmarks/table2.py [--device cuda] [--mixed-precision]

Three tables. The accuracies that the paper has, and ours of table1_cifar.py, if it has been run.
Parameters, and seconds per image in training and in testing, of networks of the same layers, on
pieces of scikit-learn's two photographs, since exact codes of them take longer than those of
noise. Accuracy of a small DDL and a small DeTraMe on 1,000 images of MNIST, if there are any, when
both may train for as many seconds.

The paper's DeTraMe-Net 12 has 2.4 million parameters, and its seconds per image in training are
those of the whole training, of 200 epochs as we read it. Here a PlainNet 12 of 0.73 times the width
has as many.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import medians
from _mnist_data import FIRST_SEED_OF_CHOICE, held_out, load_normalized, subset
from sklearn.datasets import load_sample_images
from table1_cifar import PAPER, shown

from skddl import DeepDictionaryClassifier, DeTraMeClassifier

HERE = Path(__file__).parent
EPOCHS = 200
# Depth, activation and width of networks; deep dictionary learning has the layers of PlainNet 9.
NETWORKS = {
    "ReLU 9": (9, "relu", 1.0),
    "DeTraMe-Net 9": (9, "q-metric", 1.0),
    "ReLU 12": (12, "relu", 0.73),
    "DeTraMe-Net 12": (12, "q-metric", 0.73),
}
DDL_9: dict[str, Any] = {
    "n_components": (96, 96, 96, 192, 192, 192, 192, 192),
    "patch_size": (3, 3, 3, 3, 3, 3, 3, 1),
    "stride": (1, 1, 2, 1, 1, 2, 1, 1),
    "padding": (1, 1, 1, 1, 1, 1, 0, 0),
    "global_pooling": True,
}
PAPER_SECONDS = {"DDL": ("0.35M", 0.2784, 9.40e-2), "DeTraMe-Net 12": ("2.4M", 0.1605, 3.52e-4)}
# The small comparison: layers of PlainNet 3, a sixth as wide, and rates to choose from.
RATES = {
    "DDL": (0.002, 0.008, 0.03, 0.1),
    "DDL, all codes": (0.002, 0.008, 0.03, 0.1),
    "DeTraMe": (0.03, 0.1, 0.3),
}
N_VALIDATION = 5000


def pieces_of_photographs(n):
    """Bytes of the shape of CIFAR-10's images, and labels, which mean nothing."""
    photographs = np.stack(load_sample_images().images)
    n_photographs, height, width, _ = photographs.shape
    rng = np.random.default_rng(0)
    corners = zip(
        rng.integers(n_photographs, size=n),
        rng.integers(height - 31, size=n),
        rng.integers(width - 31, size=n),
        strict=True,
    )
    X = np.stack([photographs[i, y : y + 32, x : x + 32] for i, y, x in corners])
    return X.transpose(0, 3, 1, 2).reshape(n, -1), np.arange(n) % 10


def make_network(name, arguments):
    """The classifier, for one epoch of the recipe of table 1."""
    depth, activation, width = NETWORKS[name]
    return DeTraMeClassifier(
        architecture=f"plain-{depth}",
        activation=activation,
        n_steps=2,
        width=width,
        image_shape=(3, 32, 32),
        dropout=(0.2, 0.5),
        batch_norm=True,
        augment="shift-flip",
        max_epochs=1,
        learning_rate=0.01,
        mixed_precision=arguments.mixed_precision,
        device=arguments.device,
        warm_start=True,
        random_state=0,
    )


def make_ddl(arguments):
    """Deep dictionary learning, for one pass over the images."""
    return DeepDictionaryClassifier(
        **DDL_9,
        image_shape=(3, 32, 32),
        max_iter=1,
        batch_size=arguments.ddl_images,
        device=arguments.device,
        warm_start=True,
        random_state=0,
    )


def measure(name, classifier, n_images, repeats):
    """Parameters, and seconds per image of an epoch and of predictions."""
    X, y = pieces_of_photographs(n_images)
    classifier.fit(X, y)
    # `fit` and `predict` end with results on the CPU: nothing is left to be waited for.
    cpu = torch.device("cpu")
    median, _ = medians(
        {"train": lambda: classifier.fit(X, y), "test": lambda: classifier.predict(X)},
        repeats,
        cpu,
        warm_up=1,
    )
    return {
        "network": name,
        "n_parameters": count_parameters(classifier),
        "training seconds per image and epoch": median["train"] / n_images,
        "testing seconds per image": median["test"] / n_images,
    }


def count_parameters(classifier):
    """Of all that is learned."""
    return sum(p.numel() for p in classifier.module_.parameters())


def make_small(name, n_steps, rate, seed):
    """A classifier of the small comparison that takes so many steps with 1,000 images."""
    shared: dict[str, Any] = {
        "image_shape": (1, 28, 28),
        "batch_size": 100,
        "learning_rate": rate,
        "random_state": seed,
        "device": "cpu",
    }
    if name == "DeTraMe":
        return DeTraMeClassifier(
            architecture="plain-3",
            width=1 / 6,
            max_epochs=max(1, n_steps // 10),
            lr_schedule="cosine",
            **shared,
        )
    return DeepDictionaryClassifier(
        (16, 32),
        patch_size=3,
        stride=2,
        padding=1,
        global_pooling=name == "DDL",
        max_iter=n_steps,
        **shared,
    )


def steps_within(name, rate, seconds, X, y):
    """As many steps as a fit takes in so many seconds, the start included."""

    def fit_seconds(n_steps):
        start = time.perf_counter()
        make_small(name, n_steps, rate, 0).fit(X, y)
        return time.perf_counter() - start

    few = 40
    seconds_of_few = fit_seconds(few)
    more = few + max(few, round(few * (seconds / seconds_of_few - 1)))
    seconds_of_more = fit_seconds(more)
    per_step = (seconds_of_more - seconds_of_few) / (more - few)
    return max(1, more + round((seconds - seconds_of_more) / per_step))


def compare_small(arguments):
    """Accuracies on MNIST of what can be learned from 1,000 images in equal time."""
    (X, y), test = (load_normalized(arguments.data_home, part) for part in ("train", "test"))
    # The rates are chosen with one subset, on images outside of it; the accuracies are of others.
    chosen_by = subset(y, FIRST_SEED_OF_CHOICE)
    unseen = held_out(y, FIRST_SEED_OF_CHOICE, N_VALIDATION)
    results = []
    for name, rates in RATES.items():
        trials = []
        for rate in rates:
            n_steps = steps_within(name, rate, arguments.budget, X[chosen_by], y[chosen_by])
            classifier = make_small(name, n_steps, rate, 0).fit(X[chosen_by], y[chosen_by])
            trials.append((classifier.score(X[unseen], y[unseen]), rate, n_steps))
        _, rate, n_steps = max(trials)
        for seed in range(arguments.seeds):
            rows = subset(y, seed)
            classifier = make_small(name, n_steps, rate, seed)
            start = time.perf_counter()
            classifier.fit(X[rows], y[rows])
            fit_seconds = time.perf_counter() - start
            start = time.perf_counter()
            accuracy = classifier.score(*test)
            results.append(
                {
                    "network": name,
                    "n_parameters": count_parameters(classifier),
                    "learning rate": rate,
                    "steps": n_steps,
                    "seed": seed,
                    "accuracy": accuracy,
                    "training seconds": fit_seconds,
                    "testing seconds per image": (time.perf_counter() - start) / len(test[1]),
                }
            )
    return results


def print_small(results):
    """The small comparison, in Markdown."""
    print("| network | parameters | steps | training, s | accuracy | std | testing, s/image |")
    print("|---|---|---|---|---|---|---|")
    for name in RATES:
        rows = [result for result in results if result["network"] == name]
        accuracy, fit, test = (
            np.array([row[key] for row in rows])
            for key in ("accuracy", "training seconds", "testing seconds per image")
        )
        std = f"{accuracy.std(ddof=1):.4f}" if len(rows) > 1 else ""
        print(
            f"| {name} | {rows[0]['n_parameters']:,} | {rows[0]['steps']} | {fit.mean():.0f} "
            f"| {accuracy.mean():.4f} | {std} | {test.mean():.2e} |"
        )


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 in training")
    parser.add_argument("--images", type=int, help="default: 20,000 on a GPU, 512 on a CPU")
    parser.add_argument("--ddl-images", type=int, default=16, help="for DDL; 0 leaves it out")
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=60, help="seconds of a small training")
    parser.add_argument("--seeds", type=int, default=3, help="subsets of the small comparison")
    parser.add_argument("--table1", type=Path, default=HERE / "results" / "table1_cifar.json")
    parser.add_argument(
        "--output", type=Path, help="default: benchmarks/results/table2-DEVICE.json"
    )
    arguments = parser.parse_args()
    on_gpu = arguments.device != "cpu" and torch.cuda.is_available()
    arguments.images = arguments.images or (20_000 if on_gpu else 512)

    print("| network | parameters | CIFAR-10 | CIFAR-100 |\n|---|---|---|---|")
    print("| DDL 9, paper | 1.4M | 93.04 | 68.76 |")
    print(
        f"| DeTraMe-Net 9, paper | 3.0M | {PAPER['cifar10', 'plain-9'][1]} "
        f"| {PAPER['cifar100', 'plain-9'][1]} |"
    )
    table1 = arguments.table1
    runs = json.loads(table1.read_text())["runs"] if table1.exists() else []
    for label, batch_norm in (("with", True), ("without", False)):
        ours = [
            shown(runs, data, "plain-9", "q-metric", batch_norm) for data in ("cifar10", "cifar100")
        ]
        print(f"| DeTraMe-Net 9, ours, {label} batch norm | 3.0M | " + " | ".join(ours) + " |")

    print("\n| network | parameters | training, s/image | testing, s/image |")
    print("|---|---|---|---|")
    for name, (size, training, testing) in PAPER_SECONDS.items():
        print(f"| {name}, paper | {size} | {training:.4f} | {testing:.2e} |")
    results = []
    networks = {name: (make_network(name, arguments), arguments.images) for name in NETWORKS}
    if arguments.ddl_images:
        networks["DDL 9"] = make_ddl(arguments), arguments.ddl_images
    for name, (classifier, n_images) in networks.items():
        result = measure(name, classifier, n_images, arguments.repeats)
        results.append(result)
        millions = result["n_parameters"] / 1e6
        training = EPOCHS * result["training seconds per image and epoch"]
        print(
            f"| {name}, ours, {EPOCHS} epochs | {millions:.2f}M | {training:.4f} "
            f"| {result['testing seconds per image']:.2e} |",
            flush=True,
        )
    small = []
    try:
        small = compare_small(arguments)
    except FileNotFoundError as error:
        print(f"\nThe small comparison is left out: {error}")
    else:
        print(f"\nMNIST, 1,000 images, {arguments.budget:.0f} seconds of training:\n")
        print_small(small)

    device = "cuda" if on_gpu else "cpu"
    path = arguments.output or HERE / "results" / f"table2-{device}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    setting = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "images": arguments.images,
        "images of DDL": arguments.ddl_images,
        "budget": arguments.budget,
        "mixed_precision": arguments.mixed_precision,
    }
    path.write_text(
        json.dumps({"setting": setting, "networks": results, "small": small}, indent=1) + "\n"
    )
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
