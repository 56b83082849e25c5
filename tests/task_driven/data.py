"""Small digits and quick classifiers for the tests of task-driven dictionary learning."""

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier


def small_digits(n_samples=200, n_classes=10, dtype=np.float32):
    """Digits of unit norm, float32, the first samples of the first classes."""
    X, y = load_digits(return_X_y=True)
    X, y = X[y < n_classes][:n_samples], y[y < n_classes][:n_samples]
    return SampleNormalizer().fit_transform(X.astype(dtype)), y


def quick(**parameters):
    """A classifier that learns within a second."""
    defaults = {
        "n_components": 20,
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


def model_state(model):
    """All parameters of a fitted classifier, by name."""
    return {name: value.numpy().copy() for name, value in model.module_.state_dict().items()}


def assert_same_model(first, second):
    """Bit for bit."""
    first, second = model_state(first), model_state(second)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
