"""Optimizers by name, and the learning-rate schedule of Algorithm 1."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
}


def make_optimizer(
    name: str, groups: Iterable[tuple[Iterable[nn.Parameter], float]], learning_rate: float
) -> torch.optim.Optimizer:
    """Optimizer of that name over (parameters, nu) pairs, nu being the weight of nu/2 ||.||^2.

    The gradient of the penalty, ``nu * parameter``, is what torch calls weight decay (of "adamw"
    it is the decoupled one).
    """
    param_groups: list[dict[str, Any]] = []
    for parameters, nu in groups:
        listed = [parameter for parameter in parameters if parameter.requires_grad]
        if listed:
            param_groups.append({"params": listed, "weight_decay": nu})
    return OPTIMIZERS[name](param_groups, lr=learning_rate)  # type: ignore[call-arg]


def inverse_time_schedule(optimizer: torch.optim.Optimizer, t0: float, start: int) -> LambdaLR:
    """Algorithm 1 of paper 1: ``rho_t = min(rho, rho t0 / t)``; the next step is t = start + 1."""
    for group in optimizer.param_groups:  # a restored optimizer carries the rate it stopped with
        group["lr"] = optimizer.defaults["lr"]
    return LambdaLR(optimizer, lambda step: min(1.0, t0 / (start + step + 1)))
