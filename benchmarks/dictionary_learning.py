"""Online dictionary learning beside SPAMS: what the dictionaries cost, and what they take.

    python benchmarks/dictionary_learning.py

From the same first atoms, the same number of mini-batches of 256 samples, on one thread. Each cost
is the mean over the samples of what both minimise, at the optimal codes, and over four starts.
"""

import time
from pathlib import Path

import numpy as np
import spams
import torch
from _measure import Results
from sklearn.datasets import load_digits, load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

from skddl import OnlineDictionaryLearning, SampleNormalizer
from skddl.sparse_coding import sparse_encode

N_BATCHES = 200, 1000, 4000
N_STARTS = 4


def photographs():
    """Patches of 7 x 7 pixels of two photographs, of zero mean and unit norm."""
    rng = np.random.RandomState(0)
    images = [image.mean(axis=2) for image in load_sample_images().images]
    patches = [
        extract_patches_2d(image, (7, 7), max_patches=10_000, random_state=rng) for image in images
    ]
    return SampleNormalizer().fit_transform(np.concatenate(patches).reshape(-1, 49))


def digits():
    """Images of 8 x 8 pixels from 0 to 1."""
    return load_digits().data / 16


def mixtures():
    """Of two non-negative atoms of three numbers."""
    rng = np.random.RandomState(0)
    atoms = np.abs(rng.standard_normal((2, 3)))
    return rng.uniform(size=(1000, 2)) @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True))


POSITIVE = {"positive": True, "positive_dict": True}
# Samples, atoms, lambda1, constraints.
PROBLEMS = {
    "patches, 64 atoms": (photographs, 64, 0.05, {}),
    "patches, 64 atoms, non-negative codes": (photographs, 64, 0.05, {"positive": True}),
    "digits, 30 atoms": (digits, 30, 0.2, {}),
    "digits, 30 atoms, non-negative": (digits, 30, 0.2, POSITIVE),
    "two atoms of 3 numbers, non-negative, lambda1 0.02": (mixtures, 2, 0.02, POSITIVE),
    "two atoms of 3 numbers, non-negative, lambda1 0.005": (mixtures, 2, 0.005, POSITIVE),
}


def learn_by_skddl(X, init, lambda1, constraints, n_batches, seed):
    """Atoms, as rows."""
    model = OnlineDictionaryLearning(
        len(init),
        lambda1=lambda1,
        init=init,
        max_iter=n_batches,
        batch_size=256,
        random_state=seed,
        **constraints,
    )
    return model.fit(X).components_


def learn_by_spams(X, init, lambda1, constraints, n_batches, seed):
    """Atoms, as rows. SPAMS visits samples in one order: here another one for each start."""
    samples = X[np.random.RandomState(seed).permutation(len(X))]
    atoms = spams.trainDL(
        np.asfortranarray(samples.T),
        D=np.asfortranarray(init.T),
        lambda1=lambda1,
        posAlpha=constraints.get("positive", False),
        posD=constraints.get("positive_dict", False),
        iter=n_batches,
        batchsize=256,
        numThreads=1,
        verbose=False,
    )
    return np.ascontiguousarray(atoms.T)


LEARNERS = {"skddl": learn_by_skddl, "SPAMS": learn_by_spams}


def cost(X, atoms, lambda1, positive):
    """Paper 1, Eq. (3), at the optimal codes."""
    codes = sparse_encode(X, atoms, lambda1=lambda1, positive=positive)
    return float(
        (0.5 * ((X - codes @ atoms) ** 2).sum(axis=1) + lambda1 * np.abs(codes).sum(axis=1)).mean()
    )


def compare(make, n_atoms, lambda1, constraints, n_batches):
    """Mean costs, the change from SPAMS to skddl with its standard error, the ratio of times."""
    X = make()
    costs: dict[str, list[float]] = {name: [] for name in LEARNERS}
    seconds: dict[str, list[float]] = {name: [] for name in LEARNERS}
    for seed in range(N_STARTS):
        rng = np.random.RandomState(seed)
        init = X[rng.choice(len(X), n_atoms, replace=False)]
        init /= np.linalg.norm(init, axis=1, keepdims=True)
        for name, learn in LEARNERS.items():
            start = time.perf_counter()
            atoms = learn(X, init, lambda1, constraints, n_batches, seed)
            seconds[name].append(time.perf_counter() - start)
            costs[name].append(cost(X, atoms, lambda1, constraints.get("positive", False)))
    change = np.array(costs["skddl"]) / np.array(costs["SPAMS"]) - 1
    ratio = np.median(np.array(seconds["SPAMS"]) / np.array(seconds["skddl"]))
    return {
        **{name: float(np.mean(values)) for name, values in costs.items()},
        "change": float(change.mean()),
        "standard error": float(change.std(ddof=1) / N_STARTS**0.5),
        "ms per mini-batch": 1e3 * float(np.median(seconds["skddl"])) / n_batches,
        "SPAMS over skddl, time": float(ratio),
    }


def main():
    """Measure, print, write results/dictionary_learning.json."""
    torch.set_num_threads(1)
    path = Path(__file__).parent / "results" / "dictionary_learning.json"
    path.unlink(missing_ok=True)
    results = Results(path, {"batch_size": 256, "n_starts": N_STARTS})
    print("| problem | mini-batches | cost, skddl | cost, SPAMS | change | ms | SPAMS takes |")
    print("|---|---|---|---|---|---|---|")
    for name, problem in PROBLEMS.items():
        for n_batches in N_BATCHES:
            found = compare(*problem, n_batches)
            results.add({"problem": name, "n_batches": n_batches, **found})
            print(
                f"| {name} | {n_batches:,} | {found['skddl']:.5f} | {found['SPAMS']:.5f} "
                f"| {100 * found['change']:+.2f} ± {100 * found['standard error']:.2f} % "
                f"| {found['ms per mini-batch']:.2f} "
                f"| {found['SPAMS over skddl, time']:.2f} times |",
                flush=True,
            )


if __name__ == "__main__":
    main()
