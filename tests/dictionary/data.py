"""Learners and what they are judged by."""

import numpy as np

from skddl import OnlineDictionaryLearning
from skddl.sparse_coding import _spams, sparse_encode

spams = _spams.spams
LAMBDA1 = 0.15


def objective(X, dictionary, lambda1=LAMBDA1, positive=False):
    """Mean of paper 1, Eq. (3), at the optimal codes."""
    codes = sparse_encode(X, dictionary, lambda1=lambda1, positive=positive)
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
