"""What test_processes.py runs under torchrun: each process writes down what it found.

python -m torch.distributed.run --nproc-per-node=2 tests/training/together.py FOLDER
"""

import pickle
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
from joblib import Parallel, delayed
from torch import distributed

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from skddl.training import Checkpoint
from tests.data import model_state, small_digits

X, y = small_digits(101, n_classes=3)
SOME = np.where(np.arange(len(y)) % 3, y, -1)  # with samples that have no label
# Batches that two processes cannot share evenly, and a last one of a single sample.
TDDL = {"n_components": 15, "batch_size": 25, "max_iter": 15, "random_state": 0}
NETWORK = {"batch_size": 25, "max_epochs": 3, "learning_rate": 0.05, "random_state": 0}
IMAGES = {"image_shape": (1, 8, 8), "width": 0.1, **NETWORK, "batch_size": 34}
MODELS = {
    "linear": (TaskDrivenDictionaryClassifier(**TDDL), y),
    "lenet, early stopping": (
        TaskDrivenDictionaryClassifier(
            features="lenet", image_shape=(1, 8, 8), early_stopping=True, **TDDL
        ),
        y,
    ),
    "unlabelled": (TaskDrivenDictionaryClassifier(unlabeled_weight=0.5, **TDDL), SOME),
    "network trained first": (
        TaskDrivenDictionaryClassifier(
            features=ConvNetClassifier(architecture="conv-3", **IMAGES), lambda2=0.1, **TDDL
        ),
        y,
    ),
    "sparsity": (TaskDrivenDictionaryClassifier(n_nonzero_coefs=3, **TDDL), y),
    "regressor": (TaskDrivenDictionaryRegressor(**TDDL), X[:, 20:22]),
    "deep": (DeepDictionaryClassifier(**{**TDDL, "n_components": (8, 8)}), y),
    "dense": (DeTraMeClassifier((8,), batch_norm=False, **NETWORK), y),
    "batch norms": (DeTraMeClassifier(architecture="plain-3", **IMAGES), y),
}


def fit_models():
    found = {}
    for name, (model, labels) in MODELS.items():
        model.fit(X, labels)
        found[name] = {**model_state(model), "loss": np.array(model.loss_curve_)}
        if "n_nonzero" in model.history_[-1]:
            found[name]["n_nonzero"] = np.array([e["n_nonzero"] for e in model.history_[1:]])
    return found


class Recorder:
    """A callback that counts epochs, and ends training after the second."""

    def __init__(self):
        self.n_epochs = 0

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.n_epochs += context.task_name == "epoch"
        return self.n_epochs == 2

    def teardown(self, estimator, context):
        pass


class Failing(TaskDrivenDictionaryClassifier):
    """Its fifth step fails in one process."""

    def _compute_loss(self, batch):
        if self.n_iter_ == 4 and distributed.get_rank() == 1:
            raise MemoryError("no room")
        return super()._compute_loss(batch)


def error_of(function):
    try:
        function()
    except Exception as error:
        return type(error).__name__, str(error)
    return None


def fit_alone(seed):
    return model_state(TaskDrivenDictionaryClassifier(**{**TDDL, "random_state": seed}).fit(X, y))


WRITE = Checkpoint.write


def write_at_the_fourth_step(checkpoint, module, optimizer, state, early_stopping):
    if state.iteration == 4:
        WRITE(checkpoint, module, optimizer, state, early_stopping)


def main(folder):
    warnings.simplefilter("error")
    found = {"models": fit_models()}
    rank = distributed.get_rank()
    quick = TaskDrivenDictionaryClassifier(**TDDL)

    unseeded = TaskDrivenDictionaryClassifier(**{**TDDL, "random_state": None})
    found["no seed"] = model_state(unseeded.fit(X, y))
    small = 10 * (1 + rank)
    found["shapes"] = error_of(lambda: quick.fit(X[small:], y[small:]))
    found["samples"] = error_of(lambda: quick.fit(X + rank, y))
    found["parameters"] = error_of(
        lambda: TaskDrivenDictionaryClassifier(**{**TDDL, "nu1": 0.1 + rank}).fit(X, y)
    )
    broken = X.copy()
    broken[0, 0] = np.nan if rank else 0.0
    found["one fails"] = error_of(lambda: quick.fit(broken, y))
    found["after errors"] = model_state(quick.fit(X, y))

    recorder = Recorder()
    if hasattr(quick, "set_callbacks"):
        model = TaskDrivenDictionaryClassifier(**{**TDDL, "max_iter": 100})
        model.set_callbacks(recorder)
        model.fit(X, y)
        found["callbacks"] = recorder.n_epochs, model.n_iter_

    checkpoint = {**TDDL, "checkpoint": folder / "checkpoint"}
    first = TaskDrivenDictionaryClassifier(**checkpoint).fit(X, y)
    again = TaskDrivenDictionaryClassifier(**checkpoint).fit(X, y)
    found["checkpoint"] = model_state(first), model_state(again)
    distributed.barrier()

    (folder / f"{rank}").mkdir()
    elsewhere = {**TDDL, "checkpoint": folder / f"{rank}" / "checkpoint"}
    TaskDrivenDictionaryClassifier(**elsewhere).fit(X, y)
    found["checkpoint of one"] = error_of(
        lambda: TaskDrivenDictionaryClassifier(**elsewhere).fit(X, y)
    )

    # A file of the midst of a training that draws random numbers.
    dropping = {**NETWORK, "dropout": 0.5, "checkpoint": folder / "dropping"}
    with (
        patch.object(Checkpoint, "is_due", return_value=True),
        patch.object(Checkpoint, "write", autospec=True, side_effect=write_at_the_fourth_step),
    ):
        whole = DeTraMeClassifier((8,), **dropping).fit(X, y)
    distributed.barrier()
    found["dropout"] = (
        model_state(whole),
        model_state(DeTraMeClassifier((8,), **dropping).fit(X, y)),
    )

    found["joblib"] = Parallel(2)(delayed(fit_alone)(rank) for _ in range(2))

    # At last, since nothing can be trained together after it.
    found["fails in training"] = error_of(lambda: Failing(**TDDL).fit(X, y))
    found["after that"] = error_of(lambda: quick.fit(X, y))
    with open(folder / f"{rank}.pickle", "wb") as file:
        pickle.dump(found, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
