"""Optimizers by name, and what they remember."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
}

_LARGEST = torch.finfo(torch.float32).max
# What each of them remembers of a parameter, by the name of its class.
_REMEMBERED = {
    "SGD": {"momentum_buffer"},
    "Adam": {"step", "exp_avg", "exp_avg_sq"},
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
    "Adagrad": {"step", "sum"},
    "NAdam": {"step", "mu_product", "exp_avg", "exp_avg_sq"},
    "RMSprop": {"step", "square_avg"},
}
# Those that are one number from 0 on, whatever the parameter, and where that ends.
_NUMBERS = {"step": math.inf, "mu_product": 1.0}


class Group(NamedTuple):
    """Parameters, the weight nu of their penalty, and the factor of their learning rate."""

    parameters: Iterable[Tensor]
    nu: float
    factor: float = 1.0


def make_optimizer(
    name: str,
    groups: Iterable[Group],
    learning_rate: float,
    **options: Any,
) -> torch.optim.Optimizer:
    """Optimizer of that name, which minimises the loss and nu/2 ||.||^2 of each group.

    The gradient of the penalty, ``nu * parameter``, is what torch calls weight decay (of "adamw"
    it is the decoupled one). `options` are further arguments of the optimizer.

    Raises
    ------
    ValueError
        If a rate or a nu is larger than the largest float32.
    """
    param_groups: list[dict[str, Any]] = []
    for parameters, nu, factor in groups:
        listed = [parameter for parameter in parameters if parameter.requires_grad]
        if listed:
            param_groups.append(
                {"params": listed, "weight_decay": float(nu), "lr": factor * learning_rate}
            )
    rate = float(learning_rate)
    if max([rate, *(group["weight_decay"] for group in param_groups)]) > _LARGEST:
        raise ValueError(
            "Training needs learning_rate, and the weights of squared norms (nu1, nu2, "
            f"weight_decay), below {_LARGEST:.2g}: lower them."
        )
    return OPTIMIZERS[name](param_groups, lr=rate, **options)  # type: ignore[call-arg]


@dataclass
class Moments:
    """What an optimizer remembers of the steps that it took; its rates and weights are not here.

    Attributes
    ----------
    optimizer : str
        Class of the optimizer; empty before the first step.
    tensors : dict of dicts of Tensors
        By number of the parameter and name.
    """

    optimizer: str = ""
    tensors: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> "Moments":
        """The moments of `optimizer`, not copied."""
        return cls(
            type(optimizer).__name__,
            {
                index: {name: value for name, value in moments.items() if value is not None}
                for index, moments in optimizer.state_dict()["state"].items()
            },
        )

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Hand copies to `optimizer`. One of another class starts anew.

        Raises
        ------
        IndexError or ValueError
            If they are not moments of its parameters.
        """
        if self.optimizer != type(optimizer).__name__:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        names = set(_REMEMBERED[self.optimizer])
        if optimizer.defaults.get("amsgrad"):
            names.add("max_exp_avg_sq")
        for index, moments in self.tensors.items():
            parameter = parameters[index]
            if moments and moments.keys() != names:
                raise ValueError(f"of parameter {index} there are {sorted(moments)}")
            for name, value in moments.items():
                shape = torch.Size() if name in _NUMBERS else parameter.shape
                if not value.is_floating_point() or value.shape != shape:
                    got = f"{value.dtype} of the shape {tuple(value.shape)}"
                    raise ValueError(f"{name} of parameter {index} is {got}")
                if name in _NUMBERS and not 0 <= float(value) <= _NUMBERS[name]:
                    raise ValueError(f"{name} of parameter {index} is {float(value)}")
                # What counts steps stays on the CPU and in its type; all else is laid out in memory
                # as the parameter is.
                like = value if name in _NUMBERS else parameter.detach()
                optimizer.state[parameter][name] = torch.empty_like(like).copy_(value)

    def cpu_(self) -> None:
        """Bring them to the CPU."""
        self.tensors = {
            index: {name: value.cpu() for name, value in moments.items()}
            for index, moments in self.tensors.items()
        }
