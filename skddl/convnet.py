"""Networks of ReLUs as a scikit-learn estimator: what the papers compare with."""

from typing import Any, ClassVar

from sklearn.utils._param_validation import StrOptions

from ._network_classifier import ARCHITECTURES, NetworkClassifier
from .nn import LeNet, PlainNet, ResNet


class ConvNetClassifier(NetworkClassifier):
    """X."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **NetworkClassifier._parameter_constraints,
        "architecture": [StrOptions({*ARCHITECTURES, "lenet"}), callable],
    }

    def _build_image_network(
        self, image_shape: tuple[int, ...], options: dict[str, Any]
    ) -> PlainNet | ResNet | LeNet:
        if self.architecture == "lenet":
            channels, height, width = image_shape
            return LeNet((channels, height, width), n_classes=options["n_classes"])
        return super()._build_image_network(image_shape, options)
