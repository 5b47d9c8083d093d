"""The average of the weights: against the weights of every step, put together by hand."""

from typing import Any

import pytest
import torch
from networks import convnet
from torch import nn

from nas_gym.builder import build
from nas_gym.evaluation import Recipe
from nas_gym.evaluation.averaging import Averages
from nas_gym.evaluation.loop import Tensors, Training, score

EPOCHS, BATCH = 3, 16
RECIPE = Recipe(epochs=EPOCHS, batch_size=BATCH, learning_rate=0.1, flip=True).settled((1, 8, 8), "cpu")


def data() -> Tensors:
    generator = torch.Generator().manual_seed(0)
    return Tensors(torch.randn(64, 8, 8, 1, generator=generator), torch.randint(0, 10, (64,), generator=generator))


def started(decay: float, stepped: Any = None) -> tuple[nn.Module, Averages, Training]:
    module = build(convnet().trained, seed=1).to(memory_format=torch.channels_last)
    averages = Averages(module, decay)
    order = torch.Generator().manual_seed(2)
    return module, averages, Training(module, data(), data(), RECIPE, order, averages=averages, stepped=stepped)


def floats(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.95])
def test_the_average_is_the_weighted_sum_of_the_weights_of_every_step(decay: float) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    module, averages, training = started(decay, lambda done, total: seen.append(floats(module)))
    seen.append(floats(module))
    training.run(EPOCHS)
    averages.take()
    steps = len(seen) - 1
    assert steps == EPOCHS * 64 // BATCH
    decays = [min(decay, t / (t + 9)) for t in range(1, steps + 1)]
    for name, value in floats(module).items():
        share = 1.0  # of what came before, taken back from the last step to the first
        expected = torch.zeros_like(value, dtype=torch.float64)
        for t in range(steps, 0, -1):
            expected += share * (1 - decays[t - 1]) * seen[t][name].double()
            share *= decays[t - 1]
        expected += share * seen[0][name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-6)


def test_a_training_is_the_same_with_and_without_an_average_and_validates_the_average() -> None:
    module, averages, training = started(0.9)
    other = build(convnet().trained, seed=1).to(memory_format=torch.channels_last)
    plain = Training(other, data(), data(), RECIPE, torch.Generator().manual_seed(2))
    training.run(2), plain.run(2)
    for name, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), f"{name}: what is validated is not what is trained on"
    assert training.training_loss == plain.training_loss
    with averages.in_place():
        accuracy, loss = score(module, data(), RECIPE)
    assert (training.curve[-1], training.loss) == (accuracy, loss)
    assert training.loss != plain.loss


def test_the_average_is_taken_up_again_where_it_was() -> None:
    module, averages, training = started(0.9)
    training.run(1)
    kept = torch.load(_saved(training.state()), weights_only=True)
    training.run(EPOCHS)
    averages.take()
    again, resumed_averages, resumed = started(0.9)
    resumed.restore(kept)
    resumed.run(EPOCHS)
    resumed_averages.take()
    for name, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_an_average_of_another_module_is_refused() -> None:
    averages = Averages(nn.Linear(2, 3), 0.9)
    with pytest.raises(ValueError, match="another module"):
        averages.restore(Averages(nn.Linear(3, 3), 0.9).state())
    with pytest.raises(ValueError, match="decay"):
        Averages(nn.Linear(2, 3), 1.0)


def test_steps_are_told_with_their_number_and_that_of_the_whole_training() -> None:
    told: list[tuple[int, int]] = []
    _, _, training = started(0.9, lambda done, total: told.append((done, total)))
    training.run(EPOCHS)
    assert told == [(number, 12) for number in range(1, 13)]


def _saved(state: dict[str, Any]) -> Any:
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer
