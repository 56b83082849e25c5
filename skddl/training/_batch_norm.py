"""Batch norms of a batch that several processes share."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class SharedBatchNorm(TorchFunctionMode):
    """Inside, batch norms in training take the mean and the variance of the whole batch.

    Torch's own ``SyncBatchNorm`` does so for GPUs alone, and in modules of its own.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.batch_norm:
            return _batch_norm(*args, **kwargs)
        return func(*args, **kwargs)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As ``torch.nn.functional.batch_norm``, over the samples of all processes."""
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps)
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    per_channel = [1, -1] + [1] * (x.ndim - 2)
    others = [0, *range(2, x.ndim)]
    n_values = torch.full((), x.numel() / x.shape[1], dtype=values.dtype, device=x.device)
    distributed.all_reduce(n_values)
    if n_values == 1:  # in the words of torch
        raise ValueError("Expected more than 1 value per channel when training")
    mean = _total(values.sum(others)) / n_values
    centered = values - mean.view(per_channel)
    var = _total(centered.square().sum(others)) / n_values
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            unbiased = var * n_values / (n_values - 1)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    normalized = centered * (var + eps).rsqrt().view(per_channel)
    if weight is not None:
        normalized = normalized * weight.view(per_channel)
    if bias is not None:
        normalized = normalized + bias.view(per_channel)
    return normalized.to(x.dtype)


def _total(x: Tensor) -> Tensor:
    total: Tensor = _Total.apply(x)
    return total


class _Total(torch.autograd.Function):
    """The sum over the processes; each process's loss depends on what every process adds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.forward(ctx, gradients[0])
