"""Steps of DeTraMe networks beside those of their ReLU twins, and the memory that they take.

    python benchmarks/step_detrame.py [--device cuda]

The ratios of the times stand beside those of the multiply-adds. Functions are called in turns, and
the ratios are medians over the turns.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from _measure import median_ratio, medians, peak_memory
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from skddl.nn import PlainNet
from skddl.training import Group, make_optimizer, project_

HERE = Path(__file__).parent
# Depth, width, steps and batch of the DeTraMe networks.
NETWORKS = {
    "PlainNet 3, a sixth of the width, 3 steps": (3, 1 / 6, 3, 128),
    "PlainNet 3, 5 steps": (3, 1.0, 5, 128),
    "PlainNet 9, 2 steps": (9, 1.0, 2, 32),
}


def make_steps(network, images, target):
    """A training step and an inference step of a network."""
    # A rate near zero: the steps cost what they cost, and every repeat sees the same.
    optimizer = make_optimizer("sgd", [Group(network.parameters(), 0.0)], 1e-30, momentum=0.9)
    fixed = copy.deepcopy(network).eval()

    def training():
        loss = nn.functional.cross_entropy(network(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        project_(network)

    def inference():
        with torch.no_grad():
            fixed(images)

    return {"training": training, "inference": inference}


def time_networks(device, repeats):
    """Training and inference steps of DeTraMe networks over those of their twins."""
    torch.manual_seed(0)
    results = []
    for name, (depth, width, n_steps, batch) in NETWORKS.items():
        images = torch.randn(batch, 3, 32, 32, device=device)
        target = torch.randint(10, (batch,), device=device)
        options: dict[str, Any] = {"width": width, "n_steps": n_steps, "batch_norm": True}
        options["dropout"] = (0.0, 0.0)  # on a CPU it would take as long as all the rest
        functions, multiply_adds = {}, {}
        for activation in ("relu", "q-metric"):
            network = PlainNet(depth, n_classes=10, activation=activation, **options).to(device)
            for step, function in make_steps(network, images, target).items():
                functions[step, activation] = function
                with FlopCounterMode(display=False) as counter:
                    function()
                multiply_adds[step, activation] = counter.get_total_flops() // 2
        median, seconds = medians(functions, repeats, device, warm_up=2)
        for step in ("training", "inference"):
            ours, twin = (step, "q-metric"), (step, "relu")
            time_ratio = median_ratio(seconds, ours, twin)
            of_work = multiply_adds[ours] / multiply_adds[twin]
            results.append(
                {
                    "network": name,
                    "batch": batch,
                    "step": step,
                    "milliseconds": 1e3 * median[ours],
                    "milliseconds of the twin": 1e3 * median[twin],
                    "time over twin": time_ratio,
                    "multiply-adds over twin": of_work,
                    "time over multiply-adds": time_ratio / of_work,
                }
            )
    return results


def measure_memory():
    """Megabytes that a training step of PlainNet 3 takes on a CPU, steps kept or computed again."""
    images, target = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    results = []
    for n_steps in (2, 5, 10):
        megabytes = {}
        for name, memory_efficient in (("kept", False), ("computed again", True)):
            network = PlainNet(
                3,
                n_classes=10,
                n_steps=n_steps,
                batch_norm=True,
                dropout=(0.0, 0.0),
                memory_efficient=memory_efficient,
            )
            training = make_steps(network, images, target)["training"]
            training()  # what an optimizer remembers is there before
            megabytes[name] = peak_memory(training) / 1e6
        results.append({"steps": n_steps, **megabytes})
    return results


def print_networks(results, memory):
    """What `time_networks` and `measure_memory` found, in Markdown."""
    print(
        "\n| DeTraMe network | step | ms | ms, twin | time over twin | multiply-adds over twin "
        "| time over multiply-adds |\n|---|---|---|---|---|---|---|"
    )
    for row in results:
        print(
            f"| {row['network']}, batch {row['batch']} | {row['step']} | {row['milliseconds']:.1f} "
            f"| {row['milliseconds of the twin']:.1f} | {row['time over twin']:.2f} "
            f"| {row['multiply-adds over twin']:.2f} | {row['time over multiply-adds']:.2f} |"
        )
    print(
        "\n| steps of PlainNet 3, batch 128 | MB, steps kept | MB, computed again |\n|---|---|---|"
    )
    for row in memory:
        print(f"| {row['steps']} | {row['kept']:.0f} | {row['computed again']:.0f} |")


def main():
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument(
        "--output", type=Path, help="default: benchmarks/results/step_detrame-DEVICE.json"
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    result = {
        "setting": {"device": device.type, "threads": torch.get_num_threads()},
        "networks": time_networks(device, arguments.repeats),
        "memory": measure_memory(),
    }
    print_networks(result["networks"], result["memory"])
    path = arguments.output or HERE / "results" / f"step_detrame-{device.type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
