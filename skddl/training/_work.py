"""What a network costs."""

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def multiply_adds(network: nn.Module, x: Tensor) -> int:
    """Those of a forward pass, about: each parameter, once for each place where it is applied."""
    total = 0

    def count(part: nn.Module, _: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor) and output.ndim > 1:
            n_places = output[:, 0].numel()  # samples, and pixels
            total += n_places * sum(weight.numel() for weight in part.parameters(recurse=False))

    hooks = [part.register_forward_hook(count) for part in network.modules()]
    was_training = network.training
    try:
        network.eval()(x)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return total
