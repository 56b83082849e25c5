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

IMAGE = (1, 16, 16)
MODULES = {
    "SparseCode": (lambda: SparseCode(12, 7, lambda1=0.1), (12,)),
    "PatchSparseCode": (lambda: PatchSparseCode(2, 5, patch_size=3, lambda1=0.1), (2, 6, 6)),
    "QMetricReLU": (lambda: QMetricReLU(12), (12,)),
    "QMetricReLU, images": (lambda: QMetricReLU(3, kernel_size=3), (3, 6, 6)),
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
WRONG = {
    "ints": lambda x: x.long(),
    "bools": lambda x: x > 0,
    "complex": lambda x: x + 0j,
    "float16": lambda x: x.half(),
    "float32 for float64": lambda x: x.float(),
    "0-d": lambda x: x.flatten()[0],
    "a dimension less": lambda x: x.flatten(),
    "a dimension more": lambda x: x[None],
    "too narrow": lambda x: x[:, :0] if x.ndim == 2 else x[:, :, :0],
    "too wide": lambda x: torch.cat([x, x], 1),
    "array": lambda x: x.numpy(),
    "lists": lambda x: x.tolist(),
    "None": lambda x: None,
    "without data": lambda x: x.to("meta"),
    "sparse": lambda x: x.to_sparse(),
}
ERRORS = RuntimeError, TypeError, ValueError, AttributeError, IndexError, NotImplementedError

each_module = pytest.mark.parametrize("name", MODULES)


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
def test_what_a_module_cannot_take_is_an_error(name, kind, tried):
    module, x = make(name)
    wrong = WRONG[kind](x)
    tried("inputs: tensors to modules")
    try:
        output = module(wrong)
    except ERRORS as error:
        assert str(error), "without a word"
    else:
        # Some of it is as good as samples: one more dimension, another size of images.
        assert output.is_meta or output.isfinite().all()


@each_module
def test_no_samples_give_no_outputs(name, tried):
    module, x = make(name)
    output = module(x[:0])
    assert output.shape == (0, *module(x).shape[1:])
    tried("inputs: tensors to modules")


@each_module
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_does_no_harm_to_others(name, value, tried):
    module, x = make(name)
    expected = module(x)
    x[1, 0] = value
    actual = module(x)
    assert not actual[1].isfinite().all() or (value == np.inf and actual[1].isfinite().all())
    torch.testing.assert_close(actual[[0, 2, 3]], expected[[0, 2, 3]])
    tried("inputs: tensors to modules")
