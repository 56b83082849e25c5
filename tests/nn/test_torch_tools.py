"""`SparseCode` in torch.func, forward mode and torch.compile, which give what autograd gives."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from skddl.nn import SparseCode

# What torch says of itself where these load more of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.*deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning"),
]


@pytest.fixture
def code():
    torch.manual_seed(0)
    return SparseCode(6, 9, lambda1=0.2, lambda2=0.01).double()


@pytest.fixture
def x():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def parameters(code):
    return {name: value.detach() for name, value in code.named_parameters()}


def loss(code, parameters, x):
    """A function of tensors; its gradients differ from sample to sample."""
    codes = functional_call(code, parameters, (x,))
    return (codes * torch.arange(1, 10, dtype=x.dtype)).square().sum()


def gradients_of_autograd(code, x):
    x = x.clone().requires_grad_()
    value = loss(code, dict(code.named_parameters()), x)
    return torch.autograd.grad(value, (x, code.dictionary))


def test_grad(code, x, parameters):
    expected = gradients_of_autograd(code, x)
    of_parameters, of_x = grad(loss, argnums=(1, 2))(code, parameters, x)
    torch.testing.assert_close((of_x, of_parameters["dictionary"]), expected)


def test_vmap_over_samples(code, x):
    codes = code(x).detach()
    assert codes.count_nonzero() > 10
    torch.testing.assert_close(vmap(code)(x).detach(), codes)
    with torch.no_grad():
        torch.testing.assert_close(vmap(code)(x), codes)
        torch.testing.assert_close(vmap(code, in_dims=1, out_dims=1)(x.T), codes.T)
        twice = vmap(vmap(code))(torch.stack([x, -x]))
    torch.testing.assert_close(twice, torch.stack([codes, -codes]))


def test_vmap_over_dictionaries(code, x):
    dictionaries = torch.stack([code.dictionary.detach(), code.dictionary.detach().flip(0)])
    codes = vmap(lambda atoms: functional_call(code, {"dictionary": atoms}, (x,)))(dictionaries)
    torch.testing.assert_close(codes, torch.stack([code(x), code(x).flip(1)]).detach())


def test_gradients_of_each_dictionary(code, x):
    dictionaries = torch.stack([code.dictionary.detach(), 1.1 * code.dictionary.detach().flip(0)])

    def loss_of(atoms):
        return loss(code, {"dictionary": atoms}, x)

    expected = torch.stack([grad(loss_of)(atoms) for atoms in dictionaries])
    torch.testing.assert_close(vmap(grad(loss_of))(dictionaries), expected)
    of_all = grad(lambda dictionaries: vmap(loss_of)(dictionaries).sum())(dictionaries)
    torch.testing.assert_close(of_all, expected)


def test_gradients_of_each_sample(code, x, parameters):
    of_samples = vmap(grad(loss, argnums=1), in_dims=(None, None, 0))(code, parameters, x)
    expected = [gradients_of_autograd(code, sample)[1] for sample in x]
    torch.testing.assert_close(of_samples["dictionary"], torch.stack(expected))


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians(code, x, jacobian):
    def codes_of(x, dictionary):
        return functional_call(code, {"dictionary": dictionary}, (x,))

    inputs = x[:2], code.dictionary.detach()
    expected = torch.autograd.functional.jacobian(codes_of, inputs)
    found = jacobian(codes_of, argnums=(0, 1))(*inputs)
    torch.testing.assert_close(found, expected)


def test_jvp(code, x):
    generator = torch.Generator().manual_seed(2)
    dictionary = code.dictionary.detach()
    changes = tuple(torch.randn(v.shape, generator=generator).double() for v in (x, dictionary))

    def codes_of(x, dictionary):
        return functional_call(code, {"dictionary": dictionary}, (x,))

    _, change = jvp(codes_of, (x, dictionary), changes)
    step = 1e-6
    ahead, behind = (
        codes_of(x + s * changes[0], dictionary + s * changes[1]) for s in (step, -step)
    )
    torch.testing.assert_close(change, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)


def test_gradcheck_in_forward_mode(code, x):
    def codes_of(x, dictionary):
        return functional_call(code, {"dictionary": dictionary}, (x,))

    inputs = (x.requires_grad_(), code.dictionary.detach().requires_grad_())
    assert torch.autograd.gradcheck(codes_of, inputs, check_forward_ad=True)


def test_second_derivatives_are_refused(code, x, parameters):
    with pytest.raises(RuntimeError, match="no second derivative"):
        hessian(lambda x: code(x).square().sum())(x)
    with pytest.raises(RuntimeError, match="no second derivative"):
        jacrev(grad(lambda x: loss(code, parameters, x)))(x)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_networks_compute_what_they_did(backend, x):
    torch.manual_seed(0)
    code = SparseCode(8, 12, lambda1=0.1)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), code, nn.Linear(12, 2)).double()

    def gradients(network):
        output = network(x)
        return output, *torch.autograd.grad(output.square().sum(), [*network.parameters()])

    expected = gradients(network)
    torch.compiler.reset()
    compiled = torch.compile(network, backend=backend)
    torch.testing.assert_close(gradients(compiled), expected)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), expected[0])
