"""Codes with many non-zeros, beside SPAMS, on one thread.

    python benchmarks/dense.py

Random samples in 2,000 random atoms of 1,500 features, float32, by weight lambda1.
"""

import numpy as np
import spams
import torch
from _measure import median_ratio, medians, require_promised

from skddl.sparse_coding import kkt_residual, sparse_encode

N_SAMPLES, N_ATOMS, N_FEATURES = 20, 2000, 1500


def unit_rows(rng, n_rows):
    """Random rows of norm 1."""
    rows = rng.standard_normal((n_rows, N_FEATURES), dtype="float32")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main():
    """Measure, print."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X, dictionary = unit_rows(rng, N_SAMPLES), unit_rows(rng, N_ATOMS)
    columns, atoms = np.asfortranarray(X.T), np.asfortranarray(dictionary.T)
    for lambda1 in (0.06, 0.05, 0.04, 0.03, 0.02, 0.01):
        codes = sparse_encode(X, dictionary, lambda1=lambda1)
        residual = kkt_residual(X, dictionary, codes, lambda1=lambda1)
        require_promised(residual, f"lambda1={lambda1}")
        functions = {
            "skddl": lambda weight=lambda1: sparse_encode(X, dictionary, lambda1=weight),
            "SPAMS": lambda weight=lambda1: spams.lasso(
                columns, atoms, lambda1=weight, numThreads=1
            ),
        }
        seconds, each = medians(functions, 5, torch.device("cpu"), warm_up=1)
        print(
            f"{np.count_nonzero(codes) / len(codes):5.0f} non-zeros: "
            f"{1e3 * seconds['skddl'] / len(codes):.1f} ms per sample, "
            f"SPAMS {median_ratio(each, 'SPAMS', 'skddl'):.2f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
