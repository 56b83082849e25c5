"""Torch modules on tensors of any type, layout and shape: right, or a clear error."""

import numpy as np
import pytest
import torch

from skddl.nn import (
    MLP,
    ConvNet,
    LeNet,
    LeNetFeatures,
    LinearFeatures,
    PatchSparseCode,
    PlainNet,
    QMetricReLU,
    ResNet,
    SparseCode,
)

from .samples import refused

IMAGE = (1, 16, 16)


class MetricOf(torch.nn.Module):
    """What is given is the dictionary."""

    def forward(self, dictionary):
        return QMetricReLU.from_dictionary(dictionary, lambda_=0.1, alpha=0.5, beta=0.1).weight


MODULES = {
    "SparseCode": (lambda: SparseCode(12, 7, lambda1=0.1), (12,)),
    "PatchSparseCode": (lambda: PatchSparseCode(2, 5, patch_size=3, lambda1=0.1), (2, 6, 6)),
    "QMetricReLU": (lambda: QMetricReLU(12), (12,)),
    "QMetricReLU, images": (lambda: QMetricReLU(3, kernel_size=3), (3, 6, 6)),
    "QMetricReLU.from_dictionary": (MetricOf, (12,)),
    "LinearFeatures": (lambda: LinearFeatures(12, 5), (12,)),
    "LeNetFeatures": (lambda: LeNetFeatures(IMAGE), IMAGE),
    "MLP": (lambda: MLP(12, [6], n_classes=3), (12,)),
    "ConvNet": (lambda: ConvNet(IMAGE, n_classes=3, width=0.1), IMAGE),
    "LeNet": (lambda: LeNet(IMAGE, n_classes=3), IMAGE),
    "PlainNet": (lambda: PlainNet(3, n_classes=3, in_channels=1, width=0.1), (1, 8, 8)),
    "ResNet": (lambda: ResNet(8, n_classes=3, in_channels=1, width=0.1), (1, 8, 8)),
}


def strided(x):
    return x.repeat_interleave(2, 0)[::2]


def transposed(x):
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def on_read_only_memory(x):
    array = x.numpy().copy()
    array.flags.writeable = False
    return torch.from_numpy(array)


