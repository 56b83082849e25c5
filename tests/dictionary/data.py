"""Learners and what they are judged by."""

import numpy as np
import torch

from skddl import OnlineDictionaryLearning
from skddl.sparse_coding import _spams, sparse_encode
from skddl.sparse_coding._solvers import SOLVERS

spams = _spams.spams
ENGINES = [name for name, solver in SOLVERS.items() if solver.is_available(torch.device("cpu"))]
LAMBDA1 = 0.15


def objective(X, dictionary, lambda1=LAMBDA1):
    """Mean of paper 1, Eq. (3), at the optimal codes."""
    codes = sparse_encode(X, dictionary, lambda1=lambda1)
    return (0.5 * ((X - codes @ dictionary) ** 2).sum(1) + lambda1 * np.abs(codes).sum(1)).mean()


def learner(**parameters):
    defaults = {
        "n_components": 40,
        "lambda1": LAMBDA1,
        "max_iter": 100,
        "batch_size": 100,
        "random_state": 0,
    }
    return OnlineDictionaryLearning(**(defaults | parameters))
