"""How images are divided: stratified, disjoint, by the seed alone, and never from the test images."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas_gym.data import Split, first_per_class, stratified
from nas_gym.data.splitting import Parts, Splitting, divide

Refusal = Callable[..., str]
labels = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(lambda values: np.array(values, dtype=np.int64))


def numbered(n: int, start: int = 0) -> Split:
    """Images that carry their number in two pixels, classes 0 1 2 0 1 2 …"""
    numbers = torch.arange(start, start + n)
    pixels = torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8)
    return Split(pixels.view(n, 1, 1, 2), numbers % 3)


def numbers(part: Split) -> list[int]:
    pixels = part.inputs.view(-1, 2).long()
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()  # type: ignore[no-any-return]


def parts(*, test: bool = True, validation: bool = False) -> Parts:
    return Parts(
        "toy",
        ("a", "b", "c"),
        numbered(300),
        validation=numbered(30, 2000) if validation else None,
        test=numbered(60, 1000) if test else None,
    )


@given(labels, st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_stratified_divides_every_class(targets: np.ndarray, share: float, seed: int) -> None:
    rest, taken = stratified(targets, share, seed)
    assert sorted([*rest, *taken]) == list(range(len(targets)))
    assert list(rest) == sorted(rest) and list(taken) == sorted(taken)
    for label in np.unique(targets):
        n, n_taken = np.sum(targets == label), np.sum(targets[taken] == label)
        assert n_taken <= n - 1
        assert n_taken == n - 1 or abs(n_taken - share * n) < 1 + 1e-9
    if all(np.bincount(targets)[np.unique(targets)] > 1 / (1 - share) + 1):
        assert len(taken) == round(float((np.unique(targets, return_counts=True)[1] * share).sum()))
    again = stratified(targets, share, seed)
    assert np.array_equal(again[0], rest) and np.array_equal(again[1], taken)


@given(labels, st.integers(1, 20))
def test_first_per_class_takes_the_first(targets: np.ndarray, n: int) -> None:
    expected, counts = [], dict.fromkeys(range(6), 0)
    for position, label in enumerate(targets.tolist()):
        counts[label] += 1
        if counts[label] <= n:
            expected.append(position)
    assert first_per_class(targets, n).tolist() == expected


def test_official_parts_are_kept_and_validation_comes_from_training() -> None:
    divided = divide(parts(), Splitting())
    assert numbers(divided.test) == list(range(1000, 1060))
    assert sorted(numbers(divided.train) + numbers(divided.validation)) == list(range(300))
    assert torch.bincount(divided.train.targets).tolist() == [80, 80, 80]
    assert torch.bincount(divided.validation.targets).tolist() == [20, 20, 20]
    for part in (divided.train, divided.validation):
        assert [number % 3 for number in numbers(part)] == part.targets.tolist()


def test_official_validation_images_are_used() -> None:
    divided = divide(parts(validation=True), Splitting())
    assert numbers(divided.validation) == list(range(2000, 2030))
    assert numbers(divided.train) == list(range(300))


def test_without_test_images_the_shares_are_of_the_whole() -> None:
    divided = divide(parts(test=False), Splitting())
    sizes = [len(part) for part in (divided.train, divided.validation, divided.test)]
    assert sizes == [180, 60, 60]
    together = numbers(divided.train) + numbers(divided.validation) + numbers(divided.test)
    assert sorted(together) == list(range(300))
    for part in (divided.train, divided.validation, divided.test):
        assert len(set(torch.bincount(part.targets).tolist())) == 1


def test_first_per_class_counts_before_validation_and_leaves_test_alone() -> None:
    divided = divide(parts(), Splitting(first_per_class=10))
    assert sorted(numbers(divided.train) + numbers(divided.validation)) == list(range(30))
    assert (len(divided.train), len(divided.validation), len(divided.test)) == (24, 6, 60)
    divided = divide(parts(), Splitting(first_per_class=10, first_test_per_class=2))
    assert numbers(divided.test) == list(range(1000, 1006))


def test_a_carved_test_part_does_not_depend_on_the_other_options() -> None:
    whole = divide(parts(test=False), Splitting())
    few = divide(parts(test=False), Splitting(first_per_class=10, validation_share=0.4))
    assert numbers(few.test) == numbers(whole.test)
    assert (len(few.train), len(few.validation)) == (15, 15)
    assert not set(numbers(few.test)) & set(numbers(few.train) + numbers(few.validation))


def test_the_seed_alone_decides() -> None:
    same = [divide(parts(test=False), Splitting(seed=seed)).fingerprint for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_statistics_are_those_of_the_training_part() -> None:
    divided = divide(parts(), Splitting())
    assert divided.mean == pytest.approx([float(divided.train.inputs.double().mean() / 255)], abs=1e-7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation_share": 0}, "validation_share"),
        ({"validation_share": 1.0}, "validation_share"),
        ({"validation_share": float("nan")}, "validation_share"),
        ({"validation_share": "a lot"}, "a lot"),
        ({"validation_share": True}, "True"),
        ({"first_per_class": 0}, "first_per_class"),
        ({"first_per_class": 2.5}, "2.5"),
        ({"first_test_per_class": -1}, "first_test_per_class"),
        ({"seed": -1}, "split_seed"),
        ({"seed": None}, "split_seed"),
    ],
)
def test_options_out_of_range_are_refused(refusal: Refusal, options: dict[str, float], words: str) -> None:
    refusal(lambda: Splitting(**options), words)  # type: ignore[arg-type]


def test_too_few_images_are_refused(refusal: Refusal) -> None:
    refusal(lambda: divide(parts(), Splitting(first_per_class=1)), "toy", "validation part")
    refusal(lambda: divide(parts(test=False), Splitting(validation_share=0.9)), "toy", "below 0.8")
    single = Parts("toy", ("a", "b", "c"), numbered(3))
    refusal(lambda: divide(single, Splitting()), "toy", "test part")
