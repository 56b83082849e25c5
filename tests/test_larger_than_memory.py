"""Samples in a file that is larger than the memory a process may have."""

import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from skddl import (
    ConvNetClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
    _dictionary_updates,
)
from skddl.sparse_coding import sparse_encode

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems do not limit what counts here"
)

MIB = 2**20
N_FEATURES = 900


# Each test starts a process, which takes seconds: one of a kind has to do where time counts.
DTYPES = [
    "float32",
    pytest.param("uint8", marks=pytest.mark.slow),
    pytest.param("float64", marks=pytest.mark.slow),
]


def limit_memory(n_bytes):
    """Let the process have so much memory beside what it has now.

    RLIMIT_DATA counts what is writable and not shared. The pages of a read-only memmap, which
    the kernel drops when it needs room, do not count, as they would for RLIMIT_AS.
    """
    status = Path("/proc/self/status").read_text()
    present = int(status.split("VmData:")[1].split()[0]) * 1024
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (present + n_bytes, hard))


def limited(task, models, path, layout, n_bytes):
    samples = LAYOUTS[layout](np.load(path, mmap_mode="r"))
    for model in models:
        task(samples[:300], model)  # what is imported and started once is not what is measured
    limit_memory(n_bytes)
    try:
        np.array(samples)
    except MemoryError:
        for model in models:
            task(samples, model)
        return
    raise AssertionError("The samples fit into memory: the test would find no copy of them.")


def run_limited(task, models, path, *, layout="rows", n_bytes=40 * MIB):
    """`task` of samples in a file and of each model, in a process that may not hold a copy."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(limited, task, models, path, layout, n_bytes).result()


LAYOUTS = {
    "rows": lambda X: X,
    "columns": lambda X: X,  # as the file is
    "every second column": lambda X: X[:, ::2],
    "backwards": lambda X: X[::-1],
    "channels first": lambda X: X.reshape(-1, 1, 30, 30),
    "channels last": lambda X: X.reshape(-1, 15, 15, 4).transpose(0, 3, 1, 2),
}


def labels(X):
    return np.arange(len(X)) % 2


def learn_and_predict(X, model):
    model = clone(model)
    model.fit(X, labels(X))
    model.partial_fit(X, labels(X))
    assert model.predict(X).shape == (len(X),)
    if "sparse_output" in model.get_params():
        assert model.set_params(sparse_output=True).transform(X).shape[0] == len(X)


def learn_dictionary_from_few(X, model):
    _dictionary_updates._MAX_SAMPLES = 500  # its value is more than the small files hold
    learn_dictionary(X, model)


def learn_dictionary(X, model):
    model = clone(model).fit(X).partial_fit(X)
    codes = model.set_params(sparse_output=True).transform(X)
    assert codes.shape == (len(X), len(model.components_))


def encode(X, dtype):
    atoms = np.asarray(X[:10], dtype=dtype)
    codes = sparse_encode(X, atoms, lambda1=1e7, sparse_output=True)
    assert codes.shape == (len(X), 10)


@pytest.fixture(scope="session")
def file_of(tmp_path_factory):
    """Path of a file of random samples of a type, in one of two orders."""
    folder = tmp_path_factory.mktemp("samples")

    def write(dtype, *, fortran_order=False, n_bytes=60 * MIB):
        path = folder / f"{dtype}-{fortran_order}-{n_bytes}.npy"
        if not path.exists():
            n_samples = n_bytes // (N_FEATURES * np.dtype(dtype).itemsize)
            values = np.random.default_rng(0).integers(0, 256, (1000, N_FEATURES)).astype(dtype)
            samples = np.lib.format.open_memmap(
                path, "w+", dtype, (n_samples, N_FEATURES), fortran_order
            )
            for start in range(0, n_samples, len(values)):
                part = samples[start : start + len(values)]
                part[:] = values[: len(part)]
        return path

    yield write
    for path in folder.iterdir():
        path.unlink()


TASK_DRIVEN = TaskDrivenDictionaryClassifier(
    4,
    features="linear",
    n_features_out=4,
    max_iter=3,
    batch_size=1000,
    random_state=0,
    device="cpu",
)
NETWORK = {"hidden_layer_sizes": 4, "max_epochs": 1, "batch_size": 1000, "device": "cpu"}
LEARNERS = [
    TASK_DRIVEN,
    clone(TASK_DRIVEN).set_params(early_stopping=True),
    TaskDrivenDictionaryRegressor(4, n_features_out=4, max_iter=3, batch_size=1000, device="cpu"),
    DeTraMeClassifier(**NETWORK),
    ConvNetClassifier(**NETWORK),
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_classifiers_and_regressors_learn_and_predict(file_of, dtype):
    run_limited(learn_and_predict, LEARNERS, file_of(dtype))


@pytest.mark.parametrize(
    "layout",
    [
        "channels last",
        *(
            pytest.param(layout, marks=pytest.mark.slow)
            for layout in ("columns", "every second column", "backwards", "channels first")
        ),
    ],
)
def test_no_layout_is_copied(file_of, layout):
    path = file_of("float32", fortran_order=layout == "columns")
    n_bytes = (25 if layout == "every second column" else 40) * MIB
    run_limited(learn_and_predict, [TASK_DRIVEN], path, layout=layout, n_bytes=n_bytes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dictionary_learning(file_of, dtype):
    models = [
        OnlineDictionaryLearning(6, lambda1=1000.0, max_iter=40, batch_size=256, solver=solver)
        for solver in ("auto", "fista")
    ]
    run_limited(learn_dictionary_from_few, models, file_of(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["auto", "spams"])
def test_dictionary_learning_of_a_gigabyte(file_of, solver):
    if solver == "spams":
        pytest.importorskip("spams")
    path = file_of("float32", n_bytes=1024 * MIB)
    # More mini-batches than SPAMS is given samples for at once.
    model = OnlineDictionaryLearning(6, lambda1=1000.0, max_iter=300, solver=solver)
    run_limited(learn_dictionary, [model], path, n_bytes=768 * MIB)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_encode(file_of, dtype, layout):
    path = file_of(dtype, fortran_order=layout == "columns")
    run_limited(encode, [np.float32, np.float64], path, layout=layout)
