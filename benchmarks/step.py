"""Where the time of a training step goes, and what it is beside.

    python benchmarks/step.py [--device cuda] [--solver fista]

One step of TDDL-CNN (28x28 pixels, batch 100, 400 atoms, about 30 non-zeros per code) in the middle
of training, coding from the supports of an epoch before, as a fit does, and from zero; split into
its parts, beside the step of the same features under a linear classifier, and beside the floor:
the multiply-adds that no exact method can do without, at the rate at which this machine multiplies
matrices of that size. Then a step of TDDL-LIN beside backpropagation through 100 steps of FISTA in
the same network: time and memory. All in one run, repeated in turns: the medians of the ratios are
what to quote.
"""

import argparse
import copy
import json
from pathlib import Path

import torch
from _measure import median_ratio, medians, peak_memory, require_promised
from _speed_problems import BATCH, features_of, load_images, make_network, mid_training
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from skddl._task_driven import _MEMORY_WIDTH as MEMORY_WIDTH
from skddl.sparse_coding import kkt_residual
from skddl.sparse_coding._gram import gram_matrix
from skddl.sparse_coding._solution import Supports
from skddl.training import Group, make_optimizer, project_

HERE = Path(__file__).parent
N_UNROLLED = 100


class UnrolledCode(nn.Module):
    """Codes by a number of steps of FISTA, to be differentiated by backpropagation."""

    def __init__(self, dictionary, lambda1, n_steps):
        super().__init__()
        self.dictionary = nn.Parameter(dictionary.detach().clone())
        self.n_steps = n_steps
        # Once, not in each step as training would have to: in favour of unrolling.
        self.rate = 1 / float(torch.linalg.matrix_norm(self.dictionary.detach(), ord=2)) ** 2
        self.threshold = self.rate * lambda1

    def forward(self, x, supports=None):
        """Codes of inputs of shape (n_samples, n_features)."""
        codes = moved = x.new_zeros(len(x), len(self.dictionary))
        t = 1.0
        for _ in range(self.n_steps):
            residual = torch.addmm(x, moved, self.dictionary, alpha=-1)
            gradient_step = torch.addmm(moved, residual, self.dictionary.T, alpha=self.rate)
            previous, codes = codes, nn.functional.softshrink(gradient_step, self.threshold)
            t_next = (1 + (1 + 4 * t * t) ** 0.5) / 2
            moved = torch.lerp(codes, previous, (1 - t) / t_next)
            t = t_next
        return codes


