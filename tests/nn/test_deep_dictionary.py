"""Sparse codes of patches, and the exact gradient through layers of codes."""

import pytest
import torch
from torch import nn

from skddl.nn import PatchSparseCode, SparseCode
from skddl.nn.deep_dictionary import DeepDictionaryNetwork
from skddl.sparse_coding import kkt_residual, sparse_encode


def test_maps_are_the_codes_of_the_patches_in_their_places():
    torch.manual_seed(0)
    layer = PatchSparseCode(2, 7, patch_size=3, stride=2, padding=1, lambda1=0.1, lambda2=0.01)
    maps = torch.rand(4, 2, 9, 6)
    codes = layer(maps)
    assert codes.shape == (4, 7, 5, 3)
    padded = nn.functional.pad(maps, (1, 1, 1, 1))
    dictionary = layer.code.dictionary.detach()
    for row, column in ((0, 0), (2, 1), (4, 2)):
        patch = padded[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].flatten(1)
        weights = {"lambda1": 0.1, "lambda2": 0.01, "positive": True}
        expected = sparse_encode(patch, dictionary, **weights)
        torch.testing.assert_close(codes[:, :, row, column], expected, rtol=1e-4, atol=1e-5)
        residual = kkt_residual(patch, dictionary, codes[:, :, row, column], **weights)
        assert residual.max() < 1e-3
    assert (codes >= 0).all()
    assert (codes > 0).any()


def stack(*, global_pooling=False):
    """Two layers with patches and a dense one, in float64, on images of 2 channels, 5x5."""
    torch.manual_seed(0)
    weights = {"lambda1": 0.05, "lambda2": 0.05}
    layers = [
        PatchSparseCode(2, 5, patch_size=2, **weights),
        PatchSparseCode(5, 6, patch_size=2, stride=2, padding=1, **weights),
        *([nn.AdaptiveAvgPool2d(1)] if global_pooling else []),
        nn.Flatten(),
        SparseCode(6 if global_pooling else 54, 8, positive=True, **weights),
    ]
    return DeepDictionaryNetwork(layers, 8, 3, bias=True).double()


@pytest.mark.parametrize("global_pooling", [False, True])
def test_gradient_through_the_layers_is_that_of_finite_differences(global_pooling):
    network = stack(global_pooling=global_pooling)
    images = torch.rand(3, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*network.named_parameters(), strict=True)

    def loss(images, *parameters):
        scores = torch.func.functional_call(
            network, dict(zip(names, parameters, strict=True)), (images,)
        )
        return nn.functional.cross_entropy(scores, torch.tensor([0, 2, 1]), reduction="none")

    assert (network.layers[0](images) != 0).any()
    codes = network.encode(images)
    assert codes.shape == (3, 8)
    assert (codes != 0).any(dim=0).sum() > 2
    assert torch.autograd.gradcheck(loss, (images, *parameters), eps=1e-7, atol=1e-5)


def test_gradient_of_a_dense_layer_over_a_dense_layer():
    torch.manual_seed(1)
    first, second = (
        SparseCode(sizes[0], sizes[1], lambda1=0.1, lambda2=0.1, positive=True).double()
        for sizes in ((6, 9), (9, 7))
    )
    x = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)

    def codes(x, below, above):
        hidden = torch.func.functional_call(first, {"dictionary": below}, (x,))
        return torch.func.functional_call(second, {"dictionary": above}, (hidden,))

    dictionaries = first.dictionary, second.dictionary
    assert (codes(x, *dictionaries) > 0).sum() > 4
    assert torch.autograd.gradcheck(codes, (x, *dictionaries), eps=1e-7, atol=1e-5)


def test_sizes_of_layers_are_checked():
    with pytest.raises(ValueError, match="patch_size"):
        PatchSparseCode(1, 4, patch_size=0, lambda1=0.1)
    with pytest.raises(ValueError, match="stride"):
        PatchSparseCode(1, 4, patch_size=2, stride=0, lambda1=0.1)
    with pytest.raises(ValueError, match="padding"):
        PatchSparseCode(1, 4, patch_size=2, padding=-1, lambda1=0.1)
