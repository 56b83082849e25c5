"""Models of all kinds, and what they are fitted to."""

import numpy as np

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from tests.data import small_digits

X, y = small_digits(100, n_classes=4)
IMAGES = X.reshape(-1, 1, 8, 8)
LARGER = IMAGES.repeat(2, axis=2).repeat(2, axis=3)
NAMES = np.array(["zero", "one", "two", "three"])[y]
TDDL = {"n_components": 12, "max_iter": 4, "batch_size": 50, "random_state": 0}
NETWORK = {"max_epochs": 2, "batch_size": 50, "random_state": 0}
NARROW = {**NETWORK, "width": 0.1, "image_shape": (1, 8, 8)}


def make(estimator, *parameters, **named):
    return lambda: estimator(*parameters, **named)


FITTED = {
    "names of classes": (make(TaskDrivenDictionaryClassifier, **TDDL), X, NAMES),
    "objects as classes": (
        make(TaskDrivenDictionaryClassifier, **TDDL, class_weight={"zero": 2.0}),
        X,
        NAMES.astype(object),
    ),
    "identity": (make(TaskDrivenDictionaryClassifier, features="identity", **TDDL), X, y),
    "lenet, large samples": (
        make(TaskDrivenDictionaryClassifier, features="lenet", dtype="float64", **TDDL),
        1e4 * IMAGES,
        y,
    ),
    "network trained first": (
        make(
            TaskDrivenDictionaryClassifier,
            features=DeTraMeClassifier([8], **NETWORK, activation="relu", dropout=0.1),
            **TDDL,
        ),
        X,
        y,
    ),
    "LeNet on raw pixels": (
        make(ConvNetClassifier, architecture="lenet", standardize=False, **NETWORK),
        LARGER,
        y,
    ),
    "LeNet trained first, on raw pixels": (
        make(
            TaskDrivenDictionaryClassifier,
            features=ConvNetClassifier(architecture="lenet", standardize=False, **NETWORK),
            lambda2=0.1,
            **TDDL,
        ),
        255 * LARGER,
        y,
    ),
    "one target": (make(TaskDrivenDictionaryRegressor, **TDDL), X, X[:, 20]),
    "two targets": (make(TaskDrivenDictionaryRegressor, **TDDL), X, X[:, 20:22]),
    "deep": (make(DeepDictionaryClassifier, **{**TDDL, "n_components": (8, 6)}), X, y),
    "deep, of patches": (
        make(
            DeepDictionaryClassifier,
            **{**TDDL, "n_components": (6, 5)},
            patch_size=(3, None),
            stride=(2, 1),
            lambda1=("auto", 0.05),
            image_shape=(1, 8, 8),
        ),
        X,
        y,
    ),
    "dense": (make(DeTraMeClassifier, (9, 7), **NETWORK), X, y),
    "bytes": (make(ConvNetClassifier, (9,), **NETWORK), (255 * X.clip(0, 1)).astype(np.uint8), y),
    "conv-3": (make(ConvNetClassifier, architecture="conv-3", **NARROW), X, y),
    "plain-3": (make(DeTraMeClassifier, architecture="plain-3", **NARROW), IMAGES, y),
    "resnet-8": (make(DeTraMeClassifier, architecture="resnet-8", **NARROW), X, y),
    "online": (make(OnlineDictionaryLearning, 7, init=X[:7], max_iter=5, random_state=0), X, None),
    "normalizer": (make(SampleNormalizer), X, None),
}
