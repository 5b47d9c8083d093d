"""The long training: stopped after any epoch and taken up again, it comes to the same weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.errors import RunError
from nas_gym.evaluation import Recipe
from nas_gym.evaluation.loop import Tensors
from nas_gym.winner.long_recipe import LongRecipe
from nas_gym.winner.training import CHECKPOINTS, CURVE, Job, TooLargeError, restarts, seconds_per_epoch, train

EPOCHS = 4


def job(seed: int = 0, **changes: Any) -> Job:
    conv = Operation("conv", (("bias", 0), ("channels", 8), ("groups", 1), ("kernel", 3), ("stride", 1)), (-1,))
    rest = ("batch_norm", "relu", "global_average_pool")
    operations = [conv, *(Operation(kind, (), (i,)) for i, kind in enumerate(rest))]
    operations += [Operation("dropout", (("rate", 0.3),), (3,)), Operation("linear", (("units", 4),), (4,))]
    generator = torch.Generator().manual_seed(9)
    images = Tensors(torch.randn(80, 6, 6, 1, generator=generator), torch.arange(80) % 4)
    settings = {"epochs": EPOCHS, "batch_size": 16, "flip": True, "crop": 1, "cutout": 2, "threads": 1, **changes}
    recipe = Recipe(**settings).settled((1, 6, 6), "cpu")
    watched = Tensors(images.inputs[:20], images.targets[:20])
    candidate = Candidate(Architecture((1, 6, 6), tuple(operations)))
    return Job(
        candidate, LongRecipe(recipe=recipe, average_decay=0.8, flip_at_test=True), images, watched, "data", seed
    )


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.state_dict())


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def without_seconds(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class Killed(BaseException):
    """What stops a training like a kill does: nothing catches it."""


@pytest.mark.parametrize("epochs", range(EPOCHS + 1))
def test_stopped_after_any_epoch_it_goes_on_to_the_same_weights(epochs: int, tmp_path: Path) -> None:
    module, rows = train(job(), tmp_path / "whole")

    def stop(finished: list[dict[str, float]]) -> None:
        if len(finished) == epochs:
            raise Killed

    with pytest.raises(Killed):
        train(job(), tmp_path / "stopped", finished=stop)
    steps: list[int] = []
    again, resumed = train(job(), tmp_path / "stopped", stepped=lambda step: steps.append(step.done))
    assert_equal(weights(again), weights(module))
    assert without_seconds(resumed) == without_seconds(rows)
    assert steps == list(range(epochs * 5 + 1, EPOCHS * 5 + 1)), "what was done was not done again"


def test_stopped_within_an_epoch_it_begins_that_epoch_again(tmp_path: Path) -> None:
    module, _ = train(job(), tmp_path / "whole")

    def stop(step: Any) -> None:
        if step.done == 13:
            raise Killed

    with pytest.raises(Killed):
        train(job(), tmp_path / "stopped", stepped=stop)
    again, _ = train(job(), tmp_path / "stopped")
    assert_equal(weights(again), weights(module))


def test_damaged_checkpoints_and_those_of_other_trainings_count_as_none(tmp_path: Path) -> None:
    module, _ = train(job(), tmp_path / "whole")
    train(job(seed=1), tmp_path / "other")
    train(job(learning_rate=0.01), tmp_path / "other")
    assert len(list((tmp_path / "other" / CHECKPOINTS).iterdir())) == 2
    again, _ = train(job(), tmp_path / "other")
    assert_equal(weights(again), weights(module))
    for file in (tmp_path / "other" / CHECKPOINTS).iterdir():
        file.write_bytes(file.read_bytes()[:-7])
    again, _ = train(job(), tmp_path / "other")
    assert_equal(weights(again), weights(module))


def test_the_curve_is_written_as_it_grows(tmp_path: Path) -> None:
    seen: list[list[Any]] = []

    def look(rows: list[dict[str, float]]) -> None:
        lines = (tmp_path / CURVE).read_text().splitlines()
        seen.append([json.loads(line) for line in lines])
        assert seen[-1] == rows

    train(job(), tmp_path, finished=look)
    assert [len(rows) for rows in seen] == list(range(EPOCHS + 1))
    assert [row["epoch"] for row in seen[-1]] == [1, 2, 3, 4]
    assert set(seen[-1][0]) == {"epoch", "learning_rate", "training_loss", "accuracy", "loss", "seconds"}


def test_seeds_make_other_networks_and_the_same_seed_the_same(tmp_path: Path) -> None:
    one, other, again = (train(job(seed=seed), tmp_path / str(i))[0] for i, seed in enumerate((0, 1, 0)))
    assert not torch.equal(one.layers[0].weight, other.layers[0].weight)
    assert_equal(weights(one), weights(again))


def test_the_winner_has_the_averaged_weights(tmp_path: Path) -> None:
    plain = replace(job(), recipe=replace(job().recipe, average_decay=0.0))
    averaged, last = train(job(), tmp_path / "a")[0], train(plain, tmp_path / "b")[0]
    assert not torch.equal(averaged.layers[0].weight, last.layers[0].weight)
    assert not averaged.training and all(p.grad is None for p in averaged.parameters())


def test_a_training_that_diverges_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not finite .*--recipe-arg learning_rate=4.12e\+27"):
        train(job(learning_rate=1e30), tmp_path)
    assert restarts(tmp_path) == 4


def without_normalisation(learning_rate: float) -> Job:
    """Return a training of two linear layers, which a learning rate that is too large blows up."""
    plain = job(learning_rate=learning_rate, flip=False, crop=0, cutout=0, epochs=EPOCHS)
    operations = [Operation("flatten", (), (-1,))]
    operations += [Operation("linear", (("units", 64),), (0,)), Operation("relu", (), (1,))]
    operations += [Operation("linear", (("units", 4),), (2,))]
    return replace(plain, candidate=Candidate(Architecture((1, 6, 6), tuple(operations))))


def test_a_training_that_diverges_begins_anew_and_goes_on_after_a_kill_as_if_there_was_none(tmp_path: Path) -> None:
    lengths: list[int] = []
    module, rows = train(without_normalisation(3.0), tmp_path / "whole", finished=lambda r: lengths.append(len(r)))
    diverged = restarts(tmp_path / "whole")
    assert 1 <= diverged <= 4 and lengths.count(0) == diverged + 1
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    slow, _ = train(without_normalisation(3.0 / 3**diverged), tmp_path / "slow")
    assert_equal(weights(module), weights(slow))
    begun: list[int] = []

    def stop(finished: list[dict[str, float]]) -> None:
        begun.append(len(finished))
        if begun.count(0) == diverged + 1 and len(finished) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(without_normalisation(3.0), tmp_path / "stopped", finished=stop)
    resumed: list[int] = []
    again, _ = train(without_normalisation(3.0), tmp_path / "stopped", finished=lambda r: resumed.append(len(r)))
    assert resumed == list(range(2, EPOCHS + 1)), "the attempts that diverged are not made again"
    assert_equal(weights(again), weights(module))


def test_one_that_does_not_fit_into_memory_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("nas_gym.evaluation.loop.altered", full)
    with pytest.raises(RunError, match=r"does not fit into the memory .*smaller --width or with .*batch_size=8"):
        train(job(), tmp_path)


def test_a_warm_up_that_diverges_is_timed_all_the_same_and_one_that_is_too_large_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert seconds_per_epoch(job(learning_rate=1e30)) > 0

    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("nas_gym.evaluation.loop.altered", full)
    with pytest.raises(TooLargeError, match="does not fit into the memory"):
        seconds_per_epoch(job())


def test_the_warm_up_measures_and_leaves_nothing_behind(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    assert seconds_per_epoch(job()) > 0
    assert torch.equal(torch.get_rng_state(), state)
    module, _ = train(job(), tmp_path / "after")
    again, _ = train(job(), tmp_path / "again")
    assert_equal(weights(module), weights(again))
