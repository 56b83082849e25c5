"""Augmentation: images changed at random, on the device where they are.

The random numbers come from torch's generator of that device.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# Of paper 2's images of 32 pixels, the recipe pads 4 on each side.
_SHARE_OF_SIDE = 8


def shift(images: Tensor) -> Tensor:
    """Each image (of (n, C, H, W)) moved by up to an eighth of its sides, zeros moving in."""
    height, width = (max(1, round(side / _SHARE_OF_SIDE)) for side in images.shape[2:])
    return _moved(images, height, width, mode="constant")


def shift_by_one(images: Tensor) -> Tensor:
    """Each image (of (n, C, H, W)) moved by at most one pixel, its border being repeated."""
    return _moved(images, 1, 1, mode="replicate")


def _moved(images: Tensor, reach_down: int, reach_right: int, *, mode: str) -> Tensor:
    n, _, height, width = images.shape
    reach = reach_down, reach_right
    padded = torch.nn.functional.pad(
        images, (reach_right, reach_right, reach_down, reach_down), mode=mode
    )
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


def augment_rows(
    augment: str | Callable[[Tensor], Tensor],
    by_name: Mapping[str, Callable[[Tensor], Tensor]],
    x: Tensor,
    image_shape: tuple[int, ...],
) -> Tensor:
    """Rows of images of `image_shape`, changed by what the user asked for.

    Raises
    ------
    ValueError
        If a callable does not return images such as it gets.
    """
    images = x.reshape(-1, *image_shape)
    changed: Any = by_name[augment](images) if isinstance(augment, str) else augment(images)
    expected = images.shape, images.dtype, images.device
    if not isinstance(changed, Tensor):
        got: Any = type(changed)
    elif (got := (changed.shape, changed.dtype, changed.device)) == expected:
        return changed.flatten(1)
    raise ValueError(
        f"augment={augment!r} must return images of the shape, dtype and device that it gets, "
        f"{expected}; got {got}."
    )


def require_images(augment: object, image_shape: tuple[int, ...] | None) -> None:
    """Raise ValueError if there is something to augment that is no images."""
    if augment is not None and image_shape is None:
        raise ValueError(
            f"augment={augment!r} needs images: pass image_shape=(C, H, W), or X of shape "
            "(n, C, H, W)."
        )
