"""ConvNet: convolutions with pooling, for small training sets."""

from typing import Any

from torch import nn

from ._network import (
    ActivationFactory,
    FeatureClassifier,
    activation_factory,
    channels_last_,
    initialized,
    require_rates,
    scaled_width,
)

# Filters and kernel sizes.
_LAYERS = ((32, 5), (64, 3), (64, 3))
# Height and width below which maps are not pooled further.
_MIN_POOLED = 3


class ConvNet(FeatureClassifier):
    """Three convolutions, each under an activation and max-pooling, and a linear classifier.

    Kernels 5x5, 3x3 and 3x3 with 32, 64 and 64 filters; zero padding keeps the size of the maps,
    and pooling halves it, unless maps would become smaller than 3x3. On 28x28 images the features
    are 64 maps of 3x3. Neither paper has this network: it is what this package recommends under a
    dictionary.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
        Channels, height and width of the images.
    n_classes : int
        Number of outputs.
    activation : {"q-metric", "relu"} or callable, default="q-metric"
        What follows each convolution, as in :class:`PlainNet`.
    n_steps : int, default=2
        Steps of each `QMetricReLU`.
    width : float, default=1.0
        Factor on the number of filters.
    dropout : tuple of 2 floats, default=(0.0, 0.5)
        Rates of dropout at the input, and of the features.
    batch_norm : bool, default=True
        Whether a batch normalisation stands between each convolution and its activation.
    init_std : float, default=0.0
        As in :class:`QMetricReLU`.
    memory_efficient : bool, default=False
        As in :class:`QMetricReLU`.

    Attributes
    ----------
    features : Sequential
        All but the classifier, from images to (n, n_features_out).
    classifier : Linear
    min_image_size : int
        1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    The convolutions start from He's normal distribution, biases at 0, the classifier from torch's
    default. Weights are laid out channels last, which is faster on CPUs and with CUDA.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import ConvNet
    >>> net = ConvNet((1, 28, 28), n_classes=10, activation="relu")
    >>> net.features(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 576])
    >>> sum(p.numel() for p in net.parameters())
    62186
    """

    min_image_size = 1

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        n_classes: int,
        activation: str | ActivationFactory = "q-metric",
        n_steps: int = 2,
        width: float = 1.0,
        dropout: tuple[float, float] = (0.0, 0.5),
        batch_norm: bool = True,
        init_std: float = 0.0,
        memory_efficient: bool = False,
    ) -> None:
        require_rates(dropout)
        make_activation = activation_factory(
            activation, n_steps=n_steps, init_std=init_std, memory_efficient=memory_efficient
        )
        n_channels, height, width_of_maps = image_shape
        features = nn.Sequential()
        if dropout[0] > 0:
            features.append(nn.Dropout(dropout[0]))
        for n_filters, kernel_size in _LAYERS:
            n_out = scaled_width(n_filters, width)
            same_size: dict[str, Any] = {"padding": kernel_size // 2, "bias": not batch_norm}
            features.append(initialized(nn.Conv2d(n_channels, n_out, kernel_size, **same_size)))
            if batch_norm:
                features.append(nn.BatchNorm2d(n_out))
            features.append(make_activation(n_out, kernel_size))
            if min(height, width_of_maps) // 2 >= _MIN_POOLED:
                features.append(nn.MaxPool2d(2))
                height, width_of_maps = height // 2, width_of_maps // 2
            n_channels = n_out
        features.append(nn.Flatten())
        if dropout[1] > 0:
            features.append(nn.Dropout(dropout[1]))
        super().__init__(features, nn.Linear(n_channels * height * width_of_maps, n_classes))
        channels_last_(self)
