"""Augmentation of images."""

import pytest
import torch

from skddl.training import AUGMENTATIONS, shift_by_one

SHAPES = [(500, 3, 32, 32), (400, 1, 28, 28), (400, 2, 8, 16)]


def images_of(shape):
    """Images all of whose pixels differ, and are not 0."""
    return torch.arange(1, torch.Size(shape).numel() + 1).float().reshape(shape)


def offsets_of(images, shifted, reach):
    """By how much each image was moved; fails if it was not moved, zeros moving in."""
    padded = torch.nn.functional.pad(images, (reach[1], reach[1], reach[0], reach[0]))
    height, width = images.shape[2:]
    found = []
    for before, after in zip(padded, shifted, strict=True):
        matches = [
            (row, column)
            for row in range(2 * reach[0] + 1)
            for column in range(2 * reach[1] + 1)
            if torch.equal(before[:, row : row + height, column : column + width], after)
        ]
        assert len(matches) == 1
        found += matches
    return found


@pytest.mark.parametrize(
    ("shape", "reach"), list(zip(SHAPES, [(4, 4), (4, 4), (1, 2)], strict=True)), ids=str
)
def test_images_are_shifted_by_up_to_an_eighth_each_on_its_own(shape, reach):
    torch.manual_seed(0)
    images = images_of(shape)
    shifted = AUGMENTATIONS["shift"](images)
    assert shifted.shape == shape
    offsets = offsets_of(images, shifted, reach)
    assert len(set(offsets)) == (2 * reach[0] + 1) * (2 * reach[1] + 1)
    for axis in (0, 1):  # uniform: within four standard deviations
        counts = torch.bincount(torch.tensor([offset[axis] for offset in offsets]))
        expected = len(offsets) / len(counts)
        assert (counts - expected).abs().max() < 4 * expected**0.5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_are_flipped_with_equal_chances(shape):
    torch.manual_seed(0)
    images = images_of(shape)
    flipped = AUGMENTATIONS["flip"](images)
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert abs(same.sum().item() - shape[0] / 2) < 4 * (shape[0] / 4) ** 0.5


def test_both_together():
    torch.manual_seed(0)
    images = images_of((300, 1, 8, 8))
    changed = AUGMENTATIONS["shift-flip"](images)
    shifts = set()
    for image, after in zip(images, changed, strict=True):
        try:
            (offset,) = offsets_of(image[None], after[None], (1, 1))
            shifts.add((False, offset))
        except AssertionError:
            (offset,) = offsets_of(image[None], after[None].flip(3), (1, 1))
            shifts.add((True, offset))
    assert len(shifts) == 18


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_random_numbers_are_those_of_torch_s_generator(name):
    images = images_of((50, 1, 8, 8))
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(AUGMENTATIONS[name](images))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_shift_by_one_repeats_the_border():
    torch.manual_seed(0)
    images = images_of((400, 2, 8, 16))
    shifted = shift_by_one(images)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    offsets = []
    for before, after in zip(padded, shifted, strict=True):
        offsets += [
            (row, column)
            for row in range(3)
            for column in range(3)
            if torch.equal(before[:, row : row + 8, column : column + 16], after)
        ]
    assert len(offsets) == 400
    assert len(set(offsets)) == 9
