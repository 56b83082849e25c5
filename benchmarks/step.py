"""Where the time of a training step goes, and what `sparse_encode` costs.

    python benchmarks/step.py [--device cuda]

One step of TDDL-CNN (28x28 pixels, batch 100, 400 atoms, about 30 non-zeros per code) split into
its parts, beside the step of the same features under a linear classifier; then `sparse_encode`
beside SPAMS called directly and scikit-learn's `sparse_encode`; then steps of DeTraMe networks
beside those of their ReLU twins, and beside the ratio of their multiply-adds, and the memory that
they take. All in one run, repeated in turns: the medians of the ratios are what to quote.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.decomposition
import torch
from _measure import median_ratio, medians, peak_memory
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from skddl.datasets import load_mnist
from skddl.dictionary import class_dictionary
from skddl.nn import LeNetFeatures, PlainNet, SparseCode
from skddl.nn.task_driven import TaskDrivenNetwork
from skddl.preprocessing import SampleNormalizer
from skddl.sparse_coding import kkt_residual, sparse_encode
from skddl.training import make_optimizer, project_

try:
    import spams
except ImportError:
    spams = None

HERE = Path(__file__).parent
BATCH, N_ATOMS, SHAPE = 100, 400, (1, 28, 28)
# Depth, width, steps and batch of the DeTraMe networks.
NETWORKS = {
    "PlainNet 3, a sixth of the width, 3 steps": (3, 1 / 6, 3, 128),
    "PlainNet 3, 5 steps": (3, 1.0, 5, 128),
    "PlainNet 9, 2 steps": (9, 1.0, 2, 32),
}


def load_images(data_home):
    """Normalised MNIST images and labels, or random ones of that size where MNIST is missing."""
    try:
        X, y = load_mnist(data_home, subset="train", return_X_y=True)
        X, y, source = X[:4000], y[:4000], "MNIST"
    except FileNotFoundError:
        rng = np.random.default_rng(0)
        X, y, source = rng.random((4000, 784)), rng.integers(10, size=4000), "random images"
    return SampleNormalizer().fit_transform(X.astype(np.float32)), y, source


def make_network(X, y, device):
    """TDDL-CNN as paper 1 starts it, with lambda1 such that codes have about 30 non-zeros."""
    torch.manual_seed(0)
    features = LeNetFeatures(SHAPE)
    with torch.no_grad():
        inputs = features(torch.from_numpy(X)).numpy()
    scale = float(np.linalg.norm(inputs, axis=1).mean())
    dictionary, _ = class_dictionary(
        inputs, y, n_components=N_ATOMS, lambda1=0.05 * scale, random_state=0
    )
    low, high = 1e-4 * scale, 0.1 * scale
    for _ in range(12):  # bisection: fewer non-zeros the larger lambda1
        lambda1 = (low * high) ** 0.5
        codes = sparse_encode(inputs[:500], dictionary, lambda1=lambda1)
        n_nonzero = (codes != 0).sum(1).mean()
        low, high = (lambda1, high) if n_nonzero > 30 else (low, lambda1)
    code = SparseCode(inputs.shape[1], N_ATOMS, lambda1=lambda1)
    code.dictionary.data = torch.from_numpy(dictionary)
    return TaskDrivenNetwork(features, code, 10, bias=False).to(device), inputs, float(n_nonzero)


def time_step(network, X, y, device, repeats):
    """Milliseconds of a whole step, of its parts, and of the plain step; and their ratio."""
    x, target = (
        torch.from_numpy(X[:BATCH]).to(device),
        torch.from_numpy(y[:BATCH]).long().to(device),
    )
    features, code = network.features, network.code
    plain_classifier = nn.Linear(code.dictionary.shape[1], 10).to(device)
    # Rates of zero: the steps cost what they cost, and every repeat sees the same problem.
    optimizer = make_optimizer("sgd", [(network.parameters(), 0.0)], 1e-30)
    plain = nn.Sequential(features, plain_classifier)
    plain_optimizer = make_optimizer("sgd", [(plain.parameters(), 0.0)], 1e-30)

    def task_driven_step():
        loss = nn.functional.cross_entropy(network(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        code.project_()

    def plain_step():
        loss = nn.functional.cross_entropy(plain(x), target)
        plain_optimizer.zero_grad()
        loss.backward()
        plain_optimizer.step()

    with torch.no_grad():
        inputs = features(x)
    inputs.requires_grad_()
    fixed = copy.deepcopy(code)  # not one that the steps write to
    codes = fixed(inputs)
    direction = torch.randn_like(codes)

    def features_forward_and_backward():
        features(x).backward(inputs.detach())

    def coding():
        with torch.no_grad():
            code(inputs)

    def implicit_gradient():
        torch.autograd.grad(
            codes, (inputs, fixed.dictionary), grad_outputs=direction, retain_graph=True
        )

    median, seconds = medians(
        {
            "step": task_driven_step,
            "plain step": plain_step,
            "features": features_forward_and_backward,
            "coding": coding,
            "implicit gradient": implicit_gradient,
        },
        repeats,
        device,
    )
    parts = median["features"] + median["coding"] + median["implicit gradient"]
    median["rest"] = median["step"] - parts
    return {
        "milliseconds": {name: 1e3 * value for name, value in median.items()},
        "step over plain step": median_ratio(seconds, "step", "plain step"),
    }


def time_encode(inputs, network, device, repeats):
    """Microseconds per sample of `sparse_encode` and its peers, at two batch sizes."""
    lambda1 = network.code.problem.lambda1
    dictionary = network.code.dictionary.detach().cpu().numpy()
    on_device = torch.from_numpy(dictionary).to(device)
    results: list[dict[str, Any]] = []
    for n_samples in (100, 2000):
        X = inputs[:n_samples]
        x = torch.from_numpy(X).to(device)
        functions = {"skddl": lambda x=x: sparse_encode(x, on_device, lambda1=lambda1)}
        if spams is not None:
            # What a user of SPAMS writes, with codes as a dense array.
            functions["spams"] = lambda X=X: spams.lasso(
                np.asfortranarray(X.T),
                np.asfortranarray(dictionary.T),
                lambda1=lambda1,
                L=min(dictionary.shape),
                numThreads=torch.get_num_threads(),
            ).toarray()
        median, seconds = medians(functions, repeats, device)
        result = {
            "n_samples": n_samples,
            "microseconds per sample": {k: 1e6 * v / n_samples for k, v in median.items()},
            "kkt residual": float(
                kkt_residual(x, on_device, functions["skddl"](), lambda1=lambda1).max()
            ),
        }
        if spams is not None:
            result["skddl over spams"] = median_ratio(seconds, "skddl", "spams")
        results.append(result)
    X = inputs[:100]
    median, seconds = medians(
        {
            "skddl": lambda: sparse_encode(X, dictionary, lambda1=lambda1),
            "scikit-learn": lambda: sklearn.decomposition.sparse_encode(
                X, dictionary, algorithm="lasso_lars", alpha=lambda1
            ),
        },
        3,
        device,
        warm_up=1,
    )
    results[0]["microseconds per sample"]["scikit-learn (lasso_lars)"] = (
        1e6 * median["scikit-learn"] / 100
    )
    results[0]["scikit-learn over skddl"] = median_ratio(seconds, "scikit-learn", "skddl")
    return results


def make_steps(network, images, target):
    """A training step and an inference step of a network."""
    # A rate near zero: the steps cost what they cost, and every repeat sees the same.
    optimizer = make_optimizer("sgd", [(network.parameters(), 0.0)], 1e-30, momentum=0.9)
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
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/step-DEVICE.json")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)

    X, y, source = load_images(arguments.data_home)
    network, inputs, n_nonzero = make_network(X, y, device)
    result = {
        "setting": {
            "data": source,
            "device": device.type,
            "threads": torch.get_num_threads(),
            "batch": BATCH,
            "atoms": N_ATOMS,
            "features": inputs.shape[1],
            "non-zeros per code": n_nonzero,
        },
        "step": time_step(network, X, y, device, arguments.repeats),
        "encode": time_encode(inputs, network, device, arguments.repeats),
        "networks": time_networks(device, max(3, arguments.repeats // 3)),
        "memory": measure_memory(),
    }
    print(", ".join(f"{key}: {value}" for key, value in result["setting"].items()), "\n")
    print("| part of a TDDL-CNN step | milliseconds |\n|---|---|")
    for name, value in result["step"]["milliseconds"].items():
        print(f"| {name} | {value:.2f} |")
    print(f"\nstep over plain step: {result['step']['step over plain step']:.2f}\n")
    for row in result["encode"]:
        print(f"sparse_encode, {row['n_samples']} samples, microseconds per sample:")
        for name, value in row["microseconds per sample"].items():
            print(f"  {name}: {value:.1f}")
        for name in ("skddl over spams", "scikit-learn over skddl", "kkt residual"):
            if name in row:
                print(f"  {name}: {row[name]:.3g}")
    print_networks(result["networks"], result["memory"])
    path = arguments.output or HERE / "results" / f"step-{device.type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