def make_step(network, x, target, supports=None):
    """A training step; `supports`, if any, are from where coding starts, in each step anew."""
    # A rate near zero: the steps cost what they cost, and every repeat sees the same problem.
    optimizer = make_optimizer("sgd", [Group(network.parameters(), 0.0)], 1e-30)
    start = copy.deepcopy(supports)

    def step():
        if supports is None:
            scores = network(x)
        else:
            copy_supports(supports, start)
            scores = network.classifier(network.encode(x, start))
        loss = nn.functional.cross_entropy(scores, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        project_(network)

    return step


def copy_supports(source, target):
    """Copy supports into the memory of others of the same size."""
    target.atoms.copy_(source.atoms)
    target.sizes.copy_(source.sizes)


def time_step(network, older, x, target, device, repeats):
    """Milliseconds of a whole step, of its parts, and of the plain step; their ratio; the floor."""
    with torch.no_grad():
        supports = Supports.empty(len(x), MEMORY_WIDTH)
        older.to(device).encode(x, supports)
    features, code = network.features, network.code
    plain = nn.Sequential(features, nn.Linear(code.dictionary.shape[1], 10).to(device))
    plain_step = make_step(plain, x, target)
    with torch.no_grad():
        inputs = features(x)
    inputs.requires_grad_()
    fixed = copy.deepcopy(code)  # not one that the steps write to
    codes = fixed(inputs)
    arrays = (inputs.detach(), code.dictionary.detach(), codes.detach())
    residual = kkt_residual(*arrays, **vars(code.problem))
    require_promised(residual.cpu().numpy(), "the codes of a step of TDDL-CNN")
    direction = torch.randn_like(codes)
    dictionary = fixed.dictionary.detach()

    def features_forward_and_backward():
        features(x).backward(inputs.detach())

    start = copy.deepcopy(supports)

    def coding_from_supports():
        # With what the gradient needs.
        copy_supports(supports, start)
        fixed(inputs, start)

    def implicit_gradient():
        torch.autograd.grad(
            codes, (inputs, fixed.dictionary), grad_outputs=direction, retain_graph=True
        )

    median, seconds = medians(
        {
            "step": make_step(network, x, target, supports),
            "step from zero": make_step(network, x, target),
            "plain step": plain_step,
            "features": features_forward_and_backward,
            "coding": coding_from_supports,
            "coding from zero": lambda: fixed(inputs),
            "implicit gradient": implicit_gradient,
            "matrix product": lambda: dictionary @ dictionary.T,
            "Gram matrix": lambda: gram_matrix(dictionary),
        },
        repeats,
        device,
    )
    parts = median["features"] + median["coding"] + median["implicit gradient"]
    median["rest"] = median["step"] - parts

    n_atoms, n_features = dictionary.shape
    with FlopCounterMode(display=False) as counter:
        plain_step()
    multiply_adds = {
        "plain step": counter.get_total_flops() / 2,
        **unavoidable((codes != 0).sum(1).double().cpu().numpy(), n_atoms, n_features),
    }
    # The rate of the machine: of torch's product, or of ours, whichever is higher.
    rate = max(
        n_atoms**2 * n_features / median.pop("matrix product"),
        multiply_adds["Gram matrix, half"] / median["Gram matrix"],
    )
    floor = sum(multiply_adds.values()) / rate
    return {
        "milliseconds": {name: 1e3 * value for name, value in median.items()},
        "step over plain step": median_ratio(seconds, "step", "plain step"),
        "step from zero over plain step": median_ratio(seconds, "step from zero", "plain step"),
        "floor": {
            "multiply-adds per second": rate,
            "millions of multiply-adds": {k: v / 1e6 for k, v in multiply_adds.items()},
            "milliseconds": {k: 1e3 * v / rate for k, v in multiply_adds.items()},
            "step over floor": median["step"] / floor,
        },
    }


def unavoidable(n_nonzero, n_atoms, n_features):
    """Multiply-adds that exact codes and their gradient take, given the supports.

    `n_nonzero` has the size of the support of each sample.
    """
    n_samples, total = len(n_nonzero), n_nonzero.sum()
    return {
        "Gram matrix, half": n_atoms * (n_atoms + 1) / 2 * n_features,
        "correlations": n_samples * n_atoms * n_features,
        # A Cholesky factor, for the code and for beta a triangle forth and one back.
        "support solves": (n_nonzero**3 / 6 + 2 * n_nonzero**2).sum(),
        # Whether the other atoms stay out: the Gram matrix times the code.
        "optimality": total * n_atoms,
        # beta D, a D, and the two outer products of the dictionary's gradient.
        "gradient": 4 * total * n_features,
    }


def time_unrolled(network, x, target, device, repeats):
    """A step of TDDL-LIN over one by backpropagation through FISTA: time and memory."""
    code = network.code
    unrolled = copy.deepcopy(network)
    unrolled.code = UnrolledCode(code.dictionary, code.problem.lambda1, N_UNROLLED).to(device)
    steps = {
        "implicit": make_step(network, x, target),
        "unrolled": make_step(unrolled, x, target),
    }
    median, seconds = medians(steps, repeats, device)
    with torch.no_grad():
        inputs = network.features(x)
        residual = {
            name: kkt_residual(
                inputs, code.dictionary, a.code(inputs), lambda1=code.problem.lambda1
            )
            for name, a in (("implicit", network), ("unrolled", unrolled))
        }
    require_promised(residual["implicit"].cpu().numpy(), "the codes of a step of TDDL-LIN")
    result = {
        "milliseconds": {name: 1e3 * value for name, value in median.items()},
        "unrolled over implicit": median_ratio(seconds, "unrolled", "implicit"),
        "largest kkt residual": {name: float(r.max()) for name, r in residual.items()},
        "median kkt residual": {name: float(r.median()) for name, r in residual.items()},
    }
    if device.type == "cpu":
        result["megabytes"] = {name: peak_memory(step) / 1e6 for name, step in steps.items()}
    return result


def flat(values, prefix=""):
    """Names and values of a nested dict, one after the other."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}: ")
        else:
            yield prefix + name, value


def main():
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/step-DEVICE.json")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)

    X, y, source = load_images(arguments.data_home)
    batch = torch.from_numpy(X[:BATCH]).to(device), torch.from_numpy(y[:BATCH]).long().to(device)
    network, older = mid_training(X, y, n_nonzero=30)
    networks = {"TDDL-CNN": network, "TDDL-LIN": make_network(X, y, "linear")}
    shapes = {}
    for name, network in networks.items():
        inputs, dictionary = features_of(network, X[:BATCH])
        network.code.solver = arguments.solver
        codes = network.to(device).encode(batch[0])
        shapes[name] = {
            "atoms": len(dictionary),
            "features": inputs.shape[1],
            "non-zeros per code": float((codes != 0).sum(1).double().mean()),
        }
    oldest = older[max(older)]
    found = {
        "TDDL-CNN": time_step(networks["TDDL-CNN"], oldest, *batch, device, arguments.repeats),
        "TDDL-LIN": time_unrolled(networks["TDDL-LIN"], *batch, device, arguments.repeats),
    }
    result = {
        "setting": {
            "data": source,
            "device": device.type,
            "solver": arguments.solver,
            "threads": torch.get_num_threads(),
            "batch": BATCH,
            **shapes,
        },
        **found,
    }
    print("| what | |\n|---|---|")
    for name, value in flat(result):
        print(f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |")
    path = arguments.output or HERE / "results" / f"step-{device.type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
