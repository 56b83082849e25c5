"""Tests of skddl.sparse_coding._gram."""

import pytest
import torch

from skddl.sparse_coding import _threads
from skddl.sparse_coding._gram import gram_matrix


@pytest.mark.parametrize("fixture", [None, "without_core"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_components", [1, 3, 16, 255, 257, 600, 1003])
def test_it_is_the_product_with_the_transpose(n_components, dtype, fixture, request):
    if fixture:
        request.getfixturevalue(fixture)
    generator = torch.Generator().manual_seed(0)
    # Not contiguous.
    dictionary = torch.randn(7, n_components, dtype=dtype, generator=generator).T
    gram = gram_matrix(dictionary)
    expected = dictionary.double() @ dictionary.double().T
    atol = {torch.float32: 1e-5, torch.float64: 1e-13}[dtype]
    torch.testing.assert_close(gram.double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("n_components", [1, 17, 600])
def test_compiled_it_is_symmetric_and_has_the_same_bits_on_all_numbers_of_threads(
    n_components, monkeypatch, core
):
    monkeypatch.setattr(_threads, "_WORK_OF_A_THREAD", 1)
    dictionary = torch.randn(n_components, 33, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    grams = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        grams.append(gram_matrix(dictionary))
    torch.set_num_threads(before)
    assert all(torch.equal(gram, grams[0]) for gram in grams)
    assert torch.equal(grams[0], grams[0].T)
