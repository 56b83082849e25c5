"""Small matrices for the tests of torch modules."""

import torch


def normal(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def identity(size):
    return torch.eye(size, dtype=torch.float64)
