"""Sparse codes of a million samples from a file: memory, and time against the number of samples.

    python benchmarks/scale.py [--samples 10000 100000 1000000]

Writes a file of 784 float32 pixels per sample, 3.1 GB of a million, to a temporary folder and
removes it at the end: images of MNIST, of zero mean and unit norm, drawn again and again with noise
of their own (random images where MNIST is missing). A classifier is fitted to the first 10,000;
then `transform` with `sparse_output=True` codes the first 10,000, 100,000 and so on, each time in a
new process that may have 1 GiB more than it had after importing the package.

Two peaks are reported, both above what the process had after the import. Memory is what the process
has for itself (RssAnon), model and result included; that is what must be there, and what the limit
bounds. The resident set has the pages of the file that were read, too, which the kernel keeps as
long as nothing else needs the room, and drops without writing anything.
"""

import argparse
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from _measure import require_promised
from threadpoolctl import threadpool_info

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
from skddl.datasets import load_mnist
from skddl.sparse_coding import kkt_residual

HERE = Path(__file__).parent
N_FEATURES, N_FITTED = 784, 10_000
N_CHECKED = 500  # samples whose codes are
NOISE = 0.005  # standard deviation per pixel; images have a norm of 1
LIMIT_MIB = 1024

ATOMS = (400, 4096)
MIB = 2**20


def load_images(data_home):
    """MNIST images of zero mean and unit norm and labels, or random ones where it is missing."""
    try:
        X, y = load_mnist(data_home, subset="train", return_X_y=True)
        source = "MNIST with noise"
    except FileNotFoundError:
        rng = np.random.default_rng(0)
        X, y, source = rng.random((10_000, N_FEATURES)), rng.integers(10, size=10_000), "random"
    return SampleNormalizer().fit_transform(X.astype(np.float32)), y, source


def write_samples(path, n_samples, images, labels):
    """Write so many samples to a file, part by part; labels of the first."""
    rng = np.random.default_rng(0)
    samples = np.lib.format.open_memmap(path, "w+", np.float32, (n_samples, N_FEATURES))
    drawn = rng.integers(len(images), size=n_samples)
    for start in range(0, n_samples, 10_000):
        part = samples[start : start + 10_000]
        noise = rng.standard_normal(part.shape, dtype=np.float32)
        part[:] = images[drawn[start : start + len(part)]] + NOISE * noise
    samples.flush()
    return labels[drawn[:N_FITTED]]


def memory():
    """MiB that this process has: for itself, resident, and what RLIMIT_DATA counts."""
    status = Path("/proc/self/status").read_text()
    return {
        name: int(status.split(f"{name}:")[1].split()[0]) / 1024
        for name in ("RssAnon", "VmRSS", "VmData")
    }


def measure(model_path, samples_path, n_samples):
    """Code samples within the limit, and print what that took: runs in a process of its own."""
    start = memory()
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = int((start["VmData"] + LIMIT_MIB) * MIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    model = pickle.loads(model_path.read_bytes())
    samples = np.load(samples_path, mmap_mode="r")[:n_samples]
    model.transform(samples[:100])  # what is imported and started once takes no time then
    peak, done = dict.fromkeys(start, 0.0), threading.Event()

    def watch():
        while not done.wait(0.005):
            for name, value in memory().items():
                peak[name] = max(peak[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    codes = model.transform(samples)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    rows = np.linspace(0, n_samples - 1, N_CHECKED).astype(int)
    with torch.no_grad():
        inputs = model.module_.features(torch.from_numpy(samples[rows])).numpy()
    residual = kkt_residual(
        inputs, model.components_, codes[rows].toarray(), **vars(model.module_.code.problem)
    )
    require_promised(residual, f"{codes.shape[1]} atoms, {n_samples} samples")
    result = {
        "n_samples": n_samples,
        "n_atoms": codes.shape[1],
        "seconds": seconds,
        "microseconds per sample": 1e6 * seconds / n_samples,
        "non-zeros per code": codes.nnz / n_samples,
        "MiB of the codes": sum(part.nbytes for part in (codes.data, codes.indices, codes.indptr))
        / MIB,
        "MiB of dense codes": codes.shape[0] * codes.shape[1] * codes.dtype.itemsize / MIB,
        "peak MiB above import": peak["RssAnon"] - start["RssAnon"],
        "peak MiB above import, with pages of the file": peak["VmRSS"] - start["VmRSS"],
    }
    print(json.dumps(result))


def run(folder, arguments):
    """Fit, and measure each number of samples with each number of atoms."""
    n_samples = max(arguments.samples)
    images, labels, source = load_images(arguments.data_home)
    samples_path, model_path = folder / "X.npy", folder / "model.pickle"
    y = write_samples(samples_path, n_samples, images, labels)
    X = np.load(samples_path, mmap_mode="r")[: len(y)]
    runs = []
    for n_atoms in ATOMS:
        model = TaskDrivenDictionaryClassifier(
            n_atoms, init="samples", max_iter=10, random_state=0, device="cpu", sparse_output=True
        ).fit(X, y)
        model_path.write_bytes(pickle.dumps(model))
        for n in sorted(set(arguments.samples)):
            command = [sys.executable, __file__, "--measure", model_path, samples_path, str(n)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            runs.append(json.loads(output))
            print(runs[-1], file=sys.stderr, flush=True)
    most_samples = [run for run in runs if run["n_samples"] == n_samples]
    return {
        "setting": {
            "data": source,
            "samples in the file": n_samples,
            "features": N_FEATURES,
            "MiB of the file": n_samples * N_FEATURES * 4 / MIB,
            "limit, MiB above import": LIMIT_MIB,
            "threads": max(info["num_threads"] for info in threadpool_info()),
        },
        "peak_mib_above_import": max(run["peak MiB above import"] for run in most_samples),
        "runs": runs,
    }


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--folder", help="where the temporary folder is made")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "scale.json")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        model_path, samples_path, n_samples = arguments.measure
        measure(Path(model_path), Path(samples_path), int(n_samples))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = run(Path(folder), arguments)
    print(", ".join(f"{key}: {value}" for key, value in result["setting"].items()), "\n")
    print(
        "| atoms | samples | seconds | µs per sample | non-zeros per code | codes, MiB "
        "| dense, MiB | peak, MiB | with pages of the file |\n|---|---|---|---|---|---|---|---|---|"
    )
    for row in result["runs"]:
        print(
            f"| {row['n_atoms']:,} | {row['n_samples']:,} | {row['seconds']:.1f} "
            f"| {row['microseconds per sample']:.0f} | {row['non-zeros per code']:.1f} "
            f"| {row['MiB of the codes']:.0f} | {row['MiB of dense codes']:.0f} "
            f"| {row['peak MiB above import']:.0f} "
            f"| {row['peak MiB above import, with pages of the file']:.0f} |"
        )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwrote {arguments.output}")


if __name__ == "__main__":
    main()
