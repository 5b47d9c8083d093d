"""The training loop against a plain one that is written here, and what it refuses."""

import math
from dataclasses import replace

import pytest
import torch
from networks import SHORT, Faulty, convnet, perceptron
from torch import nn
from torch.nn import functional

from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.data import Dataset
from nas_gym.evaluation import Recipe
from nas_gym.evaluation.augmentation import augmented
from nas_gym.evaluation.loop import DivergedError, Progress, Tensors, TimeLimitError, Training, fit, outputs, score
from nas_gym.evaluation.optimizer import one_cycle
from nas_gym.randomness import isolated_generators

RECIPE = replace(SHORT, channels_last=True)


def split(dataset: Dataset, name: str, n: int | None = None) -> Tensors:
    inputs, targets = dataset.normalised(name)  # type: ignore[arg-type]
    return Tensors(inputs.permute(0, 2, 3, 1).contiguous()[:n], targets[:n])


def plain_loop(module: nn.Module, train: Tensors, validation: Tensors, recipe: Recipe, seed: int) -> list[float]:
    """Train as anyone would with torch alone: same batches, same schedule, SGD with Nesterov momentum."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        module.parameters(), lr=1.0, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
    )
    images, batch = train.inputs.permute(0, 3, 1, 2).contiguous(), min(recipe.batch_size, len(train))
    step, steps, curve = 0, recipe.epochs * (len(train) // batch), []
    for _ in range(recipe.epochs):
        module.train()
        order = torch.randperm(len(train), generator=generator)
        for start in range(0, len(train) - batch + 1, batch):
            chosen = order[start : start + batch]
            optimizer.param_groups[0]["lr"] = one_cycle(step, steps, recipe.learning_rate, recipe.warmup)
            optimizer.zero_grad()
            outputs = module(images[chosen])
            functional.cross_entropy(outputs, train.targets[chosen], label_smoothing=recipe.label_smoothing).backward()
            optimizer.step()
            step += 1
        module.eval()
        with torch.no_grad():
            answers = module(validation.inputs.permute(0, 3, 1, 2)).argmax(1)
        curve.append(float((answers == validation.targets).double().mean()))
    return curve


def fitted(candidate: Candidate, train: Tensors, validation: Tensors, recipe: Recipe) -> tuple[nn.Module, Progress]:
    module = build(candidate.architecture, seed=1)
    if recipe.channels_last:
        module = module.to(memory_format=torch.channels_last)
    with isolated_generators(2):
        return module, fit(module, train, validation, recipe, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("batch", [64, 100, 5_000])
def test_equals_a_plain_loop(digits: Dataset, batch: int, smoothing: float) -> None:
    train, validation = split(digits, "train"), split(digits, "validation")
    recipe = replace(RECIPE, batch_size=batch, label_smoothing=smoothing)
    module, progress = fitted(perceptron(), train, validation, recipe)
    other = build(perceptron().architecture, seed=1)
    curve = plain_loop(other, train, validation, recipe, seed=2)
    assert list(progress.curve) == curve
    for one, plain in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, plain, rtol=0, atol=1e-6)
    assert not module.training and not hasattr(module, "_forward")


def test_convolutions_equal_a_plain_loop(digits: Dataset) -> None:
    train, validation = split(digits, "train", 256), split(digits, "validation")
    recipe = replace(RECIPE, epochs=1, batch_size=64, learning_rate=0.01)
    module, _ = fitted(convnet(), train, validation, recipe)
    other = build(convnet().architecture, seed=1)
    plain_loop(other, train, validation, recipe, seed=2)
    for (name, one), plain in zip(module.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(one, plain, rtol=1e-4, atol=1e-5, msg=name)


def test_mixed_precision_multiplies_in_bfloat16_and_keeps_float32(digits: Dataset) -> None:
    train, validation = split(digits, "train", 256), split(digits, "validation", 64)
    seen: dict[str, set[torch.dtype]] = {"convolutions": set(), "losses": set()}

    def trained(mixed: bool) -> tuple[nn.Module, Progress]:
        module = build(convnet(width=8).architecture, seed=1).to(memory_format=torch.channels_last)
        for layer in module.modules():
            if mixed and isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda _, __, output: seen["convolutions"].add(output.dtype))

        def loss(images: torch.Tensor, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            seen["losses"].add(outputs.dtype)
            return functional.cross_entropy(outputs, targets)

        training = Training(
            module,
            train,
            validation,
            replace(RECIPE, mixed_precision=mixed),
            torch.Generator().manual_seed(2),
            loss=loss,
        )
        progress = training.run(RECIPE.epochs)
        training.release()
        return module, progress

    (exact, plain), (module, mixed), (_, again) = trained(False), trained(True), trained(True)
    assert seen == {"convolutions": {torch.bfloat16}, "losses": {torch.float32}}
    assert mixed == again, "the same bits"
    assert mixed.loss != plain.loss and mixed.loss == pytest.approx(plain.loss, rel=0.05)
    assert {weight.dtype for weight in module.state_dict().values() if weight.is_floating_point()} == {torch.float32}
    answers = outputs(module, validation.inputs, replace(RECIPE, mixed_precision=True))
    with torch.no_grad():
        assert torch.equal(answers, module(validation.inputs.permute(0, 3, 1, 2))), "what an exported network answers"
    assert not torch.equal(answers, outputs(exact, validation.inputs, RECIPE))


def test_layout_is_obeyed_even_with_one_channel(digits: Dataset) -> None:
    train, validation = split(digits, "train", 128), split(digits, "validation", 64)
    for channels_last in (True, False):
        seen: list[tuple[int, ...]] = []
        module = build(convnet().architecture, seed=1)
        if channels_last:
            module = module.to(memory_format=torch.channels_last)
        convolution = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
        convolution.register_forward_hook(lambda layer, inputs, output, seen=seen: seen.append(output.stride()))
        fit(module, train, validation, replace(RECIPE, channels_last=channels_last), torch.Generator())
        assert {stride[1] for stride in seen} == {1 if channels_last else 64}


def test_score_by_hand(digits: Dataset) -> None:
    validation = split(digits, "validation")
    module = build(convnet().architecture, seed=3)
    images = validation.inputs.permute(0, 3, 1, 2)
    module.eval()
    with torch.no_grad():
        outputs = module(images).double()
    accuracy = float((outputs.argmax(1) == validation.targets).double().mean())
    loss = float(functional.cross_entropy(outputs, validation.targets))
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = score(module, validation, RECIPE)
    assert found == (pytest.approx(accuracy), pytest.approx(loss, rel=1e-5))
    assert not module.training  # batch normalisation uses what it learned, and learns nothing here
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_score_in_parts_counts_every_sample(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = split(digits, "validation")
    module = build(perceptron().architecture, seed=3)
    sizes: list[int] = []
    module.register_forward_hook(lambda layer, inputs, output: sizes.append(len(inputs[0])))
    whole = score(module, validation, RECIPE)
    monkeypatch.setattr("nas_gym.evaluation.loop._EVALUATION_VALUES", {"cpu": 64 * 100})
    parts = score(module, validation, RECIPE)
    assert sizes == [360, 100, 100, 100, 60]
    assert parts[0] == whole[0] and parts[1] == pytest.approx(whole[1], rel=1e-6)


def test_validation_is_never_augmented(digits: Dataset) -> None:
    train, validation = split(digits, "train"), split(digits, "validation")
    recipe = replace(RECIPE, epochs=1, flip=True, crop=2)
    seen: list[torch.Tensor] = []
    module = build(perceptron().architecture, seed=1)
    module.register_forward_hook(lambda layer, inputs, output: None if layer.training else seen.append(inputs[0]))
    fit(module, train, validation, recipe, torch.Generator())
    assert torch.equal(torch.cat(seen), validation.inputs.permute(0, 3, 1, 2))


def test_training_is_augmented(digits: Dataset) -> None:
    train, validation = split(digits, "train"), split(digits, "validation")
    losses = {
        fitted(convnet(width=4), train, validation, replace(RECIPE, **changed))[1].loss
        for changed in ({}, {"flip": True}, {"crop": 1}, {"cutout": 3})
    }
    assert len(losses) == 4


def test_what_is_drawn_for_an_epoch_is_what_is_trained_on(digits: Dataset) -> None:
    train, validation = split(digits, "train", 200), split(digits, "validation", 64)
    recipe = replace(RECIPE, epochs=2, batch_size=64, flip=True, crop=1, cutout=2)
    seen: list[torch.Tensor] = []
    module = build(perceptron().architecture, seed=1)
    module.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]) if layer.training else None)
    fit(module, train, validation, recipe, torch.Generator().manual_seed(4))
    generator, expected = torch.Generator().manual_seed(4), []
    for _ in range(2):
        order = torch.randperm(200, generator=generator)[:192]
        images = augmented(train.inputs[order], generator, flip=True, crop=1, cutout=2)
        expected.append(images.permute(0, 3, 1, 2))
    assert [len(batch) for batch in seen] == [64] * 6 and torch.equal(torch.cat(seen), torch.cat(expected))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite(digits: Dataset, value: float) -> None:
    train, validation = split(digits, "train"), split(digits, "validation")
    with pytest.raises(DivergedError, match="training loss was not finite in epoch 2"):
        fit(Faulty(lambda outputs: outputs * value, step=20), train, validation, RECIPE, torch.Generator())


def test_a_validation_loss_that_is_not_finite(digits: Dataset) -> None:
    train, validation = split(digits, "train"), split(digits, "validation")
    module = Faulty(None, step=-5)
    module.register_forward_hook(lambda layer, inputs, output: output if layer.training else output * math.nan)
    with pytest.raises(DivergedError, match="validation loss was not finite after epoch 1"):
        fit(module, train, validation, RECIPE, torch.Generator())


def test_time_limit(digits: Dataset) -> None:
    train, validation = split(digits, "train"), split(digits, "validation")
    recipe = replace(RECIPE, time_limit_seconds=1e-6)
    with pytest.raises(TimeLimitError, match="longer than 1e-06 s"):
        fitted(perceptron(), train, validation, recipe)
    recipe = replace(RECIPE, time_limit_seconds=600.0)
    assert fitted(perceptron(), train, validation, recipe)[1] == fitted(perceptron(), train, validation, RECIPE)[1]


def test_dropout_is_the_fast_one(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = split(digits, "train", 128), split(digits, "validation", 64)
    rates: list[float] = []
    monkeypatch.setattr("nas_gym.evaluation.dropout.bit_dropout", lambda values, rate: rates.append(rate) or values)
    fitted(convnet(dropout=0.25), train, validation, RECIPE)
    assert rates == [0.25] * 4  # two epochs of two steps, and none in validation


def test_vectors_as_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=generator)
    data = Tensors(inputs, (inputs[:, 0] > 0).long())
    module = build(perceptron(8, shape=(6,)).architecture, seed=1)
    progress = fit(module, data, data, replace(RECIPE, epochs=30, crop=2, flip=True), torch.Generator())
    assert progress.curve[-1] > 0.95 and len(progress.curve) == 30
