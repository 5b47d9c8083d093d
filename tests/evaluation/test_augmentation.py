"""Augmentation of whole batches against one image, one pixel at a time: equal exactly."""

import numpy as np
import pytest
import torch

from nas_gym.evaluation.augmentation import altered, augmented, draw


def reference(images: torch.Tensor, generator: torch.Generator, flip: bool, crop: int, cutout: int = 0) -> torch.Tensor:
    """Return the same from loops over images and pixels; the draws are made in the order of `draw`."""
    n, height, width, _ = images.shape
    shift = torch.randint(0, 2 * crop + 1, (n, 2), generator=generator) if crop else torch.zeros(n, 2).long()
    coins = torch.rand(n, 1, generator=generator) if flip else torch.ones(n, 1)
    result = torch.zeros_like(images)
    for i in range(n):
        down, right = int(shift[i, 0]) - crop, int(shift[i, 1]) - crop
        for y in range(height):
            for x in range(width):
                if 0 <= y + down < height and 0 <= x + right < width:
                    result[i, y, x] = images[i, y + down, x + right]
        if coins[i, 0] < 0.5:
            result[i] = torch.from_numpy(np.fliplr(result[i].numpy()).copy())
    if cutout:
        rows = torch.randint(0, height, (n,), generator=generator).tolist()
        columns = torch.randint(0, width, (n,), generator=generator).tolist()
        for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
            top, left = row - cutout // 2, column - cutout // 2
            result[i, max(0, top) : top + cutout, max(0, left) : left + cutout] = 0.0
    return result


@pytest.mark.parametrize(
    ("flip", "crop", "cutout"),
    [
        (True, 0, 0),
        (False, 1, 0),
        (False, 3, 0),
        (True, 2, 0),
        (True, 9, 0),
        (False, 0, 1),
        (False, 0, 4),
        (True, 2, 3),
    ],
)
@pytest.mark.parametrize("shape", [(12, 5, 7, 3), (12, 8, 8, 1)])
def test_equals_the_loop_over_images(shape: tuple[int, ...], flip: bool, crop: int, cutout: int) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    fast = augmented(images, torch.Generator().manual_seed(5), flip=flip, crop=crop, cutout=cutout)
    assert torch.equal(fast, reference(images, torch.Generator().manual_seed(5), flip, crop, cutout))
    assert torch.equal(images, before) and fast.is_contiguous()
    assert not torch.equal(fast, images)


def test_the_square_s_centre_is_uniform_and_the_square_is_clipped() -> None:
    images = torch.ones(5000, 6, 6, 2)
    found = augmented(images, torch.Generator().manual_seed(0), flip=False, crop=0, cutout=1)
    places = (found[..., 0] == 0).sum(0)  # 139 each on average
    assert int(places.sum()) == 5000 and int(places.min()) > 90 and int(places.max()) < 190
    found = augmented(images, torch.Generator().manual_seed(0), flip=False, crop=0, cutout=3)
    sizes = (found[..., 0] == 0).sum((1, 2))
    assert set(sizes.tolist()) == {4, 6, 9}  # in a corner, at a border, inside
    assert torch.equal(found[..., 0], found[..., 1])
    assert not augmented(images, torch.Generator(), flip=False, crop=0, cutout=99).any()


def test_parts_of_an_epoch_s_draws_are_those_of_its_images() -> None:
    images = torch.randn(9, 6, 5, 3, generator=torch.Generator().manual_seed(0))
    draws = draw(9, (6, 5), torch.Generator().manual_seed(3), flip=True, crop=2, cutout=2)
    parts = [altered(images[i : i + 4], draws[i : i + 4]) for i in (0, 4, 8)]
    assert torch.equal(torch.cat(parts), altered(images, draws))


def test_nothing_asked_nothing_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    images = torch.randn(2, 4, 4, 1, generator=torch.Generator().manual_seed(1))
    assert augmented(images, generator, flip=False, crop=0) is images
    assert torch.equal(generator.get_state(), state)


def test_flips_half_and_shifts_evenly() -> None:
    images = torch.zeros(4000, 5, 5, 1)
    images[:, 2, 2] = 1.0  # shifts show
    images[:, 0, 0] = 2.0  # and so do flips
    found = augmented(images, torch.Generator().manual_seed(0), flip=True, crop=0)
    assert 0.47 < (found[:, 0, 4, 0] == 2).float().mean() < 0.53
    found = augmented(images, torch.Generator().manual_seed(0), flip=False, crop=2)
    places = (found == 1).sum(0)[..., 0]
    assert int(places.min()) > 110 and int(places.max()) < 210 and int(places.sum()) == 4000  # 160 each on average


def test_global_generator_is_not_touched() -> None:
    state = torch.get_rng_state()
    augmented(torch.randn(2, 4, 4, 1, generator=torch.Generator()), torch.Generator(), flip=True, crop=1)
    assert torch.equal(torch.get_rng_state(), state)
