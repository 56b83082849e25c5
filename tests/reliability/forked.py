"""A child that is forked while another thread trains: what it finds, and a fit of its own."""

import json
import multiprocessing
import threading
import warnings

import torch
from torch.backends import cudnn

from skddl import ConvNetClassifier
from skddl._base import deterministic_convolutions, seeded_torch
from skddl._blas import one_blas_thread
from skddl.sparse_coding._precision import full_precision
from tests.saving.data import NETWORK, X, y

from .blas import n_threads

GPU = torch.device("cuda")
# Seconds that are more than enough, however busy the machine is.
BOUND = 60
is_inside, is_over = threading.Event(), threading.Event()


def train():
    """All that a training changes."""
    with seeded_torch(0), one_blas_thread(), deterministic_convolutions(GPU), full_precision(GPU):
        is_inside.set()
        is_over.wait()


def settings():
    return [n_threads(), cudnn.deterministic, torch.get_float32_matmul_precision()]


def fit():
    ConvNetClassifier((5,), **NETWORK, dropout=0.2).fit(X, y)


def child(found):
    found.put(settings())
    with one_blas_thread(), deterministic_convolutions(GPU), full_precision(GPU):
        found.put(settings())
    found.put(settings())
    fit()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    torch.set_num_threads(1)  # OpenMP does not survive a fork
    torch.set_float32_matmul_precision("high")
    before = settings()
    other = threading.Thread(target=train)
    other.start()
    assert is_inside.wait(BOUND)
    inside = settings()
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()
    process = context.Process(target=child, args=(found,))
    process.start()
    process.join(BOUND)
    process.kill()
    process.join()
    is_over.set()
    other.join()
    print(
        json.dumps(
            {
                "before": before,
                "inside": inside,
                "in the child": [found.get() for _ in range(3)] if process.exitcode == 0 else [],
                "its exit code": process.exitcode,
                "afterwards": settings(),
            }
        )
    )
