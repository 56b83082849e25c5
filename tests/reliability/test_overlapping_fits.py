"""Fits in several threads of one process do not disturb one another."""

import json
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV

from skddl import TaskDrivenDictionaryClassifier
from skddl.sparse_coding import sparse_encode
from tests.saving.data import TDDL, X, y

from .models import MODELS, digest, digest_of, fit, global_states
from .processes import printed_by

pytestmark = pytest.mark.slow

# One of each kind: those that draw from torch's global generator, that limit numpy's threads, ...
NAMES = [
    "identity",
    "network trained first",
    "two targets",
    "deep",
    "dropout and early stopping",
    "augmented",
    "online",
    "online, drawn atoms",
]


@pytest.fixture
def turns_change_often():
    """Threads of Python take turns a thousand times as often as they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def at_once(functions):
    """Results of functions that begin at the same moment, each in a thread."""
    barrier = threading.Barrier(len(functions))

    def call(function):
        barrier.wait(60)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [*pool.map(call, functions, timeout=300)]


@pytest.fixture(scope="module")
def alone():
    """Digests of fits, one after the other."""
    return {name: digest_of(name, fit(name)) for name in NAMES}


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_fits_that_overlap_are_those_made_alone(rounds, alone, turns_change_often, tried):
    rng = np.random.default_rng(0)
    before = global_states()
    for _ in range(rounds):
        for pair in np.split(rng.permutation(NAMES), len(NAMES) // 2):
            found = at_once([lambda name=name: digest_of(name, fit(name)) for name in pair])
            assert found == [alone[name] for name in pair]
            tried("fits that overlapped with others", len(pair))
    assert global_states() == before


@pytest.mark.parametrize("name", ["identity", "augmented", "deep", "online"])
def test_a_fit_beside_one_of_the_same_kind_and_another_seed(name, alone, tried):
    build, samples, labels = MODELS[name]

    def other():
        return build().set_params(random_state=1).fit(samples, labels)

    found, _ = at_once([lambda: digest_of(name, fit(name)), other])
    assert found == alone[name]
    tried("fits that overlapped with others", 2)


def test_fits_with_checkpoints_that_overlap(tmp_path, tried):
    def learn(seed, checkpoint=None):
        parameters = {**TDDL, "max_iter": 120, "random_state": seed, "checkpoint": checkpoint}
        model = TaskDrivenDictionaryClassifier(**parameters).fit(X, y)
        return digest(model.components_, model.coef_, np.array(model.loss_curve_))

    found = at_once([lambda seed=seed: learn(seed, tmp_path / str(seed)) for seed in range(2)])
    assert found == [learn(seed) for seed in range(2)]
    tried("fits that overlapped with others", 2)


def test_answers_while_others_are_fitted(turns_change_often, tried):
    model = fit("identity")
    expected = digest(model.predict_proba(X), model.transform(X), codes())
    done = threading.Event()
    n_answers = 0

    def answer():
        nonlocal n_answers
        while not done.is_set() or not n_answers:
            assert digest(model.predict_proba(X), model.transform(X), codes()) == expected
            n_answers += 1

    def learn():
        try:
            for name in ("augmented", "online", "identity"):
                fit(name)
        finally:
            done.set()

    at_once([answer, learn])
    tried("answers beside a fit", n_answers)


def codes():
    return sparse_encode(X[20:], X[:20], lambda1=0.05)


def test_numpy_has_one_thread_while_any_fit_goes_on_and_all_of_them_afterwards():
    """In a process of its own, where it has two."""
    found = json.loads(printed_by("blas", OPENBLAS_NUM_THREADS=2, MKL_NUM_THREADS=2))
    assert set(found["while the first goes on"]) == {1}
    assert set(found["while only the second goes on"]) == {1}
    assert found["afterwards"] == found["before"]


@pytest.mark.skipif(sys.platform != "linux", reason="systems of others crash in such children")
def test_a_child_that_is_forked_beside_a_training_has_nothing_of_it():
    found = json.loads(printed_by("forked", OPENBLAS_NUM_THREADS=2, MKL_NUM_THREADS=2))
    assert found["inside"] != found["before"]
    assert found["in the child"] == [found["before"], found["inside"], found["before"]]
    assert found["its exit code"] == 0
    assert found["afterwards"] == found["before"]


@pytest.mark.parametrize("threads", ["torch's", "python's"])
def test_a_fit_goes_on_when_the_main_thread_has_ended(threads):
    assert printed_by("outlives", threads) == "learned\n"


@pytest.mark.parametrize("name", ["augmented", pytest.param("identity", marks=pytest.mark.soak)])
def test_search_in_threads_is_that_of_one(name, tried):
    build, samples, labels = MODELS[name]
    grid = {"learning_rate": [0.001, 0.003, 0.01]}

    def search(n_jobs):
        with parallel_config(backend="threading", n_jobs=n_jobs), warnings.catch_warnings():
            return GridSearchCV(build(), grid, cv=2).fit(samples, labels)

    one, three = search(1), search(3)
    for split in range(2):
        scores = [model.cv_results_[f"split{split}_test_score"] for model in (one, three)]
        np.testing.assert_array_equal(*scores)
    assert digest_of(name, one.best_estimator_) == digest_of(name, three.best_estimator_)
    tried("fits that overlapped with others", 7)
