"""The public estimators behave as scikit-learn's own."""

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import (
    check_non_transformer_estimators_n_iter,
    parametrize_with_checks,
)
from torch import nn

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)

# The checks learn random labels and degenerate samples with the default learning rate.
# scikit-learn, too, ignores this warning when it checks its own estimators.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Some of the checks have samples that vary by 1 around 100.
    pytest.mark.filterwarnings("ignore:What is coded varies by"),
]


def expected_failures(estimator):
    """What scikit-learn expects of its own estimators of this kind, too."""
    return {
        "check_sample_weight_equivalence_on_dense_data": (
            "mini-batches of weighted and of repeated samples differ; scikit-learn issue 16298"
        )
    }


class RowConvolution(nn.Module):
    """Features of images of one row, as wide as the samples of a check happen to be."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 8, (1, 3), padding=(0, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bounded = x / (1 + x.square()).sqrt()  # the checks feed samples of any scale
        return self.convolution(bounded.reshape(len(x), 1, 1, -1)).flatten(1)


class RowsAreImages:
    """Takes the rows of a check, of whatever width, for images of one row of pixels."""

    def _validate_samples(self, X, y="no_validation", **options):
        X = X if hasattr(X, "shape") else np.asarray(X)
        return super()._validate_samples(X, y, **options)

    def _find_image_shape(self, shape):
        return (1, 1, shape[1]) if len(shape) == 2 else super()._find_image_shape(shape)


class TaskDrivenOnImages(RowsAreImages, TaskDrivenDictionaryClassifier):
    pass


class RegressorOnImages(RowsAreImages, TaskDrivenDictionaryRegressor):
    pass


class DeepDictionaryOnImages(RowsAreImages, DeepDictionaryClassifier):
    pass


class DeTraMeOnImages(RowsAreImages, DeTraMeClassifier):
    pass


class ConvNetOnImages(RowsAreImages, ConvNetClassifier):
    pass


def quick(estimator=TaskDrivenDictionaryClassifier, **parameters):
    """From drawn atoms: learning the first ones takes longer than all that a check is about."""
    return estimator(n_components=10, max_iter=20, init="samples", **parameters)


def quick_network(estimator, **parameters):
    return estimator(max_epochs=10, **parameters)


def quick_images(estimator, architecture="plain-3", **parameters):
    return quick_network(estimator, architecture=architecture, width=0.1, **parameters)


@parametrize_with_checks(
    [
        OnlineDictionaryLearning(max_iter=20),
        quick(),
        quick(TaskDrivenDictionaryRegressor),
        DeepDictionaryClassifier((10, 10), max_iter=20, init="samples"),
        quick_network(DeTraMeClassifier),
        quick_network(DeTraMeClassifier, dtype="float64", batch_norm=False),
        quick_images(DeTraMeOnImages),
        quick_network(ConvNetClassifier),
        quick_images(ConvNetOnImages),
    ],
    expected_failed_checks=expected_failures,
)
def test_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        OnlineDictionaryLearning(),
        OnlineDictionaryLearning(solver="fista", max_iter=20),
        OnlineDictionaryLearning(max_iter=20, sparse_output=True),
        TaskDrivenDictionaryClassifier(),
        TaskDrivenDictionaryRegressor(),
        DeepDictionaryClassifier(),
        quick(TaskDrivenOnImages, features=RowConvolution),
        quick(dtype="float64"),
        quick(sparse_output=True),
        quick(loss="squared-hinge", learning_rate=0.005),
        quick(loss="one-vs-rest-logistic"),
        quick(TaskDrivenDictionaryRegressor, dtype="float64"),
        quick(RegressorOnImages, features=RowConvolution),
        DeepDictionaryClassifier(10, max_iter=20, dtype="float64"),
        DeepDictionaryOnImages((8, 10), patch_size=1, max_iter=20),
        quick(TaskDrivenOnImages, features=RowConvolution, dtype="float64"),
        DeTraMeClassifier(),
        ConvNetClassifier(),
        quick_images(DeTraMeOnImages, dtype="float64"),
        quick_images(ConvNetOnImages, dtype="float64"),
        quick_images(DeTraMeOnImages, architecture="resnet-8"),
    ],
    expected_failed_checks=expected_failures,
)
def test_estimator_passes_the_checks_of_scikit_learn_slowly(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "estimator", [TaskDrivenDictionaryClassifier, TaskDrivenDictionaryRegressor]
)
def test_a_fit_whose_trials_find_no_step_worth_it_has_an_iteration_all_the_same(estimator):
    check_non_transformer_estimators_n_iter(estimator.__name__, estimator())
