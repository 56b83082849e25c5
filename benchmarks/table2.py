"""Table 2 of paper 2: parameters, and seconds per image in training and in testing.

    python benchmarks/table2.py [--device cuda] [--mixed-precision]

The paper's DeTraMe-Net 12 has 2.4 million parameters, and its seconds per image in training are
those of the whole training, of 200 epochs as we read it. Here a PlainNet 12 of 0.73 times the width
has as many. Random pixels do: what they show does not change what they cost. The accuracies of the
upper half of the table come from the results of table1_cifar.py.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from _measure import medians
from table1_cifar import PAPER, shown

from skddl import DeTraMeClassifier

HERE = Path(__file__).parent
EPOCHS = 200
# Depth, activation and width.
NETWORKS = {
    "ReLU 9": (9, "relu", 1.0),
    "DeTraMe-Net 9": (9, "q-metric", 1.0),
    "ReLU 12": (12, "relu", 0.73),
    "DeTraMe-Net 12": (12, "q-metric", 0.73),
}
PAPER_SECONDS = {"DDL": ("0.35M", 0.2784, 9.40e-2), "DeTraMe-Net 12": ("2.4M", 0.1605, 3.52e-4)}


def make_classifier(name, arguments):
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


def measure(name, arguments):
    """Parameters, and seconds per image of an epoch and of predictions."""
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(arguments.images, 3 * 32 * 32)).astype(np.uint8)
    y = np.arange(arguments.images) % 10
    classifier = make_classifier(name, arguments).fit(X, y)
    # `fit` and `predict` end with results on the CPU: nothing is left to be waited for.
    cpu = torch.device("cpu")
    median, _ = medians(
        {"train": lambda: classifier.fit(X, y), "test": lambda: classifier.predict(X)},
        arguments.repeats,
        cpu,
        warm_up=1,
    )
    return {
        "network": name,
        "n_parameters": sum(p.numel() for p in classifier.module_.parameters()),
        "training seconds per image and epoch": median["train"] / arguments.images,
        "testing seconds per image": median["test"] / arguments.images,
    }


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 in training")
    parser.add_argument("--images", type=int, help="default: 20,000 on a GPU, 512 on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
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
    for name in NETWORKS:
        result = measure(name, arguments)
        results.append(result)
        millions = result["n_parameters"] / 1e6
        training = EPOCHS * result["training seconds per image and epoch"]
        print(
            f"| {name}, ours, {EPOCHS} epochs | {millions:.2f}M | {training:.4f} "
            f"| {result['testing seconds per image']:.2e} |",
            flush=True,
        )
    device = "cuda" if on_gpu else "cpu"
    path = arguments.output or HERE / "results" / f"table2-{device}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    setting = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "images": arguments.images,
        "mixed_precision": arguments.mixed_precision,
    }
    path.write_text(json.dumps({"setting": setting, "networks": results}, indent=1) + "\n")
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
