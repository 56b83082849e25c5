"""Tests of skddl.sparse_coding._gram."""

import pytest
import torch

from skddl.sparse_coding._gram import gram_matrix


@pytest.mark.parametrize("n_components", [1, 255, 257, 600, 1003])
def test_it_is_the_product_with_the_transpose(n_components):
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.randn(n_components, 7, dtype=torch.float64, generator=generator)
    expected = dictionary @ dictionary.T
    torch.testing.assert_close(gram_matrix(dictionary), expected, rtol=0, atol=1e-12)
    given = torch.full_like(expected, torch.nan)
    assert gram_matrix(dictionary, given) is given
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-12)
