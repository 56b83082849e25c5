"""LeNet as in MatConvNet's MNIST example: the full CNN of paper 1."""

from torch import nn

from ._network import FeatureClassifier, channels_last_, initialized


class LeNet(FeatureClassifier):
    """The network that paper 1 calls full-CNN: LeNet of MatConvNet's MNIST example.

    Convolution 5x5 with 20 filters, max-pooling 2, convolution 5x5 with 50 filters, max-pooling 2,
    a layer of 500 units, ReLU, linear classifier. The ReLU is its only one.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
        Channels, height and width of the images; height and width at least 16.
    n_classes : int
        Number of outputs.
    init_std : float or None, default=0.01
        Standard deviation of the initial weights, as in the example, for pixels from 0 to 255.
        None: He's normal distribution, for standardised pixels. Biases start at 0.

    Attributes
    ----------
    features : Sequential
        All but the classifier; their output has 500 entries.
    classifier : Linear
    min_image_size : int
        16.

    Raises
    ------
    ValueError
        If the images are too small.

    Notes
    -----
    The example trains on pixels minus the mean image, in batches of 100 for 20 epochs, at a
    learning rate of 0.001 with momentum 0.9 and weight decay 5e-4.

    References
    ----------
    Paper 1, section IV; MatConvNet, ``examples/mnist``.

    Examples
    --------
    >>> from skddl.nn import LeNet
    >>> sum(p.numel() for p in LeNet((1, 28, 28), n_classes=10).parameters())
    431080
    """

    min_image_size = 16

    def __init__(
        self, image_shape: tuple[int, int, int], *, n_classes: int, init_std: float | None = 0.01
    ) -> None:
        channels, height, width = image_shape
        if min(height, width) < self.min_image_size:
            raise ValueError(
                f"image_shape={tuple(image_shape)} is too small for LeNet: of (channels, height, "
                f"width), height and width must be at least {self.min_image_size}."
            )
        last_maps = tuple(((size - 4) // 2 - 4) // 2 for size in (height, width))
        features = nn.Sequential(
            nn.Conv2d(channels, 20, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(50, 500, (last_maps[0], last_maps[1])),
            nn.Flatten(),
            nn.ReLU(),
        )
        super().__init__(features, nn.Linear(500, n_classes))
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                initialized(layer, init_std)
        channels_last_(self)
