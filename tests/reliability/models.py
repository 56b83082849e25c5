"""Models of all kinds, and their bytes: ``python -m tests.reliability.models`` prints digests.

It reads from the standard input what to do, in JSON: ``{"fit": [names]}``, ``{"fit at once":
[names]}`` in threads, or ``{"go on": {name: file}}`` with pickled models.
"""

import copy
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from skddl import (
    ConvNetClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
)
from skddl.training import read_archive
from tests.saving.data import FITTED, LARGER, NETWORK, TDDL, X, make, y

from .processes import printed_by

# Beside those whose files are tested: all that draws random numbers, splits or engines of its own.
MODELS = {
    **{name: kind for name, kind in FITTED.items() if name != "normalizer"},
    "early stopping": (
        make(TaskDrivenDictionaryClassifier, **TDDL, early_stopping=True, optimizer="adam"),
        X,
        y,
    ),
    "unlabelled, early stopping": (
        make(TaskDrivenDictionaryClassifier, **TDDL, unlabeled_weight=0.5, early_stopping=True),
        X,
        np.where(np.arange(len(y)) % 3, y, -1),
    ),
    "dropout and early stopping": (
        make(DeTraMeClassifier, (9,), **NETWORK, dropout=(0.1, 0.3), early_stopping=True),
        X,
        y,
    ),
    "augmented": (
        make(
            ConvNetClassifier,
            architecture="lenet",
            **NETWORK,
            learning_rate=0.003,
            augment="shift-flip",
            dropout=0.2,
        ),
        LARGER,
        y,
    ),
    "online, drawn atoms": (make(OnlineDictionaryLearning, 9, max_iter=9, random_state=0), X, None),
    "online, fista": (
        make(OnlineDictionaryLearning, 5, solver="fista", max_iter=3, random_state=0),
        X,
        None,
    ),
    "online, spams": (
        make(OnlineDictionaryLearning, 5, solver="spams", max_iter=3, random_state=0),
        X,
        None,
    ),
}
# One of each kind: those that draw while they train, that hold out, that learn layer by layer, ...
_QUICK = (
    "identity",
    "network trained first",
    "two targets",
    "deep",
    "dropout and early stopping",
    "augmented",
    "online, drawn atoms",
)


def kinds(names=MODELS):
    """Parameters of a test: one of each kind in short, and all others in the long test."""
    return [pytest.param(n, marks=() if n in _QUICK else pytest.mark.soak) for n in names]


# Sets of names: one of each kind in short, and all of them in the long test.
SOME_AND_ALL = [
    pytest.param(_QUICK, id="some"),
    pytest.param(tuple(MODELS), id="all", marks=pytest.mark.soak),
]


def found_in(name, model):
    """All that a model holds (weights, moments, history, parameters), and its answers, by name."""
    with tempfile.TemporaryDirectory() as folder:
        # The same fits may have their checkpoints in different places.
        copy.copy(model).set_params(checkpoint=None).save(Path(folder) / "model")
        tensors, content = read_archive(Path(folder) / "model", "model")
    found = {"content": np.array(json.dumps(content))}
    found |= {name: tensors[name].numpy() for name in sorted(tensors)}
    methods = ("predict_proba", "transform", "predict")
    answers = {m: getattr(model, m)(MODELS[name][1]) for m in methods if hasattr(model, m)}
    # Objects would be told apart by where they are.
    return found | {m: a.astype("U") if a.dtype == object else a for m, a in answers.items()}


def assert_same(found, expected):
    """Bit for bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def digest(*arrays):
    total = blake2b(digest_size=16)
    for array in arrays:
        total.update(f"{array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def digest_of(name, model):
    """Of all that is `found_in` it."""
    return digest(*found_in(name, model).values())


def global_states():
    """Those of the generators of numpy and torch."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return kind, keys.tolist(), *rest, torch.get_rng_state().tolist()


def fit(name):
    build, samples, labels = MODELS[name]
    return build().fit(samples, labels)


def go_on(name, model):
    """A pass over other samples than those that came before."""
    _, samples, labels = MODELS[name]
    half = len(samples) // 2
    return model.partial_fit(samples[half:], None if labels is None else labels[half:])


def begin(name):
    """A model that has seen half of its samples, in a stream."""
    build, samples, labels = MODELS[name]
    half = len(samples) // 2
    if labels is None:
        return build().partial_fit(samples[:half])
    classes = {} if np.issubdtype(labels.dtype, np.floating) else {"classes": np.unique(labels)}
    return build().partial_fit(samples[:half], labels[:half], **classes)


def elsewhere(task, **environment):
    """What this module prints in a new process."""
    return json.loads(printed_by("models", input=json.dumps(task), **environment))


def main():
    task = json.load(sys.stdin)
    digests = {name: digest_of(name, fit(name)) for name in task.get("fit", ())}
    if at_once := task.get("fit at once"):
        with ThreadPoolExecutor(len(at_once)) as pool:
            fitted = pool.map(fit, at_once)
            digests |= {name: digest_of(name, m) for name, m in zip(at_once, fitted, strict=True)}
    for name, file in task.get("go on", {}).items():
        model = joblib.load(file)
        digests[name] = digest_of(name, go_on(name, model))
    print(json.dumps(digests))


if __name__ == "__main__":
    main()
