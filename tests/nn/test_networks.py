"""The networks of paper 2, dense, plain and residual, and the LeNet of paper 1."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from skddl.nn import MLP, ConvNet, LeNet, PlainNet, QMetricReLU, ResNet
from skddl.training import project_


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def randomize_metrics(network):
    """Metrics that differ from ReLUs, as training leaves them."""
    for module in network.modules():
        if isinstance(module, QMetricReLU):
            nn.init.normal_(module.weight, std=0.02)
            module.project_()


def test_plain_net_9_has_the_parameters_of_paper_2():
    """1.4M for DDL 9, whose layout is that of the ReLU network, and 3.0M for DeTraMe-Net 9."""
    assert count(PlainNet(9, n_classes=10, activation="relu")) == 1_369_738
    convolutions = [(3, 96), (96, 96), (96, 96), (96, 192), (192, 192), (192, 192), (192, 192)]
    expected = sum(9 * a * b + b + 9 * b * b + 2 * b for a, b in convolutions)
    expected += 192 * 192 + 192 + 192 * 192 + 2 * 192 + 192 * 10 + 10
    assert count(PlainNet(9, n_classes=10)) == expected == 2_985_034
    # With 1x1 metrics everywhere it would be 1.58M, with 3x3 everywhere 3.28M.
    assert round(expected / 1e6, 1) == 3.0


@pytest.mark.parametrize(
    ("depth", "expected"), [(8, 75_290), (20, 269_722), (56, 853_018), (110, 1_727_962)]
)
def test_residual_networks_have_the_parameters_of_he_et_al(depth, expected):
    """0.27M, 0.85M and 1.7M in table 6 of He et al. for 20, 56 and 110 layers."""
    assert count(ResNet(depth, n_classes=10, activation="relu")) == expected
    n_blocks = (depth - 2) // 6
    metrics = n_blocks * sum(9 * k * k + 2 * k for k in (16, 32, 64))
    assert count(ResNet(depth, n_classes=10)) == expected + metrics


def test_lenet_has_the_parameters_of_matconvnet_s_example():
    network = LeNet((1, 28, 28), n_classes=10)
    assert count(network) == 431_080
    assert sum(isinstance(module, nn.ReLU) for module in network.modules()) == 1
    assert network.features(torch.zeros(2, 1, 28, 28)).shape == (2, 500)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    ("image_shape", "n_features"),
    [((1, 28, 28), 64 * 9), ((3, 32, 32), 64 * 16), ((1, 8, 8), 64 * 16), ((2, 5, 11), 64 * 55)],
)
def test_conv_net_pools_maps_but_not_below_3x3(image_shape, n_features):
    network = ConvNet(image_shape, n_classes=4, activation="relu")
    assert network.features(torch.zeros(2, *image_shape)).shape == (2, n_features)
    assert network(torch.zeros(2, *image_shape)).shape == (2, 4)


def test_conv_net_with_metrics_starts_as_the_one_with_relus():
    shape, options = (1, 12, 12), {"n_classes": 3, "dropout": (0, 0)}
    torch.manual_seed(0)
    network = ConvNet(shape, **options)
    torch.manual_seed(0)
    twin = ConvNet(shape, activation="relu", **options)
    assert count(network) > count(twin)
    x = torch.randn(5, *shape)
    torch.testing.assert_close(network.eval()(x), twin.eval()(x))


@pytest.mark.parametrize("dropout", [(0.5,), (1.0, 0.0), (-0.1, 0.0)])
def test_conv_net_refuses_what_is_no_rate(dropout):
    with pytest.raises(ValueError, match="dropout"):
        ConvNet((1, 12, 12), n_classes=3, dropout=dropout)


def convolutions(network):
    """(channels in, channels out, kernel size, stride) in order."""
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    ]


def test_plain_net_9_is_all_cnn_c():
    network = PlainNet(9, n_classes=10, activation="relu")
    assert convolutions(network) == [
        *((3, 96, 3, 1), (96, 96, 3, 1), (96, 96, 3, 2)),
        *((96, 192, 3, 1), (192, 192, 3, 1), (192, 192, 3, 2)),
        *((192, 192, 3, 1), (192, 192, 1, 1)),
    ]
    rates = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.2, 0.5, 0.5]
    maps = network.features[:-2](torch.zeros(1, 3, 32, 32))
    assert maps.shape == (1, 192, 6, 6)  # the third 3x3 stage has no padding


@pytest.mark.parametrize("depth", [3, 6, 9, 12])
def test_pooling_and_classifier_commute(depth):
    """All-CNN-C has a 1x1 convolution to the classes, and pools what it gives."""
    network = PlainNet(depth, n_classes=7, width=0.1).eval()
    randomize_metrics(network)
    images = torch.randn(2, 3, 20, 20)
    maps = network.features[:-2](images)
    convolution = network.classifier.weight[:, :, None, None]
    scores = nn.functional.conv2d(maps, convolution, network.classifier.bias).mean((2, 3))
    torch.testing.assert_close(network(images), scores, rtol=1e-4, atol=1e-5)
    assert len(convolutions(network)) == depth - 1


@pytest.mark.parametrize("make", [PlainNet, ResNet])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_images_of_any_number_of_channels_are_scored(make, channels, side, batch_norm):
    depths = (3, 6, 9, 12) if make is PlainNet else (8, 20)
    for depth in depths:
        network = make(depth, n_classes=4, in_channels=channels, width=0.1, batch_norm=batch_norm)
        images = torch.randn(3, channels, side, side)
        features = network.eval().features(images)
        assert features.shape == (3, network.classifier.in_features)
        assert network(images).shape == (3, 4)
        assert torch.equal(network(images), network.classifier(features))
        has_norm = any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
        assert has_norm == batch_norm


NETWORKS = {
    "plain": lambda **options: PlainNet(6, n_classes=4, width=0.1, **options),
    "residual": lambda **options: ResNet(8, n_classes=4, width=0.5, **options),
    "dense": lambda **options: MLP(3 * 12 * 12, (9, 7), n_classes=4, **options),
}


@pytest.fixture(params=NETWORKS)
def make_network(request):
    return NETWORKS[request.param]


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_before_training_the_network_is_its_relu_twin(make_network, n_steps, batch_norm):
    options = {"batch_norm": batch_norm, "dropout": (0.0, 0.0)}
    torch.manual_seed(0)
    network = make_network(n_steps=n_steps, **options)
    torch.manual_seed(0)
    twin = make_network(activation="relu", **options)
    # The same layout: what the twin has, the network has, with the same values.
    shared = network.state_dict()
    for name, value in twin.state_dict().items():
        assert torch.equal(shared[name], value)
    images = torch.randn(4, 3, 12, 12)
    assert torch.equal(network(images), twin(images))


def test_only_the_activation_inside_a_block_is_replaced():
    network = ResNet(20, n_classes=4, width=0.25)
    metrics = [m for m in network.modules() if isinstance(m, QMetricReLU)]
    assert [(len(m.h), m.kernel_size) for m in metrics] == 3 * [(4, 3)] + 3 * [(8, 3)] + 3 * [
        (16, 3)
    ]
    # One between the two convolutions of each block.
    for block in network.features[2:-2]:
        assert isinstance(block.branch[1], QMetricReLU)
    # The output of a block is never negative: a ReLU follows the addition.
    assert network.features[:-2](torch.randn(2, 3, 16, 16)).min() == 0


def test_shortcuts_have_no_parameters_and_take_every_second_pixel():
    network = ResNet(8, n_classes=4, activation="relu", batch_norm=False)
    block = network.features[3]
    with torch.no_grad():
        for convolution in (block.branch[0], block.branch[2]):
            convolution.weight.zero_()
    maps = torch.rand(2, 16, 7, 7)
    output = block(maps)
    assert output.shape == (2, 32, 4, 4)
    assert torch.equal(output[:, 8:24], maps[:, :, ::2, ::2])
    assert not output[:, :8].any()
    assert not output[:, 24:].any()


def test_metrics_have_the_kernels_of_the_convolutions_before_them():
    network = PlainNet(9, n_classes=4, width=0.1)
    sizes = [m.kernel_size for m in network.modules() if isinstance(m, QMetricReLU)]
    assert sizes == [3, 3, 3, 3, 3, 3, 3, 1]


def test_activation_may_be_made_by_the_user(make_network):
    seen = []

    def activation(n_channels, kernel_size):
        seen.append((n_channels, kernel_size))
        return QMetricReLU(n_channels, kernel_size=kernel_size and 1, n_steps=1)

    network = make_network(activation=activation)
    assert len(seen) == sum(isinstance(m, QMetricReLU) for m in network.modules()) > 0
    assert network(torch.randn(2, 3, 12, 12)).shape == (2, 4)


@pytest.mark.parametrize("dropout_first", [False, True])
def test_place_of_dropout(dropout_first):
    network = PlainNet(3, n_classes=4, dropout=(0.0, 0.3), dropout_first=dropout_first)
    kinds = [type(module) for module in network.features[1:3]]
    expected = [QMetricReLU, nn.Dropout]
    assert kinds == (expected[::-1] if dropout_first else expected)


def test_initial_metrics_and_number_of_steps_reach_every_activation(make_network):
    network = make_network(n_steps=4, init_std=0.1, memory_efficient=True)
    for module in network.modules():
        if isinstance(module, QMetricReLU):
            assert module.n_steps == 4
            assert module.memory_efficient
            assert module.weight.std().item() == pytest.approx(0.1, rel=0.5)


def test_modules_of_the_user_are_neither_trained_nor_shared_nor_started_anew(make_network):
    own = nn.Sequential(nn.ReLU(), nn.Linear(3, 3))
    before = own[1].weight.detach().clone()
    network = make_network(activation=lambda n_channels, kernel_size: own)
    copies = [m for m in network.modules() if isinstance(m, nn.Linear) and m.in_features == 3]
    assert len(copies) > 1
    assert len({id(m.weight) for m in [*copies, own[1]]}) == len(copies) + 1
    assert all(torch.equal(m.weight, before) for m in copies)


def test_layers_of_one_s_own():
    layers = [(8, 5, 2, 0), (12, 3, 1, 1)]
    network = PlainNet(3, n_classes=4, layers=layers, dropout=(0.0, 0.5), activation="relu")
    assert convolutions(network) == [(3, 8, 5, 2), (8, 12, 3, 1)]
    assert network.min_image_size == 5
    assert sum(isinstance(m, nn.Dropout) for m in network.modules()) == 1
    with pytest.raises(ValueError, match="layers must be 2 convolutions for depth=3, got 1"):
        PlainNet(3, n_classes=4, layers=layers[:1])
    with pytest.raises(ValueError, match="layers must have n_filters, kernel_size and stride"):
        PlainNet(3, n_classes=4, layers=[(8, 5, 2, 0), (0, 3, 1, 1)])


@pytest.mark.parametrize(("depth", "size"), [(3, 1), (6, 9), (9, 9), (12, 9)])
def test_smallest_images(depth, size):
    network = PlainNet(depth, n_classes=4, width=0.1).eval()
    assert network.min_image_size == size
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 4)
    if size > 1:
        with pytest.raises(ValueError, match="height and width must be at least 9"):
            network(torch.zeros(1, 3, size, size - 1))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (28, 20), (33, 47)])
def test_lenet_takes_images_of_other_sizes(height, width):
    network = LeNet((2, height, width), n_classes=3)
    assert network(torch.zeros(2, 2, height, width)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"image_shape=\(2, 33, 15\) is too small for LeNet"):
        LeNet((2, 33, 15), n_classes=3)


def test_gradients_reach_every_parameter(make_network):
    network = make_network(batch_norm=True)
    randomize_metrics(network)
    network(torch.randn(8, 3, 12, 12)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any(), name


def test_metrics_are_projected_wherever_they_are(make_network):
    network = make_network()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    project_(network)
    for module in network.modules():
        if isinstance(module, QMetricReLU):
            assert 0 <= module.h.min() <= module.h.max() <= 1
            assert module.b.min() >= 0


def test_first_step_of_a_metric_is_no_convolution_of_zeros():
    """With one step, a network has one more convolution per layer, and no more."""
    images = torch.zeros(1, 3, 16, 16)
    flops = {}
    for activation in ("relu", "q-metric"):
        network = PlainNet(3, n_classes=4, n_steps=1, activation=activation, width=0.1).eval()
        with FlopCounterMode(display=False) as counter:
            network(images)
        flops[activation] = counter.get_total_flops()
    expected = 2 * 9 * (10 * 10 * 8 * 8 + 19 * 19 * 4 * 4)
    assert flops["q-metric"] - flops["relu"] == expected


def test_dense_network_is_that_of_equation_4():
    network = MLP(5, (4, 3), n_classes=2, n_steps=6).double()
    randomize_metrics(network)
    x = torch.randn(7, 5, dtype=torch.float64)
    z = x
    for affine, prox in ((1, 2), (3, 4)):
        layer, metric = network.features[affine], network.features[prox]
        z = z @ layer.weight.T + layer.bias  # Eq. (5)
        u = torch.zeros_like(z)
        for _ in range(6):
            u = torch.relu(metric.h * z + (u - z) @ metric.weight.T - metric.b)  # Eq. (9)
        z = u
    expected = z @ network.classifier.weight.T + network.classifier.bias
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-12)
    assert count(network) == (5 * 4 + 4) + (4 * 4 + 8) + (4 * 3 + 3) + (3 * 3 + 6) + (3 * 2 + 2)


def test_dense_network_without_hidden_layers_is_linear():
    network = MLP(5, (), n_classes=2)
    assert count(network) == 12
    assert network.features(torch.ones(3, 5)).shape == (3, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlainNet(4, n_classes=3), r"depth must be one of \(3, 6, 9, 12\), got 4"),
        (lambda: ResNet(9, n_classes=3), r"depth must be one of \(8, 20, 56, 110\), got 9"),
        (lambda: PlainNet(3, n_classes=3, activation="tanh"), "activation must be 'q-metric'"),
        (lambda: PlainNet(3, n_classes=3, dropout=(0.0, 1.0)), r"dropout must be two rates in \["),
        (lambda: ResNet(8, n_classes=3, dropout=(0.0,)), r"dropout must be two rates in \["),
        (lambda: PlainNet(3, n_classes=3, width=0.0), "width must be positive, got 0.0"),
        (
            lambda: PlainNet(3, n_classes=3, n_steps=0),
            "n_steps must be an int of at least 1, got 0",
        ),
        (lambda: MLP(3, (4, 0), n_classes=3), "hidden_layer_sizes must be at least 1"),
    ],
)
def test_wrong_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
