"""Tests of the feature maps of skddl.nn."""

import numpy as np
import pytest
import torch

from skddl.nn import LeNetFeatures, LinearFeatures


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_linear_features_are_the_product_of_equation_8():
    features = LinearFeatures(12, 5)
    assert n_parameters(features) == 60
    x = torch.randn(4, 12)
    torch.testing.assert_close(features(x), x @ features.weight.T)
    torch.testing.assert_close(features(x.reshape(4, 3, 2, 2)), features(x), rtol=0, atol=0)
    assert features(x[:0]).shape == (0, 5)


def test_lenet_features_are_as_many_as_in_paper_1():
    features = LeNetFeatures((1, 28, 28))
    assert n_parameters(features) == 6532
    assert features.n_features_out == 192
    assert features(torch.zeros(3, 1, 28, 28)).shape == (3, 192)


@pytest.mark.parametrize(
    "make", [lambda: LinearFeatures(784, 196), lambda: LeNetFeatures((3, 28, 28))]
)
def test_weights_are_standard_normal_and_biases_zero(make):
    parameters = dict(make().named_parameters())
    weights = [p.detach() for name, p in parameters.items() if name.endswith("weight")]
    assert weights
    for weight in weights:
        # Five standard errors.
        assert abs(weight.mean()) < 5 / np.sqrt(weight.numel())
        assert abs(weight.std() - 1) < 5 / np.sqrt(2 * weight.numel())
    for name, parameter in parameters.items():
        if name.endswith("bias"):
            assert not parameter.any()


def test_lenet_features_are_convolutions_and_pooling_without_activation():
    features = LeNetFeatures((1, 28, 28)).double()
    x = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        features.conv1.bias.normal_()
        features.conv2.bias.normal_()
        maps = x
        for conv in (features.conv1, features.conv2):
            maps = torch.nn.functional.conv2d(maps, conv.weight, conv.bias)
            n, channels, height, width = maps.shape
            maps = maps.reshape(n, channels, height // 2, 2, width // 2, 2).amax((3, 5))
        actual = features(x)
    torch.testing.assert_close(actual, maps.flatten(1), rtol=1e-10, atol=1e-10)
    assert (actual < 0).any()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 9), (1, 15, 40), (2, 16, 16), (3, 32, 32)])
def test_lenet_features_adapt_to_the_images(shape):
    features = LeNetFeatures(shape)
    output = features(torch.randn(5, *shape))
    assert output.shape == (5, features.n_features_out)
    assert features.n_features_out >= 12
    # No feature is a constant.
    assert output.std(0).min() > 0


def test_lenet_features_of_flat_samples_are_those_of_images():
    features = LeNetFeatures((3, 10, 12), n_filters=(4, 6))
    images = torch.randn(5, 3, 10, 12)
    expected = features(images)
    torch.testing.assert_close(features(images.flatten(1)), expected, rtol=1e-5, atol=1e-5)
    assert features(images[:0]).shape == (0, features.n_features_out)
    assert (features.conv1.out_channels, features.conv2.out_channels) == (4, 6)


@pytest.mark.parametrize("shape", [(1, 7, 8), (1, 28, 4), (3, 1, 1)])
def test_images_that_are_too_small_are_refused(shape):
    with pytest.raises(ValueError, match=r"image_shape=\(.*\) is too small.*at least 8"):
        LeNetFeatures(shape)


def test_gradients_reach_every_parameter():
    for features, shape in (
        (LeNetFeatures((1, 8, 8)), (4, 64)),
        (LeNetFeatures((1, 28, 28)), (4, 784)),
        (LinearFeatures(20, 5), (4, 20)),
    ):
        features(torch.randn(shape)).square().sum().backward()
        for parameter in features.parameters():
            assert parameter.grad.isfinite().all()
            assert parameter.grad.any()
