"""Augmentation of whole batches against one image, one pixel at a time: equal exactly."""

import numpy as np
import pytest
import torch

from nas_gym.evaluation.augmentation import augmented


def reference(images: torch.Tensor, generator: torch.Generator, flip: bool, crop: int) -> torch.Tensor:
    """Return the same from loops over images and pixels; the draws are made in the order of `augmented`."""
    n, height, width, _ = images.shape
    shift = torch.randint(0, 2 * crop + 1, (2, n, 1), generator=generator) if crop else torch.zeros(2, n, 1).long()
    coins = torch.rand(n, 1, generator=generator) if flip else torch.ones(n, 1)
    result = torch.zeros_like(images)
    for i in range(n):
        down, right = int(shift[0, i, 0]) - crop, int(shift[1, i, 0]) - crop
        for y in range(height):
            for x in range(width):
                if 0 <= y + down < height and 0 <= x + right < width:
                    result[i, y, x] = images[i, y + down, x + right]
        if coins[i, 0] < 0.5:
            result[i] = torch.from_numpy(np.fliplr(result[i].numpy()).copy())
    return result


@pytest.mark.parametrize(("flip", "crop"), [(True, 0), (False, 1), (False, 3), (True, 2), (True, 9)])
@pytest.mark.parametrize("shape", [(12, 5, 7, 3), (12, 8, 8, 1)])
def test_equals_the_loop_over_images(shape: tuple[int, ...], flip: bool, crop: int) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    fast = augmented(images, torch.Generator().manual_seed(5), flip=flip, crop=crop)
    assert torch.equal(fast, reference(images, torch.Generator().manual_seed(5), flip, crop))
    assert torch.equal(images, before)
    assert not torch.equal(fast, images)


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
