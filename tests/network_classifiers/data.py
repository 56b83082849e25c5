"""Quick networks for the tests of DeTraMeClassifier and ConvNetClassifier."""

from skddl import ConvNetClassifier, DeTraMeClassifier

SHAPE = (1, 8, 8)
# What is needed for a network of each kind, for 8x8 images.
KINDS = {
    "dense": {"hidden_layer_sizes": (20, 15)},
    "plain": {"architecture": "plain-3", "image_shape": SHAPE, "width": 0.1},
    "residual": {"architecture": "resnet-8", "image_shape": SHAPE, "width": 0.5},
}


def quick(kind="dense", *, estimator=DeTraMeClassifier, **parameters):
    """A classifier that learns within a second."""
    defaults = {"max_epochs": 5, "batch_size": 40, "random_state": 0}
    return estimator(**(KINDS[kind] | defaults | parameters))


def quick_twin(kind="dense", **parameters):
    """The same with ReLUs."""
    return quick(kind, estimator=ConvNetClassifier, **parameters)
