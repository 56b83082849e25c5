"""PlainNet: the plain convolutional networks of paper 2, after All-CNN-C."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ._inputs import require_tensor
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


class PlainLayer(NamedTuple):
    """A convolution: square kernels, zero padding on all sides."""

    n_filters: int
    kernel_size: int
    stride: int
    padding: int


def _plain_layers(per_stage: int) -> list[PlainLayer]:
    """The convolutions of a network of three stages of `per_stage` layers, but for the last one.

    Those of three per stage are All-CNN-C (Springenberg et al., 2015).
    """
    layers = []
    for n_filters in (96, 192):
        layers += (per_stage - 1) * [PlainLayer(n_filters, 3, 1, 1)]
        layers += [PlainLayer(n_filters, 3, 2, 1)]
    # In the third stage, the last 3x3 convolution has no padding; 1x1 convolutions follow it.
    last_stage = [PlainLayer(192, 3, 1, 1), PlainLayer(192, 3, 1, 0), PlainLayer(192, 1, 1, 0)]
    return layers + {1: [], 2: last_stage[1:2], 3: last_stage[1:], 4: last_stage}[per_stage]


_LAYERS = {3 * per_stage: _plain_layers(per_stage) for per_stage in (1, 2, 3, 4)}


class PlainNet(FeatureClassifier):
    """Convolutions, one after the other, each under an activation; the PlainNets of paper 2.

    With 9 layers it is All-CNN-C: three 3x3 convolutions of 96 filters, three of 192, the third of
    either with stride 2; one of 192 without padding, one 1x1 of 192, one 1x1 to the classes,
    average pooling. The paper does not describe the other depths. Here they have a third of their
    layers in each stage: 3 layers are the two convolutions with stride 2 and the classifier.

    Parameters
    ----------
    depth : {3, 6, 9, 12}
        Number of layers, the classifier included.
    n_classes : int
        Number of outputs.
    in_channels : int, default=3
        Number of channels of the images.
    activation : {"q-metric", "relu"} or callable, default="q-metric"
        What follows each convolution but the last. "q-metric": a `QMetricReLU` whose kernels are
        as large as those of the convolution before it. A callable takes the number of channels and
        the kernel size of that convolution, and returns a module.
    n_steps : int, default=2
        Steps of each `QMetricReLU`.
    width : float, default=1.0
        Factor on the number of filters of all layers.
    dropout : tuple of 2 floats, default=(0.2, 0.5)
        Rates of dropout at the input, and after each layer with a stride, as in All-CNN-C.
    batch_norm : bool, default=False
        Whether a batch normalisation stands between each convolution and its activation.
    dropout_first : bool, default=False
        Whether dropout comes before the activation of its layer instead of after. A ReLU does not
        mind the order; a metric does.
    init_std : float, default=0.0
        As in :class:`QMetricReLU`.
    layers : sequence of (n_filters, kernel_size, stride, padding), default=None
        Convolutions to take instead of those described above; one less than `depth`.
    memory_efficient : bool, default=False
        As in :class:`QMetricReLU`.

    Attributes
    ----------
    features : Sequential
        All but the classifier, from images to (n, n_features_out).
    classifier : Linear
        The 1x1 convolution to the classes, which comes after the pooling here: it is linear, so
        that the order does not matter.
    min_image_size : int
        The smallest height and width that images may have.

    Raises
    ------
    ValueError
        If a parameter is out of range, or images are too small.

    Notes
    -----
    The convolutions start from He's normal distribution, biases at 0, the classifier from torch's
    default. Weights are laid out channels last, which is faster on CPUs and with CUDA.

    References
    ----------
    Paper 2, section 4. J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller, "Striving for
    simplicity: the all convolutional net", ICLR workshop 2015.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import PlainNet
    >>> net = PlainNet(9, n_classes=10, activation="relu")
    >>> sum(p.numel() for p in net.parameters())
    1369738
    >>> net = PlainNet(9, n_classes=10)  # DeTraMe-Net 9
    >>> sum(p.numel() for p in net.parameters())
    2985034
    >>> net.eval()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int,
        *,
        n_classes: int,
        in_channels: int = 3,
        activation: str | ActivationFactory = "q-metric",
        n_steps: int = 2,
        width: float = 1.0,
        dropout: tuple[float, float] = (0.2, 0.5),
        batch_norm: bool = False,
        dropout_first: bool = False,
        init_std: float = 0.0,
        layers: Sequence[tuple[int, int, int, int]] | None = None,
        memory_efficient: bool = False,
    ) -> None:
        require_one_of("depth", depth, tuple(_LAYERS))
        require_rates(dropout)
        chosen = _LAYERS[depth] if layers is None else [PlainLayer(*layer) for layer in layers]
        if len(chosen) != depth - 1:
            raise ValueError(
                f"layers must be {depth - 1} convolutions for depth={depth}, got {len(chosen)}."
            )
        if any(min(layer[:3]) < 1 or layer.padding < 0 for layer in chosen):
            raise ValueError(
                "layers must have n_filters, kernel_size and stride of at least 1, and padding of "
                f"at least 0, got {layers!r}."
            )
        make_activation = activation_factory(
            activation, n_steps=n_steps, init_std=init_std, memory_efficient=memory_efficient
        )
        features = nn.Sequential()
        if dropout[0] > 0:
            features.append(nn.Dropout(dropout[0]))
        n_channels = in_channels
        for layer in chosen:
            n_filters = scaled_width(layer.n_filters, width)
            sizes = (layer.kernel_size, layer.stride, layer.padding)
            convolution = nn.Conv2d(n_channels, n_filters, *sizes, bias=not batch_norm)
            features.append(initialized(convolution))
            if batch_norm:
                features.append(nn.BatchNorm2d(n_filters))
            after = [make_activation(n_filters, layer.kernel_size)]
            if dropout[1] > 0 and layer.stride > 1:
                after.insert(0 if dropout_first else 1, nn.Dropout(dropout[1]))
            features.extend(after)
            n_channels = n_filters
        features.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
        super().__init__(features, nn.Linear(n_channels, n_classes))
        self.min_image_size = _min_image_size(chosen)
        channels_last_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of shape (n, n_classes) of images of shape (n, in_channels, H, W)."""
        require_tensor(self, x)
        if x.ndim == 4 and min(x.shape[2:]) < self.min_image_size:
            raise ValueError(
                f"Images of shape {tuple(x.shape[1:])} are too small for this network: height and "
                f"width must be at least {self.min_image_size}."
            )
        return super().forward(x)


def _min_image_size(layers: Sequence[PlainLayer]) -> int:
    """The smallest input of which the last convolution leaves a pixel."""
    size = 1
    for layer in reversed(layers):
        size = max(1, (size - 1) * layer.stride + layer.kernel_size - 2 * layer.padding)
    return size