LAYOUTS = {
    "strided": strided,
    "transposed": transposed,
    "expanded": lambda x: x[:1].expand_as(x),
    "channels last": lambda x: x.to(memory_format=torch.channels_last) if x.ndim == 4 else x,
    "read-only": on_read_only_memory,
    "with gradients": lambda x: x.clone().requires_grad_(),
    "negated": lambda x: (x * -1j).conj().imag,
    "one sample": lambda x: x[:1],
    "tiny": lambda x: x * 1e-30,
    "huge": lambda x: x * 1e30,
    "zeros": lambda x: 0 * x,
    "all equal": lambda x: 0 * x + 1,
}
# Modules of torch say it in torch's words, which name the types and the sizes.
_TYPES, _SIZES = (TypeError, RuntimeError), (ValueError, RuntimeError)
_NO_TENSOR = (TypeError, AttributeError)
WRONG = {
    "ints": refused(_TYPES, "int64|Long|long int", lambda x: x.long()),
    "bools": refused(_TYPES, "[Bb]ool", lambda x: x > 0),
    "complex": refused(_TYPES, "[Cc]omplex", lambda x: x + 0j),
    "float16": refused(_TYPES, "Half", lambda x: x.half()),
    "float32 for float64": refused(_TYPES, "[Ff]loat.*[Dd]ouble", lambda x: x.float()),
    "0-d": refused(
        (*_SIZES, IndexError),
        r"got (shape )?\(\)|input of size: \[\]|Dimension out of range",
        lambda x: x.flatten()[0],
    ),
    "a dimension less": refused(
        (*_SIZES, IndexError),
        r"got (shape )?\(\d+,\)|input of size: \[\d+\]|Dimension out of range",
        lambda x: x.flatten(),
    ),
    "a dimension more": refused(
        _SIZES, r"got.*[([]1, 4, |\(1x48 and 12x|\[1, 16, 16\].*dim 1 \(1024\)", lambda x: x[None]
    ),
    "too narrow": refused(
        _SIZES,
        r"got.*[( ]0\b|\(4x0 and 12x|dim 1 \(0\)|too small|greater than actual input size",
        lambda x: x[:, :0] if x.ndim == 2 else x[:, :, :0],
    ),
    "too wide": refused(
        _SIZES,
        r"got .*\(4, (24|4, 6, 6|6, 6, 6)\)|\(4x24 and 12x|dim 1 \(512\)|"
        "to have 1 channels, but got 2",
        lambda x: torch.cat([x, x], 1),
    ),
    "array": refused(_NO_TENSOR, "ndarray|positional arguments", lambda x: x.numpy()),
    "lists": refused(_NO_TENSOR, r"\blist\b", lambda x: x.tolist()),
    "None": refused(_NO_TENSOR, "NoneType", lambda x: None),
    "without data": refused(_TYPES, "device '?meta", lambda x: x.to("meta")),
    "sparse": refused(_TYPES, "[Ss]parse|memory format", lambda x: x.to_sparse()),
}
# What is as good as samples.
_ANY_FLOATS = {"float16", "float32 for float64", "without data"}
TAKEN = {
    "SparseCode": {*_ANY_FLOATS, "ints", "bools", "a dimension more"},
    "PatchSparseCode": {*_ANY_FLOATS, "bools"},
    "QMetricReLU": _ANY_FLOATS,
    "QMetricReLU, images": _ANY_FLOATS,
    "LinearFeatures": {"without data", "sparse"},
    "LeNetFeatures": {"without data"},
    "QMetricReLU.from_dictionary": {"float16", "float32 for float64", "too wide"},
    "MLP": {"sparse"},
}

each_module = pytest.mark.parametrize("name", MODULES)
each_of_samples = pytest.mark.parametrize("name", [n for n in MODULES if "dictionary" not in n])


def make(name):
    """The module in float64, and samples."""
    build, shape = MODULES[name]
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    module = build().double().eval()
    x = torch.randn(4, *shape, dtype=torch.float64)
    torch.random.set_rng_state(torch_state)
    return module, x


@each_module
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_layout_makes_no_difference_to_a_module(name, layout, tried):
    module, x = make(name)
    given = LAYOUTS[layout](x)
    before = given.detach().clone()
    actual = module(given)
    assert actual.isfinite().all()
    expected = module(before.contiguous())
    tolerance = 1e-12 * float(expected.detach().abs().max())
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=tolerance)
    torch.testing.assert_close(given.detach(), before, rtol=0, atol=0)
    tried("inputs: tensors to modules")


@each_module
@pytest.mark.parametrize("kind", WRONG)
def test_what_a_module_takes_or_refuses(name, kind, tried):
    module, x = make(name)
    case, wrong = WRONG[kind], WRONG[kind].make(x)
    tried("inputs: tensors to modules")
    if kind not in TAKEN.get(name, ()):
        with case.outcome():
            module(wrong)
    elif kind == "without data":
        assert module(wrong).shape == module(x).shape
    else:
        output, plain = module(wrong), wrong.to_dense().double()
        tolerance = 10 * torch.finfo(output.dtype).eps
        expected = module(plain)
        torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance)


@each_of_samples
def test_no_samples_give_no_outputs(name, tried):
    module, x = make(name)
    output = module(x[:0])
    assert output.shape == (0, *module(x).shape[1:])
    tried("inputs: tensors to modules")


@each_of_samples
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_does_no_harm_to_others(name, value, tried):
    module, x = make(name)
    expected = module(x)
    x[1, 0] = value
    actual = module(x)
    assert not actual[1].isfinite().all() or (value == np.inf and actual[1].isfinite().all())
    torch.testing.assert_close(actual[[0, 2, 3]], expected[[0, 2, 3]])
    tried("inputs: tensors to modules")
