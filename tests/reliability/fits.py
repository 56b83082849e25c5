"""Fits with checkpoints, and the processes in which they are killed.

The processes are forked from one that has imported everything, see warm.py: that takes seconds.
"""

import multiprocessing
import pickle
import time
from pathlib import Path

import torch

from skddl.training import _checkpoint

from .models import MODELS, found_in

# Of the kinds of models those that learn in different ways.
FITS = (
    "identity",
    "lenet, large samples",
    "unlabelled, early stopping",
    "network trained first",
    "two targets",
    "dropout and early stopping",
    "augmented",
    "plain-3",
    "deep",
    "online, drawn atoms",
)
# Enough steps to be killed between two checkpoints.
LENGTHS = {"max_iter": 40, "max_epochs": 20}


def make(name, **parameters):
    """The estimator of a fit, and what it learns from."""
    build, *data = MODELS[name]
    model = build()
    lengths = {key: value for key, value in LENGTHS.items() if hasattr(model, key)}
    return model.set_params(**lengths, **parameters), data


def fit_in_this_process(name, folder, steps_between=3, prepare=None, arguments=()):
    """Fit with a checkpoint in `folder`; what was found, and how long it took, goes there, too."""
    torch.set_num_threads(1)
    _checkpoint._STEPS_BETWEEN = steps_between
    if prepare is not None:
        prepare(*arguments)
    model, data = make(name, checkpoint=folder / "fit.checkpoint")
    begin = time.monotonic()
    model.fit(*data)
    with open(folder / "found.pickle", "wb") as file:
        pickle.dump((found_in(name, model), time.monotonic() - begin), file)


def start(function, *arguments):
    """Call `function` in a process of its own, forked from one that is warm."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.warm"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def found(folder):
    """What `fit_in_this_process` has written: what was found, and the seconds."""
    return pickle.loads((Path(folder) / "found.pickle").read_bytes())
