"""ResNet: the residual networks of paper 2 for small images."""

import torch
from torch import Tensor, nn

from ._network import (
    ActivationFactory,
    FeatureClassifier,
    activation_factory,
    channels_last_,
    initialized,
    require_one_of,
    require_rates,
    scaled_width,
)


class ResNet(FeatureClassifier):
    """Residual network of ``6 n + 2`` layers whose blocks have the activation of paper 2 inside.

    A 3x3 convolution of 16 filters, three stages of n blocks with 16, 32 and 64 filters, average
    pooling, linear classifier. A block is two 3x3 convolutions, added to its input; the second and
    the third stage start with stride 2. Only the activation *inside* the block is replaced, as the
    paper says: a ReLU stays after the first convolution and after each addition.

    Parameters
    ----------
    depth : {8, 20, 56, 110}
        Number of layers: n is 1, 3, 9 or 18.
    n_classes : int
        Number of outputs.
    in_channels : int, default=3
        Number of channels of the images.
    activation : {"q-metric", "relu"} or callable, default="q-metric"
        What stands between the two convolutions of a block; as in :class:`PlainNet`.
    n_steps : int, default=2
        Steps of each `QMetricReLU`.
    width : float, default=1.0
        Factor on the number of filters of all layers.
    dropout : tuple of 2 floats, default=(0.0, 0.0)
        Rates of dropout at the input, and before each stage with a stride.
    batch_norm : bool, default=True
        Whether a batch normalisation follows each convolution.
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
        The smallest height and width that images may have: 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Where the number of maps grows, the shortcut takes every second pixel and fills up with maps of
    zeros: it has no parameters. The convolutions start from He's normal distribution, the
    classifier from torch's default. Weights are laid out channels last.

    References
    ----------
    Paper 2, section 4. K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image
    recognition", CVPR 2016, section 4.2.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import ResNet
    >>> net = ResNet(20, n_classes=10, activation="relu")
    >>> sum(p.numel() for p in net.parameters())
    269722
    >>> ResNet(8, n_classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    min_image_size = 1

    def __init__(
        self,
        depth: int,
        *,
        n_classes: int,
        in_channels: int = 3,
        activation: str | ActivationFactory = "q-metric",
        n_steps: int = 2,
        width: float = 1.0,
        dropout: tuple[float, float] = (0.0, 0.0),
        batch_norm: bool = True,
        init_std: float = 0.0,
        memory_efficient: bool = False,
    ) -> None:
        require_one_of("depth", depth, (8, 20, 56, 110))
        require_rates(dropout)
        make_activation = activation_factory(
            activation, n_steps=n_steps, init_std=init_std, memory_efficient=memory_efficient
        )
        n_channels = scaled_width(16, width)
        features = nn.Sequential()
        if dropout[0] > 0:
            features.append(nn.Dropout(dropout[0]))
        features.extend([_convolution(in_channels, n_channels, 1, batch_norm), nn.ReLU()])
        for stage in range(3):
            n_filters = scaled_width(16 * 2**stage, width)
            if stage > 0 and dropout[1] > 0:
                features.append(nn.Dropout(dropout[1]))
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                activation_inside = make_activation(n_filters, 3)
                features.append(
                    _Block(n_channels, n_filters, stride, batch_norm, activation_inside)
                )
                n_channels = n_filters
        features.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
        super().__init__(features, nn.Linear(n_channels, n_classes))
        channels_last_(self)


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(
        self, n_channels: int, n_filters: int, stride: int, batch_norm: bool, activation: nn.Module
    ) -> None:
        super().__init__()
        self.stride = stride
        self.n_new_maps = n_filters - n_channels
        self.branch = nn.Sequential(
            _convolution(n_channels, n_filters, stride, batch_norm),
            activation,
            _convolution(n_filters, n_filters, 1, batch_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.n_new_maps:
            before = self.n_new_maps // 2
            maps = (before, self.n_new_maps - before)
            shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, *maps))
        return torch.relu(self.branch(x) + shortcut)


def _convolution(n_channels: int, n_filters: int, stride: int, batch_norm: bool) -> nn.Module:
    """3x3, followed by a batch normalisation where one is asked for."""
    convolution = initialized(nn.Conv2d(n_channels, n_filters, 3, stride, 1, bias=not batch_norm))
    return nn.Sequential(convolution, nn.BatchNorm2d(n_filters)) if batch_norm else convolution
