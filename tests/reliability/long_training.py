"""A long training, watched: ``python -m tests.reliability.long_training NAME N`` takes N steps.

It prints, in JSON, the resident memory in MB again and again, from the first step to the last, the
number of steps and the seconds, and fails if anything that was learned is not finite.
"""

import json
import sys
import tempfile
import threading
import time
from itertools import cycle
from pathlib import Path

import numpy as np

from skddl import DeTraMeClassifier, OnlineDictionaryLearning, TaskDrivenDictionaryClassifier
from tests.data import assert_finite, small_digits

X, y = small_digits(500)
TDDL = {
    "n_components": 15,
    "features": "linear",
    "n_features_out": 12,
    "optimizer": "sgd",
    "learning_rate": 0.01,
}
SMALL_BATCHES = {"batch_size": 10, "random_state": 0}
PASS = len(X) // 10


def task_driven(n_steps, **more):
    model = TaskDrivenDictionaryClassifier(**TDDL, **SMALL_BATCHES, max_iter=n_steps, **more)
    return model.fit(X, y)


def held_out_with_checkpoint(n_steps):
    with tempfile.TemporaryDirectory() as folder:
        stopping = {"early_stopping": True, "n_iter_no_change": n_steps}
        return task_driven(n_steps, checkpoint=Path(folder) / "checkpoint", **stopping)


def detrame(n_steps):
    epochs = {"max_epochs": n_steps // PASS, "learning_rate": 0.01}
    return DeTraMeClassifier((8,), **epochs, **SMALL_BATCHES).fit(X, y)


def online(n_steps):
    return OnlineDictionaryLearning(10, max_iter=n_steps, **SMALL_BATCHES).fit(X)


def stream(n_steps):
    """Of chunks that are 10 steps each."""
    model = TaskDrivenDictionaryClassifier(**TDDL, **SMALL_BATCHES)
    for first in _chunks(n_steps, 100):
        chunk = slice(first, first + 100)
        model.partial_fit(X[chunk], y[chunk], classes=np.unique(y))
    return model


def stream_online(n_steps):
    """Of chunks that are 5 steps each."""
    model = OnlineDictionaryLearning(10, **SMALL_BATCHES)
    for first in _chunks(n_steps, 50):
        model.partial_fit(X[first : first + 50])
    return model


def _chunks(n_steps, size):
    starts = cycle(range(0, len(X), size))
    return (next(starts) for _ in range(n_steps * 10 // size))


TRAININGS = {
    training.__name__: training
    for training in (task_driven, held_out_with_checkpoint, detrame, online, stream, stream_online)
}


def resident():
    """MB of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def watch(training, n_steps):
    """What a training gives, and the memory meanwhile."""
    looks, over = [resident()], threading.Event()

    def look():
        while not over.wait(0.05):
            looks.append(resident())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        return training(n_steps), looks
    finally:
        over.set()
        watcher.join()


def main():
    name, n_steps = sys.argv[1], int(sys.argv[2])
    TRAININGS[name](100)  # imports are not what is watched
    start = time.perf_counter()
    model, looks = watch(TRAININGS[name], n_steps)
    seconds = time.perf_counter() - start
    assert_finite([model, model.transform(X)])
    print(json.dumps({"seconds": seconds, "MB": looks, "steps": model.n_iter_}))


if __name__ == "__main__":
    main()
