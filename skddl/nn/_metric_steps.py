"""Eq. (9) of paper 2, step by step, and its derivative with and without the steps in memory.

The paper's columns are rows here, or the channels of maps: ``W~ u`` is ``u @ W~.T``, or a
convolution that keeps the size of the maps.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight


def dtype_of_steps(z: Tensor) -> torch.dtype:
    """The dtype of the input, or that of autocast, which leaves float64 alone."""
    device = z.device.type
    if z.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return z.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else z.dtype


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Types are as they are."""
    if not torch.amp.is_autocast_available(device.type):  # not even to be switched off
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def apply_metric(u: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``W~ u``, plus `bias` per channel."""
    if weight.ndim == 2:
        return nn.functional.linear(u, weight, bias)
    return nn.functional.conv2d(u, weight, bias, padding=weight.shape[-1] // 2)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """`values`, one per channel, in a shape that spreads over the batch `like`."""
    return values if like.ndim == 2 else values[:, None, None]


def constant_part(z: Tensor, weight: Tensor, h: Tensor, b: Tensor) -> Tensor:
    """``h * z - W~ z - b``: what each step of Eq. (9) adds to ``W~ u``.

    `h` is not made part of the kernel: a convolution with the identity may round.
    """
    return apply_metric(z, -weight, -b).addcmul_(per_channel(h, z), z)


def take_steps(constant: Tensor, weight: Tensor, n_steps: int, damping: float) -> Tensor:
    """``u_n`` of Eq. (9), from ``u_0 = 0``."""
    u = torch.relu(constant if damping == 1 else damping * constant)  # W~ u_0 is nothing
    for _ in range(n_steps - 1):
        u = take_step(u, constant, weight, damping)
    return u


def take_step(u: Tensor, constant: Tensor, weight: Tensor, damping: float) -> Tensor:
    """One step of Eq. (9) from `u`; damped, what goes into the ReLU moves only part of the way."""
    updated = apply_metric(u, weight).add_(constant)
    if damping != 1:
        updated = torch.lerp(u, updated, damping)
    return updated.relu_()


class RecomputedSteps(torch.autograd.Function):
    """`take_steps` of `constant_part`, with no more than input and output kept for backward.

    The steps are computed again, from the first, for each step that is differentiated: n_steps of
    them cost about ``n_steps ** 2 / 2`` more applications of W~.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, weight: Tensor, h: Tensor, b: Tensor, n_steps: int, damping: float
    ) -> Tensor:
        u = take_steps(constant_part(z, weight, h, b), weight, n_steps, damping)
        ctx.save_for_backward(z, weight, h, b, u)
        ctx.n_steps, ctx.damping = n_steps, damping
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, weight, h, b, u = ctx.saved_tensors
        damping = ctx.damping
        # Also where the whole backward pass runs under autocast: the types are those of forward.
        with without_autocast(z.device):
            constant = constant_part(z, weight, h, b)
            grad_constant, grad_weight = torch.zeros_like(constant), torch.zeros_like(weight)
            for step in range(ctx.n_steps, 0, -1):
                # u_step = ReLU(damping * (constant + W~ u_before) + (1 - damping) * u_before)
                grad = grad.masked_fill(u <= 0, 0.0)
                grad_constant.add_(grad, alpha=damping)
                if step == 1:
                    break  # u_0 = 0
                del u  # before there is another
                u = take_steps(constant, weight, step - 1, damping)
                grad_weight.add_(_weight_gradient(u, weight, grad), alpha=damping)
                through_metric = _transpose_metric(grad, weight)
                grad = through_metric if damping == 1 else torch.lerp(grad, through_metric, damping)
                del through_metric
            del constant, grad, u
            # constant = h * z - W~ z - b
            grad_weight -= _weight_gradient(z, weight, grad_constant)
            grad_z = None
            if ctx.needs_input_grad[0]:
                grad_z = _transpose_metric(grad_constant, weight).neg_()
                grad_z.addcmul_(per_channel(h, z), grad_constant)
            others = [dim for dim in range(z.ndim) if dim != 1]
            grad_h, grad_b = (z * grad_constant).sum(others), -grad_constant.sum(others)
        return grad_z, grad_weight, grad_h, grad_b, None, None


def _transpose_metric(gradient: Tensor, weight: Tensor) -> Tensor:
    """``W~' gradient``."""
    if weight.ndim == 2:
        return gradient @ weight
    return nn.functional.conv_transpose2d(gradient, weight, padding=weight.shape[-1] // 2)


def _weight_gradient(u: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    """Derivative in W~ of ``<gradient, W~ u>``."""
    if weight.ndim == 2:
        return gradient.T @ u
    return conv2d_weight(u, weight.shape, gradient, padding=weight.shape[-1] // 2)
