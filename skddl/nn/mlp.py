"""The dense network of paper 2, Eq. (4)."""

from collections.abc import Sequence

from torch import nn

from ._network import (
    ActivationFactory,
    FeatureClassifier,
    activation_factory,
    initialized,
    require_rates,
)


class MLP(FeatureClassifier):
    """Multi-layer perceptron: affine maps and activations in turn (paper 2, Eq. 4).

    Parameters
    ----------
    n_features : int
        Length of the (flattened) inputs.
    hidden_layer_sizes : sequence of ints
        Number of units of each hidden layer; may be empty.
    n_classes : int
        Number of outputs.
    activation : {"q-metric", "relu"} or callable, default="q-metric"
        What follows each hidden layer. "q-metric": a dense `QMetricReLU`. A callable takes the
        number of units, and None, and returns a module.
    n_steps : int, default=3
        Steps of each `QMetricReLU`.
    dropout : tuple of 2 floats, default=(0.0, 0.0)
        Rates of dropout at the input, and after each hidden layer.
    batch_norm : bool, default=False
        Whether a batch normalisation stands between each affine map and its activation.
    init_std : float, default=0.0
        As in :class:`QMetricReLU`.
    memory_efficient : bool, default=False
        As in :class:`QMetricReLU`.

    Attributes
    ----------
    features : Sequential
        All but the classifier.
    classifier : Linear

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Hidden layers start from He's normal distribution, biases at 0, the classifier from torch's
    default.

    References
    ----------
    Paper 2, Eqs. (4) and (5).

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import MLP
    >>> net = MLP(64, (100,), n_classes=10)
    >>> net(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        *,
        n_classes: int,
        activation: str | ActivationFactory = "q-metric",
        n_steps: int = 3,
        dropout: tuple[float, float] = (0.0, 0.0),
        batch_norm: bool = False,
        init_std: float = 0.0,
        memory_efficient: bool = False,
    ) -> None:
        if any(size < 1 for size in hidden_layer_sizes):
            raise ValueError(f"hidden_layer_sizes must be at least 1, got {hidden_layer_sizes!r}.")
        require_rates(dropout)
        make_activation = activation_factory(
            activation, n_steps=n_steps, init_std=init_std, memory_efficient=memory_efficient
        )
        features = nn.Sequential(nn.Flatten())
        if dropout[0] > 0:
            features.append(nn.Dropout(dropout[0]))
        n_inputs = n_features
        for size in hidden_layer_sizes:
            features.append(initialized(nn.Linear(n_inputs, size, bias=not batch_norm)))
            if batch_norm:
                features.append(nn.BatchNorm1d(size))
            features.append(make_activation(size, None))
            if dropout[1] > 0:
                features.append(nn.Dropout(dropout[1]))
            n_inputs = size
        super().__init__(features, nn.Linear(n_inputs, n_classes))
