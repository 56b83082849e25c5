"""Quick classifiers for the tests of task-driven dictionary learning."""

import numpy as np
from torch import nn

from skddl import TaskDrivenDictionaryClassifier


def quick(**parameters):
    """A classifier that learns within a second, by Algorithm 1 of paper 1."""
    defaults = {
        "n_components": 20,
        "features": "linear",
        "lambda2": 0.0,
        "positive": False,
        "nu1": 1e-3,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "n_features_out": 32 if parameters.get("features", "linear") == "linear" else None,
        "max_iter": 12,
        "batch_size": 40,
        "random_state": 0,
    }
    return TaskDrivenDictionaryClassifier(**(defaults | parameters))


class SmallNet(nn.Module):
    """A network of the user's, with dropout."""

    def __init__(self, input_shape):
        super().__init__()
        n_features = int(np.prod(input_shape))
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(n_features, 16), nn.Tanh(), nn.Dropout(0.2)
        )

    def forward(self, x):
        return self.layers(x)


def small_net(input_shape):
    return SmallNet(input_shape)
