"""Feature maps under the dictionary: the linear transform and the small CNN of paper 1."""

import torch
from torch import Tensor, nn

from ._network import channels_last_


class LinearFeatures(nn.Module):
    """The linear transform ``Z x`` of paper 1 (Eq. 8), or ``Z x + b``.

    Parameters
    ----------
    n_features : int
        Length of the (flattened) inputs.
    n_features_out : int
        Length of the outputs.
    bias : bool, default=False
        Whether to add b. Paper 1 does not. Without it features and sparse codes are odd functions
        of x: no class can lie between two others.

    Attributes
    ----------
    weight : Parameter of shape (n_features_out, n_features)
        Z, initialised with N(0, 1) entries (paper 1, section IV).
    bias : Parameter of shape (n_features_out,) or None
        b, initialised likewise: as if each sample had one more feature, which is 1.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import LinearFeatures
    >>> features = LinearFeatures(784, 196)
    >>> sum(p.numel() for p in features.parameters())
    153664
    >>> features(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 196])
    """

    def __init__(self, n_features: int, n_features_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_features_out, n_features))
        self.bias = nn.Parameter(torch.randn(n_features_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape (n_samples, n_features_out)."""
        return nn.functional.linear(torch.flatten(x, 1), self.weight, self.bias)


class LeNetFeatures(nn.Module):
    """The first four layers of LeNet, as paper 1 uses them (section IV).

    Convolution 5x5 with 20 filters, max-pooling 2, convolution 5x5 with 12 filters, max-pooling 2;
    no activation function. On 28x28 images that makes 12 maps of 4x4, 192 features, with 6,532
    parameters. Smaller images keep maps of at least 4x4, too: below 28 pixels the kernels are 3x3,
    with as much zero padding as keeps the size of the maps; below 16 the second pooling is left
    out. So 8x8 images have 192 features as well.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
        Channels, height and width of the inputs; height and width at least 8.
    n_filters : tuple of 2 ints, default=(20, 12)
        Number of filters of the two convolutions.

    Attributes
    ----------
    conv1, conv2 : Conv2d
        Initialised with N(0, 1) weights and zero biases (paper 1, section IV).
    n_features_out : int
        Length of the outputs.

    Raises
    ------
    ValueError
        If the images are smaller than 8x8.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import LeNetFeatures
    >>> features = LeNetFeatures((1, 28, 28))
    >>> sum(p.numel() for p in features.parameters())
    6532
    >>> features(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 192])
    """

    def __init__(
        self, image_shape: tuple[int, int, int], *, n_filters: tuple[int, int] = (20, 12)
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < 8:
            raise ValueError(
                f"image_shape={tuple(image_shape)} is too small for LeNet features: of (channels, "
                "height, width), height and width must be at least 8."
            )
        side = min(height, width)
        kernel_size, padding = (5, 0) if side >= 28 else (3, 1)
        self.image_shape = tuple(image_shape)
        self.conv1 = nn.Conv2d(channels, n_filters[0], kernel_size, padding=padding)
        self.conv2 = nn.Conv2d(n_filters[0], n_filters[1], kernel_size, padding=padding)
        self.pool1 = nn.MaxPool2d(2)
        self.pool2 = nn.MaxPool2d(2) if side >= 16 else nn.Identity()
        for conv in (self.conv1, self.conv2):
            assert conv.bias is not None
            nn.init.normal_(conv.weight)
            nn.init.zeros_(conv.bias)
        channels_last_(self)
        with torch.no_grad():
            self.n_features_out = self(torch.zeros(1, *image_shape)).shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape (n_samples, n_features_out) of images, flattened or not."""
        x = torch.flatten(x, 1).unflatten(1, self.image_shape)
        return self.pool2(self.conv2(self.pool1(self.conv1(x)))).flatten(1)
