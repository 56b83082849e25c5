"""What the networks share: features under a linear classifier, activations, first weights."""

import inspect
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from .q_metric import QMetricReLU

# Makes the activation for a number of channels and the kernel size of the layer before it (None: a
# linear layer).
ActivationFactory = Callable[[int, int | None], nn.Module]


class FeatureClassifier(nn.Module):
    """Features, and a linear classifier on them: ``A^(s+1)`` of paper 2, Eq. (4).

    Parameters
    ----------
    features : Module
        Its output has shape (n_samples, n_features_out).
    classifier : Linear
    """

    def __init__(self, features: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Scores of shape (n_samples, n_classes)."""
        scores: Tensor = self.classifier(self.features(x))
        return scores


def activation_factory(activation: str | ActivationFactory, **of_metric: Any) -> ActivationFactory:
    """What makes the activations of a network; `of_metric` are parameters of `QMetricReLU`."""
    if activation == "q-metric":
        return lambda n_channels, kernel_size: QMetricReLU(
            n_channels, kernel_size=kernel_size, **of_metric
        )
    if activation == "relu":
        return lambda n_channels, kernel_size: nn.ReLU()
    if callable(activation):
        return _factory_of_users(activation)
    raise ValueError(f"activation must be 'q-metric', 'relu' or a callable, got {activation!r}.")


def _factory_of_users(make: Any) -> ActivationFactory:
    """Activations of the user's, each of them a module of its own."""
    try:
        if isinstance(make, nn.Module):
            raise TypeError("a module is not what makes one")
        inspect.signature(make).bind(1, None)
    except ValueError:  # something built in that has no signature
        pass
    except TypeError as error:
        raise TypeError(
            "activation must be a callable that takes the number of channels and the kernel size "
            f"and returns a module, such as `lambda n_channels, kernel_size: nn.GELU()`; got "
            f"{make!r}: {error}."
        ) from error

    def factory(n_channels: int, kernel_size: int | None) -> nn.Module:
        module = make(n_channels, kernel_size)
        if not isinstance(module, nn.Module):
            raise TypeError(f"activation must return a torch.nn.Module, got {module!r}.")
        # What the user returns twice would share its parameters, and the user's own be trained.
        return deepcopy(module)

    return factory


def initialized(layer: nn.Linear | nn.Conv2d, std: float | None = None) -> nn.Module:
    """The layer with normal weights, of `std` or of He et al. (2015), and biases 0."""
    if std is None:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def channels_last_(module: nn.Module) -> None:
    """Lay out weights, and so maps, channels last: half the time on CPUs, above all in pooling."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def require_one_of(name: str, value: int, allowed: tuple[int, ...]) -> None:
    """Raise ValueError if `value` is not among those that are there."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}.")


def require_rates(dropout: tuple[float, float]) -> None:
    """Raise ValueError if the rates of dropout, at the input and inside, are not in [0, 1)."""
    if len(dropout) != 2 or not all(0 <= rate < 1 for rate in dropout):
        raise ValueError(
            f"dropout must be two rates in [0, 1), at the input and inside, got {dropout!r}."
        )


def scaled_width(n_filters: int, width: float) -> int:
    """Number of filters of a network that is `width` times as wide."""
    if not width > 0:
        raise ValueError(f"width must be positive, got {width!r}.")
    return max(1, round(float(width) * n_filters))
