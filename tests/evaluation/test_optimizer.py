"""The schedule against a formula by hand, the flat optimiser against torch's own on separate parameters."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from nas_gym.evaluation import Recipe
from nas_gym.evaluation.optimizer import FlatOptimizer, one_cycle
from nas_gym.randomness import isolated_generators


def test_one_cycle_by_hand() -> None:
    # 10 steps, 30 % of them rising: 3 steps up to 4/4 of the peak, then half a cosine over 7 steps.
    rates = [one_cycle(step, 10, 0.8, 0.3) for step in range(10)]
    rising = [0.8 * 1 / 4, 0.8 * 2 / 4, 0.8 * 3 / 4]
    falling = [0.8 * (1 + math.cos(math.pi * k / 7)) / 2 for k in range(7)]
    assert rates == pytest.approx([*rising, *falling], abs=1e-12)
    assert rates[3] == 0.8 == max(rates)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (7, 0.33), (100, 0.3), (100, 0.99)])
def test_one_cycle_stays_in_its_range(steps: int, warmup: float) -> None:
    rates = [one_cycle(step, steps, 0.1, warmup) for step in range(steps)]
    assert all(0 < rate <= 0.1 for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)


def test_one_cycle_falls_like_torch_s() -> None:
    steps, warmup = 40, 0.3
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=steps + 1, pct_start=(warmup * steps + 1) / (steps + 1), final_div_factor=1e9
    )
    after = []
    for _ in range(steps):
        after.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    mine = [one_cycle(step, steps, 0.1, warmup) for step in range(12, steps)]
    assert mine == pytest.approx(after[12:], abs=1e-9)


def network(channels_last: bool) -> nn.Module:
    with isolated_generators(3):
        module = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1, bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Conv2d(5, 7, 1, bias=False),
            nn.Conv2d(7, 7, 3, groups=7),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(7, 4),
        )
    return module.to(memory_format=torch.channels_last) if channels_last else module


RECIPES = [
    Recipe(optimizer="sgd", momentum=0.9, weight_decay=1e-2),
    Recipe(optimizer="sgd", momentum=0.0, weight_decay=0.0),
    Recipe(optimizer="adam", momentum=0.8, weight_decay=1e-2),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("recipe", RECIPES, ids=["nesterov", "plain", "adam"])
def test_equals_torch_on_separate_parameters(recipe: Recipe, channels_last: bool) -> None:
    mine, theirs = network(channels_last), network(channels_last)
    flat = FlatOptimizer(mine, recipe)
    plain: torch.optim.Optimizer
    if recipe.optimizer == "adam":
        plain = torch.optim.Adam(
            theirs.parameters(), betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay, foreach=False
        )
    else:
        plain = torch.optim.SGD(
            theirs.parameters(),
            lr=1.0,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
            foreach=False,
        )
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        inputs = torch.randn(8, 3, 6, 6, generator=generator)
        targets = torch.randint(0, 4, (8,), generator=generator)
        rate = 0.05 / (step + 1)
        flat.step(functional.cross_entropy(mine(inputs), targets), rate)
        plain.param_groups[0]["lr"] = rate
        plain.zero_grad()
        functional.cross_entropy(theirs(inputs), targets).backward()
        plain.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert one.stride() == other.stride()
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert not torch.equal(next(iter(mine.parameters())), next(iter(network(channels_last).parameters())))


def test_release_gives_parameters_memory_of_their_own() -> None:
    module = network(True)
    optimizer = FlatOptimizer(module, Recipe())
    first, second, *_ = module.parameters()
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
    assert all(parameter.data_ptr() % 64 == 0 for parameter in module.parameters())
    values = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer.release()
    assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()
    assert first.untyped_storage().nbytes() == 4 * first.numel()
    assert all(torch.equal(p, v) and p.grad is None for p, v in zip(module.parameters(), values, strict=True))


def test_frozen_parameters_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    module[0].weight.requires_grad_(False)
    frozen = module[0].weight.clone()
    optimizer = FlatOptimizer(module, Recipe(weight_decay=0.1))
    optimizer.step(module(torch.ones(2, 4)).sum(), 0.1)
    assert torch.equal(module[0].weight, frozen)


@pytest.mark.parametrize("recipe", RECIPES, ids=["nesterov", "plain", "adam"])
def test_what_is_remembered_goes_on_bit_for_bit(recipe: Recipe) -> None:
    inputs, targets = torch.ones(4, 3, 6, 6), torch.arange(4)

    def trained(module: nn.Module, optimizer: FlatOptimizer, steps: int) -> nn.Module:
        for _ in range(steps):
            optimizer.step(functional.cross_entropy(module(inputs), targets), 0.05)
        return module

    whole, first, second = network(True), network(True), network(True)
    trained(whole, FlatOptimizer(whole, recipe), 5)
    before = FlatOptimizer(first, recipe)
    trained(first, before, 2)
    second.load_state_dict(first.state_dict())
    after = FlatOptimizer(second, recipe)
    after.restore(before.state())
    trained(second, after, 3)
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), second.parameters(), strict=True))


def test_a_foreign_state_is_refused() -> None:
    small = nn.Linear(2, 2)
    states = [FlatOptimizer(small, Recipe(optimizer=kind)) for kind in ("sgd", "adam")]  # type: ignore[arg-type]
    for optimizer in states:
        optimizer.step(small(torch.ones(1, 2)).sum(), 0.1)
    with pytest.raises(ValueError, match="another module"):
        FlatOptimizer(nn.Linear(20, 20), Recipe()).restore(states[0].state())
    with pytest.raises(ValueError, match="another module"):
        FlatOptimizer(nn.Linear(2, 2), Recipe(optimizer="adam")).restore(states[0].state())
