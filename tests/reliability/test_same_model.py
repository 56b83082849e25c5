"""The same fit gives the same model, bit for bit: again, elsewhere, and after any copy halfway."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch

import skddl

from .models import (
    MODELS,
    SOME_AND_ALL,
    begin,
    digest_of,
    elsewhere,
    fit,
    global_states,
    go_on,
    kinds,
)

pytestmark = pytest.mark.slow


def save_and_load(model, path):
    model.save(path)
    return skddl.load(path)


def joblib_and_back(model, path):
    joblib.dump(model, path, compress=3)
    return joblib.load(path)


COPIES = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "joblib": joblib_and_back,
    "save": save_and_load,
}
# SPAMS learns from one sample after the other in an order of its own, all in one call.
IN_A_STREAM = [name for name in MODELS if name != "online, spams"]


@pytest.fixture(scope="module")
def expected():
    """The digest of a fit, which is made once."""
    digests = {}

    def of(name):
        if name not in digests:
            digests[name] = digest_of(name, fit(name))
        return digests[name]

    return of


@pytest.mark.parametrize("name", kinds())
def test_a_second_fit_is_the_first_whatever_was_drawn_meanwhile(name, expected, tried):
    first = expected(name)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)
    before = global_states()
    assert digest_of(name, fit(name)) == first
    assert global_states() == before
    tried("fits repeated in one process")


@pytest.mark.parametrize("names", SOME_AND_ALL)
def test_fits_of_another_process_are_those_of_this_one(names, expected, tried):
    found = elsewhere({"fit": names[::-1]}, PYTHONHASHSEED=3)
    assert found == {name: expected(name) for name in names}
    tried("fits repeated in another process", len(names))


@pytest.mark.parametrize("name", kinds(IN_A_STREAM))
def test_a_copy_made_halfway_learns_on_alike(name, tmp_path, tried):
    halfway = begin(name)
    copies = {kind: make(halfway, tmp_path / "copy") for kind, make in COPIES.items()}
    digests = {kind: digest_of(name, go_on(name, model)) for kind, model in copies.items()}
    assert digests == dict.fromkeys(COPIES, digest_of(name, go_on(name, halfway)))
    assert digests["pickle"] == digest_of(name, go_on(name, begin(name)))
    tried("copies made halfway", len(copies))


@pytest.mark.parametrize("names", SOME_AND_ALL)
def test_a_pickle_made_halfway_learns_on_alike_in_another_process(names, tmp_path, tried):
    expected, files = {}, {}
    for number, name in enumerate(set(IN_A_STREAM) & set(names)):
        halfway = begin(name)
        files[name] = str(tmp_path / str(number))
        joblib.dump(halfway, files[name])
        expected[name] = digest_of(name, go_on(name, halfway))
    assert elsewhere({"go on": files}, PYTHONHASHSEED=4) == expected
    tried("copies made halfway", len(files))


@pytest.mark.parametrize("name", kinds(n for n in MODELS if not n.startswith("online")))
def test_a_copy_made_before_a_warm_start_learns_on_alike(name, tmp_path, tried):
    _, samples, labels = MODELS[name]
    model = fit(name).set_params(warm_start=True)
    copies = {kind: make(model, tmp_path / "copy") for kind, make in COPIES.items()}
    expected = digest_of(name, model.fit(samples, labels))
    digests = {kind: digest_of(name, other.fit(samples, labels)) for kind, other in copies.items()}
    assert digests == dict.fromkeys(COPIES, expected)
    tried("copies made before a warm start", len(copies))
