"""Augmentation: images changed at random, on the device where they are.

The random numbers come from torch's generator of that device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Of paper 2's images of 32 pixels, the recipe pads 4 on each side.
_SHARE_OF_SIDE = 8


def shift(images: Tensor) -> Tensor:
    """Each image (of (n, C, H, W)) moved by up to an eighth of its sides, zeros moving in."""
    n, _, height, width = images.shape
    reach = [max(1, round(side / _SHARE_OF_SIDE)) for side in (height, width)]
    padded = torch.nn.functional.pad(images, (reach[1], reach[1], reach[0], reach[0]))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    rows, columns = (torch.randint(2 * r + 1, (n,), device=images.device) for r in reach)
    return windows[torch.arange(n, device=images.device), :, rows, columns]


def flip(images: Tensor) -> Tensor:
    """Each image (of (n, C, H, W)) mirrored from left to right, or not, with equal chances."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return images.flip(3).where(mirrored, images)


def shift_and_flip(images: Tensor) -> Tensor:
    """Both."""
    return flip(shift(images))


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "shift": shift,
    "flip": flip,
    "shift-flip": shift_and_flip,
}
