"""Tests of skddl.nn.QMetricReLU: its equation, its gradients, its convergence."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.autograd import gradcheck
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._measure import peak_memory
from skddl.nn import QMetricReLU

from .data import identity, normal

SHAPES = {None: (4, 5), 1: (2, 3, 2, 3), 3: (2, 3, 4, 5)}


@pytest.fixture(params=SHAPES, ids=["dense", "1x1", "3x3"])
def kernel_size(request):
    return request.param


def make(kernel_size, *, scale=0.3, **options):
    """A metric in float64 whose parameters are inside of their constraints, and an input."""
    shape = SHAPES[kernel_size]
    module = QMetricReLU(shape[1], kernel_size=kernel_size, **options).double()
    with torch.no_grad():
        module.weight.copy_(scale * normal(0, *module.weight.shape))
        module.h.copy_(torch.linspace(0.2, 0.9, shape[1]))
        module.b.copy_(torch.linspace(0.05, 0.2, shape[1]))
    module.project_()
    return module, normal(1, *shape)


def as_function(module):
    """The module as a function of its input and of all its parameters."""
    names = ("weight", "h", "b")

    def function(z, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (z,))

    return function, tuple(getattr(module, name).detach().requires_grad_() for name in names)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 7])
def test_steps_are_those_of_equation_9(n_steps):
    module, z = make(None, n_steps=n_steps)
    # As in the paper: columns are samples.
    W, h, b = (p.detach().numpy() for p in (module.weight, module.h, module.b))
    Z = z.numpy().T
    U = np.zeros_like(Z)
    for _ in range(n_steps):
        U = np.maximum(0, h[:, None] * Z + W @ (U - Z) - b[:, None])
    np.testing.assert_allclose(module(z).detach().numpy().T, U, rtol=0, atol=1e-13)
    assert 0 < np.count_nonzero(U) < U.size


@pytest.mark.parametrize("n_steps", [1, 2, 3, 7])
def test_convolutional_steps_are_those_of_the_dense_matrix(n_steps):
    """A convolution with zero padding, written out as a matrix over pixels and channels."""
    module, z = make(3, n_steps=n_steps)
    _, k, height, width = z.shape
    unit = identity(k * height * width).reshape(-1, k, height, width)
    matrix = nn.functional.conv2d(unit, module.weight, padding=1).flatten(1).T
    dense = QMetricReLU(len(matrix), n_steps=n_steps).double()
    n_pixels = height * width
    dense.load_state_dict(
        {
            "weight": matrix,
            "h": module.h.repeat_interleave(n_pixels),
            "b": module.b.repeat_interleave(n_pixels),
        }
    )
    torch.testing.assert_close(dense(z.flatten(1)), module(z).flatten(1), rtol=0, atol=1e-13)


@pytest.mark.parametrize("memory_efficient", [False, True])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_without_a_metric_it_is_a_relu_bit_for_bit(kernel_size, n_steps, dtype, memory_efficient):
    shape = SHAPES[kernel_size]
    module = QMetricReLU(
        shape[1], kernel_size=kernel_size, n_steps=n_steps, memory_efficient=memory_efficient
    )
    z = (100 * normal(2, *shape)).to(dtype).requires_grad_()
    output = module(z)
    assert output.dtype == dtype
    assert torch.equal(output, torch.relu(z))
    (gradient,) = torch.autograd.grad(output.sum(), z)
    assert torch.equal(gradient, (z > 0).to(dtype))
    assert torch.equal(module.eval()(z), torch.relu(z))


@pytest.mark.parametrize("memory_efficient", [False, True])
@pytest.mark.parametrize("damping", [1.0, 0.6])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 5])
def test_gradients_match_finite_differences(kernel_size, n_steps, damping, memory_efficient):
    module, z = make(
        kernel_size, n_steps=n_steps, damping=damping, memory_efficient=memory_efficient
    )
    assert 0 < module(z).count_nonzero() < z.numel()
    function, parameters = as_function(module)
    assert gradcheck(function, (z.requires_grad_(), *parameters), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("damping", [1.0, 0.6])
def test_recomputed_steps_have_the_gradient_of_those_that_were_kept(kernel_size, damping):
    gradients = []
    for memory_efficient in (False, True):
        module, z = make(kernel_size, n_steps=9, damping=damping, memory_efficient=memory_efficient)
        output = module(z.requires_grad_())
        weights = normal(3, *z.shape)
        gradients.append(torch.autograd.grad((weights * output).sum(), (z, *module.parameters())))
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory_efficient", [False, True])
def test_gradient_through_convergence_matches_finite_differences(memory_efficient):
    module, z = make(3, scale=0.05, tol=1e-13, memory_efficient=memory_efficient)
    function, parameters = as_function(module.eval())
    assert gradcheck(function, (z.requires_grad_(), *parameters), eps=1e-6, atol=1e-6)


def test_memory_of_recomputed_steps_does_not_grow_with_their_number():
    z = torch.randn(8, 16, 16, 16, requires_grad=True)
    size_of_maps = z.numel() * z.element_size()

    def peak(n_steps, memory_efficient):
        module = QMetricReLU(16, kernel_size=3, n_steps=n_steps, memory_efficient=memory_efficient)
        return peak_memory(lambda: module(z).sum().backward())

    recomputed = [peak(n_steps, True) for n_steps in (3, 6, 24)]
    assert max(recomputed) <= min(recomputed) + 0.1 * size_of_maps
    assert peak(24, False) >= max(recomputed) + 10 * size_of_maps


def test_what_is_kept_for_the_backward_pass_is_input_and_output_alone():
    kept = []
    z = torch.randn(2, 4, 8, 8, requires_grad=True)
    module = QMetricReLU(4, kernel_size=3, n_steps=9, memory_efficient=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.shape), lambda x: x):
        module(z)
    assert kept.count(z.shape) == 2


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5])
def test_a_step_costs_one_convolution_and_the_first_is_not_one_of_zeros(n_steps):
    z = torch.randn(2, 4, 8, 8, requires_grad=True)
    module = QMetricReLU(4, kernel_size=3, n_steps=n_steps)
    convolution = 2 * z.numel() * 4 * 9
    with FlopCounterMode(display=False) as counter:
        output = module(z)
    assert counter.get_total_flops() == n_steps * convolution
    with FlopCounterMode(display=False) as counter:
        output.sum().backward()
    assert counter.get_total_flops() == 2 * n_steps * convolution


def test_second_derivative_is_right_or_refused():
    module, z = make(None, n_steps=3)
    function, parameters = as_function(module)
    assert torch.autograd.gradgradcheck(function, (z.requires_grad_(), *parameters))
    module.memory_efficient = True
    (gradient,) = torch.autograd.grad(module(z).square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_damped_steps_have_the_same_fixed_point():
    module, z = make(3, scale=0.05, tol=1e-14)
    expected = module.eval()(z)
    module.damping = 0.5
    torch.testing.assert_close(module(z), expected, rtol=0, atol=1e-12)


# Convergence per sample.


def test_what_a_sample_gets_does_not_depend_on_its_neighbours(kernel_size):
    module, _ = make(kernel_size, scale=0.1, tol=1e-3)
    z = torch.linspace(0.01, 50, 8).reshape(-1, *[1] * len(SHAPES[kernel_size][1:]))
    z = z * normal(12, 8, *SHAPES[kernel_size][1:])
    module.eval()
    together = module(z)
    for sample, expected in zip(z, together, strict=True):
        torch.testing.assert_close(module(sample[None])[0], expected, rtol=0, atol=1e-12)
    # The tolerance is relative: a sample a thousand times as large takes the same steps.
    module.b.data.zero_()
    torch.testing.assert_close(module(1024 * z), 1024 * module(z), rtol=0, atol=0)


def test_tolerance_is_for_evaluation_alone():
    module, z = make(None, scale=0.1, n_steps=2, tol=1e-12)
    fixed, _ = make(None, scale=0.1, n_steps=2)
    assert torch.equal(module(z), fixed(z))
    fixed.n_steps = 200
    torch.testing.assert_close(module.eval()(z), fixed(z), rtol=0, atol=1e-10)
    changes = [(fixed(z) - module(z)).abs().max() for fixed.n_steps in (2, 4, 8)]
    assert all(later < earlier for earlier, later in pairwise(changes))


def test_samples_that_settle_and_samples_that_do_not_are_told_apart():
    module = QMetricReLU(2, tol=1e-6, max_steps=50).eval()
    with torch.no_grad():
        module.weight[0, 1] = module.weight[1, 0] = -1.0  # two units that inhibit one another
        module.b.fill_(1.0)
    z = torch.tensor([[2.0, 2.0], [-1.0, -1.0], [0.0, 0.0]])
    with pytest.warns(ConvergenceWarning, match="1 of 3 samples .* after 50 steps"):
        output = module(z)
    assert not output[1:].any()


def test_settling_in_the_last_step_that_is_allowed_is_no_failure():
    module, z = make(None, scale=0.1, tol=1e-6)
    expected = module.eval()(z)
    for n_steps in range(2, 100):  # the least number that is enough
        module.max_steps = n_steps
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            output = module(z)
        if not caught:
            break
    assert 5 < n_steps < 50
    assert torch.equal(output, expected)


def test_samples_that_are_not_finite_do_not_go_on_for_ever():
    module, z = make(None, scale=0.1, tol=1e-6)
    z[1, 0] = torch.nan
    z[2, 0] = torch.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = module.eval()(z)
    assert output.isfinite().all(1).tolist() == [True, False, False, True]


# The module.


def test_projection_holds_the_constraints_of_algorithm_1(kernel_size):
    shape = SHAPES[kernel_size]
    module = QMetricReLU(shape[1], kernel_size=kernel_size)
    parameters = list(module.parameters())
    for parameter in parameters:
        nn.init.normal_(parameter, std=3)
    before = copy.deepcopy(module.state_dict())
    assert module.project_() is None
    assert all(now is then for now, then in zip(module.parameters(), parameters, strict=True))
    assert torch.equal(module.h, before["h"].clamp(0, 1))
    assert torch.equal(module.b, before["b"].clamp(min=0))
    changed = module.weight != before["weight"]
    assert changed.sum() == shape[1]  # the diagonal, or the own-channel centre taps
    centre = () if kernel_size is None else (kernel_size // 2,) * 2
    for channel in range(shape[1]):
        assert module.weight[(channel, channel, *centre)] == 0


def test_random_start_obeys_the_constraints_and_comes_from_torch_s_generator():
    torch.manual_seed(0)
    first = QMetricReLU(50, kernel_size=3, init_std=0.1)
    torch.manual_seed(0)
    second = QMetricReLU(50, kernel_size=3, init_std=0.1)
    assert torch.equal(first.weight, second.weight)
    assert first.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert not first.weight[range(50), range(50), 1, 1].any()


@pytest.mark.parametrize("memory_efficient", [False, True])
@pytest.mark.parametrize("where", ["forward", "everywhere"])
def test_autocast_computes_in_its_dtype(memory_efficient, where):
    module, z = make(3, memory_efficient=memory_efficient)
    module.float()
    z = z.float().requires_grad_()
    by_hand = copy.deepcopy(module).bfloat16()
    expected = by_hand(z.bfloat16())
    expected.float().sum().backward()
    expected_of_z, z.grad = z.grad, None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = module(z)
        if where == "everywhere":
            output.float().sum().backward()
    if where == "forward":
        output.float().sum().backward()
    assert torch.equal(output, expected)
    assert torch.equal(z.grad, expected_of_z)
    for parameter, reference in zip(module.parameters(), by_hand.parameters(), strict=True):
        assert parameter.grad.dtype == torch.float32
        assert torch.equal(parameter.grad, reference.grad.float())


def test_autocast_leaves_float64_alone():
    module, z = make(3)
    expected = module(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(z), expected)


def test_channels_last_and_strided_inputs_compute_the_same():
    module, _ = make(3)
    z = normal(13, 4, 5, 6, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(module(z), module(z.contiguous()), rtol=0, atol=1e-12)


def test_no_samples_give_no_output(kernel_size):
    for options in ({}, {"tol": 1e-3}, {"memory_efficient": True}):
        module, z = make(kernel_size, **options)
        assert module.eval()(z[:0]).shape == z[:0].shape


@pytest.mark.parametrize(
    ("kernel_size", "shape"),
    [(None, (4, 6)), (None, (4, 5, 2, 2)), (3, (2, 4, 5, 5)), (3, (2, 3)), (3, (3, 5, 5))],
)
def test_inputs_of_a_wrong_shape_are_refused(kernel_size, shape):
    module = QMetricReLU(SHAPES[kernel_size][1], kernel_size=kernel_size)
    with pytest.raises(ValueError, match=r"Inputs must have the shape \(n, "):
        module(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_inputs_of_a_wrong_type_are_refused(dtype):
    """To which W~, h and b would otherwise be rounded."""
    with pytest.raises(TypeError, match="Inputs must be of a floating-point type, got torch"):
        QMetricReLU(3)(torch.ones(2, 3).to(dtype))
    with pytest.raises(TypeError, match="dictionary must be of a floating-point type"):
        QMetricReLU.from_dictionary(torch.ones(3, 3).to(dtype), lambda_=1.0, alpha=1.0, beta=0.0)


def test_sizes_are_found_without_memory():
    """On torch's device of tensors that have a shape and no values."""
    with torch.device("meta"):
        module = QMetricReLU(3, kernel_size=3, memory_efficient=True)
    assert module(torch.ones(2, 3, 4, 4, device="meta")).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_channels": 0}, "n_channels must be an int of at least 1, got 0"),
        ({"n_steps": 2.5}, "n_steps must be an int of at least 1, got 2.5"),
        ({"kernel_size": 2.5}, "kernel_size must be None or an odd int, got 2.5"),
        ({"kernel_size": 2}, "kernel_size must be None or an odd int, got 2"),
        ({"kernel_size": -1}, "kernel_size must be None or an odd int, got -1"),
        ({"n_steps": True}, "n_steps must be an int of at least 1, got True"),
        ({"n_steps": 0}, "n_steps must be an int of at least 1, got 0"),
        ({"max_steps": 0}, "max_steps must be an int of at least 1, got 0"),
        ({"tol": 0.0}, "tol must be None or positive, got 0"),
        ({"tol": float("nan")}, "tol must be None or positive, got nan"),
        ({"damping": 0.0}, "damping must be in"),
        ({"damping": 1.5}, "damping must be in"),
        ({"init_std": -1.0}, "init_std must be at least 0"),
    ],
)
def test_wrong_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        QMetricReLU(**{"n_channels": 3, **options})


def test_repr_tells_what_it_does():
    text = repr(QMetricReLU(8, kernel_size=3, n_steps=2, tol=1e-3))
    for part in ("8", "kernel_size=3", "n_steps=2", "tol=0.001", "damping=1"):
        assert part in text
