"""The supernet: what is shared by whom, what a step changes, exact resumption, and scores that rank."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import chain, conv, global_state, perceptron, trainer
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional

from nas_gym.architecture import Candidate, Operation
from nas_gym.builder import build
from nas_gym.data import Dataset, load_dataset
from nas_gym.errors import ConfigurationError, OutOfSpaceError
from nas_gym.evaluation import (
    Evaluation,
    Fidelity,
    HandedOver,
    ProcessEvaluator,
    Recipe,
    SupernetEvaluator,
    evaluate,
)
from nas_gym.evaluation.optimizer import one_cycle
from nas_gym.evaluation.weight_sharing import supernet as training
from nas_gym.evaluation.weight_sharing.checkpoint import read_checkpoint
from nas_gym.evaluation.weight_sharing.places import Widths, places
from nas_gym.evaluation.weight_sharing.supernet import LONGEST_GRADIENT, Supernet, channels_second
from nas_gym.spaces import (
    BatchNorm,
    ChainSpace,
    Convolution,
    Dropout,
    FullyConnected,
    Limits,
    MaxPool,
    Prefix,
    ResidualBlock,
    SeparableConvolution,
)
from nas_gym.testing import random_walk
from nas_gym.testing_evaluators import check_evaluator

CATALOGUE = (
    Convolution(8),
    Convolution(16),
    SeparableConvolution(16),
    ResidualBlock(16),
    MaxPool(2),
    MaxPool(4),
    Dropout(0.2),
    FullyConnected(16),
    BatchNorm(),
)
NARROW, BROAD, SEPARABLE, RESIDUAL, POOL, POOL_4, DROPOUT, LINEAR, NORM, STOP = range(10)
SPACE = ChainSpace((1, 8, 8), 10, catalogue=CATALOGUE, max_layers=4, activations=("relu", "tanh"))
SMALL = ChainSpace((1, 8, 8), 10, catalogue=CATALOGUE[:2] + CATALOGUE[4:8], max_layers=2, activations=("relu",))
# Blocks as wide as the input and wider ones, which share.
ODD = ChainSpace(
    (3, 8, 8), 10, catalogue=(ResidualBlock(3), ResidualBlock(3, stride=2), ResidualBlock(8, stride=2), Convolution(3))
)
DEFAULT = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=100_000, macs=400_000, resolution=2))
RECIPE = Recipe(epochs=2, batch_size=128, learning_rate=0.1, threads=1)  # 16 steps


def sharing(dataset: Dataset, recipe: Recipe = RECIPE, space: ChainSpace = SPACE, **options: Any) -> SupernetEvaluator:
    return SupernetEvaluator(dataset, space, recipe, device="cpu", **options)


def network(*layers: int, activation: int = 0, space: ChainSpace = SPACE) -> Candidate:
    stop = () if len(layers) == space.max_layers else (len(space.catalogue),)
    return space.candidate((activation, *layers, *stop))


def names(*layers: int, **options: int) -> list[str]:
    return [place.name for place in places(network(*layers, **options).architecture.canonical(), Widths.of(SPACE))]


def walks(space: ChainSpace, n: int) -> Iterator[Candidate]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield space.candidate(random_walk(space, rng))


def snapshot(supernet: Supernet) -> dict[str, dict[str, torch.Tensor]]:
    weights = supernet.weights
    return {kind: {n: t.clone() for n, t in getattr(weights, kind).items()} for kind in ("values", "momenta")}


def same(one: dict[str, dict[str, torch.Tensor]], other: dict[str, dict[str, torch.Tensor]]) -> bool:
    return all(
        one[kind].keys() == other[kind].keys() and all(torch.equal(t, other[kind][n]) for n, t in one[kind].items())
        for kind in ("values", "momenta")
    )


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Prefix], None]:
    """A function that makes every path of a training the one of this prefix."""
    return lambda prefix: monkeypatch.setattr(training, "random_walk", lambda space, rng: prefix)


@pytest.fixture(scope="module")
def shared(digits: Dataset) -> SupernetEvaluator:
    evaluator = sharing(digits)
    evaluator.prepare()
    return evaluator


def test_widths() -> None:
    assert Widths.of(DEFAULT) == Widths(first=1, channels=64, units=128, kernel=5)
    assert Widths.of(SPACE) == Widths(first=1, channels=16, units=16, kernel=3)
    only = ChainSpace((3, 8, 8), 10, catalogue=(MaxPool(2),), max_layers=2)
    assert Widths.of(only) == Widths(first=3, channels=3, units=1, kernel=1)


@pytest.mark.parametrize("space", [SPACE, ODD, DEFAULT], ids=["small", "odd", "default"])
def test_every_weighted_operation_has_one_place_and_places_have_one_shape(space: ChainSpace) -> None:
    shapes: dict[str, tuple[Any, ...]] = {}
    for candidate in walks(space, 150):
        canonical = candidate.architecture.canonical()
        found = places(canonical, Widths.of(space))
        weighted = ("conv", "linear", "batch_norm")
        assert [p.position for p in found] == [i for i, o in enumerate(canonical.operations) if o.kind in weighted]
        assert len({p.name for p in found}) == len(found)
        for place in found:
            assert shapes.setdefault(place.name, (place.shape, place.origin)) == (place.shape, place.origin)
            assert all(part <= whole for part, whole in zip(place.used, place.shape, strict=True))


def test_who_shares() -> None:
    assert names(NARROW) == names(BROAD) == names(NARROW, activation=1)
    assert names(NARROW, BROAD)[:2] == names(NARROW)[:2] and names(NARROW, BROAD)[2] != names(NARROW)[0]
    assert names(POOL, NARROW) == names(NARROW) == names(DROPOUT, NARROW, POOL)
    assert not set(names(NARROW)) & set(names(SEPARABLE)[:-1]) and not set(names(NARROW)) & set(names(RESIDUAL)[:-1])
    assert names(NARROW)[-1] == names(SEPARABLE)[-1] == names(RESIDUAL)[-1], "one classifier for each number of layers"
    assert names(NARROW)[-1] != names(NARROW, NARROW)[-1]
    assert names(NARROW, LINEAR)[2] != names(NARROW, POOL, LINEAR)[2], "maps of another size"
    assert len(names(RESIDUAL)) == 7 and len(names(BROAD, RESIDUAL)) == 7, "with and without convolution at the side"
    assert len(set(names(NARROW, NORM, NORM))) == 5


def test_equal_networks_share_all() -> None:
    one, other = network(POOL, POOL, NARROW), network(POOL_4, NARROW)
    assert one.key == other.key and names(POOL, POOL, NARROW) == names(POOL_4, NARROW)


def test_what_is_too_wide_is_refused(shared: SupernetEvaluator) -> None:
    widths = Widths.of(SPACE)
    wide = chain((1, 8, 8), conv(17), Operation("global_average_pool"), Operation("linear", (("units", 10),)))
    large = chain((1, 8, 8), conv(8, kernel=5), Operation("global_average_pool"), Operation("linear", (("units", 10),)))
    for candidate in (wide, large, perceptron(17)):
        with pytest.raises(OutOfSpaceError, match="larger than any of the supernet's space"):
            places(candidate.architecture.canonical(), widths)
    answers = evaluate(shared, [wide, perceptron(shape=(1, 9, 9)), network(NARROW)])
    assert [answer.status for answer in answers] == ["invalid", "invalid", "ok"]
    assert "larger than any" in answers[0].reason and "(1, 9, 9)" in answers[1].reason


@pytest.mark.parametrize("layers", [(NARROW, BROAD), (RESIDUAL, SEPARABLE, LINEAR), (POOL, NORM, LINEAR)])
def test_a_path_computes_what_the_architecture_says(shared: SupernetEvaluator, layers: tuple[int, ...]) -> None:
    architecture = network(*layers).architecture.canonical()
    path = shared.prepare().weights.path(architecture, trained=False)
    plain = build(architecture, seed=0)
    plain.load_state_dict(path.network.state_dict())
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for on_batch in (True, False):  # batch normalisation by the batch, or by what came before
        outputs = []
        for module in (path.network, plain):
            for layer in module.modules():
                layer.training = on_batch and not isinstance(layer, nn.Dropout)
            outputs.append(module(images).detach())
        assert torch.allclose(*outputs, atol=1e-6)


def test_convolutions_of_a_layer_begin_alike(digits: Dataset) -> None:
    space = ChainSpace((1, 8, 8), 10, catalogue=(Convolution(4), Convolution(8, kernel=5)), max_layers=2)
    weights = sharing(digits, space=space)
    supernet = Supernet(space, weights._split("train"), weights.recipe, 0)
    three, five = (
        supernet.weights.path(network(layer, layer, space=space).architecture.canonical(), trained=False).parameters
        for layer in (0, 1)
    )
    for position in (0, 3):  # the convolutions, each before the weight and the bias of a normalisation
        small, large = three[position], five[position]
        scaled = large[:4, : small.shape[1], 1:-1, 1:-1] * (5 / 3)  # standard deviations go with 1 / sqrt(fan-in)
        assert torch.allclose(small, scaled, atol=1e-6)
    assert not torch.allclose(three[0][:, :1], three[3][:, :1]), "layers don't"


def test_first_values_do_not_depend_on_what_came_before(digits: Dataset) -> None:
    evaluator = sharing(digits)
    one, other = (Supernet(SPACE, evaluator._split("train"), evaluator.recipe, 0) for _ in range(2))
    architecture = network(RESIDUAL, LINEAR).architecture.canonical()
    one.weights.path(network(BROAD, RESIDUAL).architecture.canonical(), trained=True)
    paths = [supernet.weights.path(architecture, trained=False) for supernet in (one, other)]
    assert all(torch.equal(*pair) for pair in zip(*(path.parameters for path in paths), strict=True))


def test_a_step_changes_what_its_path_uses_and_nothing_else(digits: Dataset, fixed: Callable[[Prefix], None]) -> None:
    evaluator = sharing(digits)
    supernet = Supernet(SPACE, evaluator._split("train"), evaluator.recipe, 0)
    fixed((0, BROAD, BROAD, LINEAR, STOP))
    supernet._train_step()
    before = snapshot(supernet)
    fixed((0, NARROW, BROAD, STOP))
    supernet._train_step()
    after = snapshot(supernet)
    used = {}
    for place in places(network(NARROW, BROAD).architecture.canonical(), supernet.weights.widths):
        used |= {f"{place.name} weight": place.used, f"{place.name} bias": place.used[:1]}
    assert before["values"].keys() < after["values"].keys(), "the classifier of two layers is new"
    for name, value in before["values"].items():
        for kind, old in (("values", value), ("momenta", before["momenta"][name])):
            expected = torch.zeros_like(old, dtype=torch.bool)
            if name in used:
                expected[tuple(slice(length) for length in used[name])] = True
            changed = after[kind][name] != old
            assert not changed[~expected].any(), name
            assert not expected.any() or changed[expected].double().mean() > 0.3, name  # some ReLUs are dead


def test_one_path_alone_is_trained_as_torch_trains_it(digits: Dataset, fixed: Callable[[Prefix], None]) -> None:
    evaluator = sharing(digits, replace(RECIPE, flip=True, crop=1, label_smoothing=0.1))
    supernet = Supernet(SPACE, evaluator._split("train"), evaluator.recipe, 0)
    prefix = (0, BROAD, RESIDUAL, LINEAR, STOP)
    fixed(prefix)
    architecture = SPACE.candidate(prefix).architecture.canonical()
    module = build(architecture, seed=0)
    module.load_state_dict(supernet.weights.path(architecture, trained=False).network.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    for step in range(supernet.steps):
        images, targets = supernet._batch()
        outputs = module(channels_second(images, supernet.recipe))
        optimizer.zero_grad()
        functional.cross_entropy(outputs, targets, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), LONGEST_GRADIENT)
        optimizer.param_groups[0]["lr"] = one_cycle(step, supernet.steps, 0.1, 0.3)
        optimizer.step()
        supernet._train_step()
        supernet.step += 1
    trained = supernet.weights.path(architecture, trained=False).parameters
    assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(trained, module.parameters(), strict=True))
    assert supernet.steps == 16 and supernet.skipped == 0


def test_paths_are_uniform_and_batches_are_epochs(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = sharing(digits, replace(RECIPE, epochs=40))
    supernet = Supernet(SMALL, evaluator._split("train"), evaluator.recipe, 0)
    paths, seen = [], []

    def walk(space: ChainSpace, rng: np.random.Generator) -> Prefix:
        paths.append(random_walk(space, rng))
        return paths[-1]

    def step(self: Supernet) -> None:
        self._drawn()
        seen.append(self._batch()[0])

    monkeypatch.setattr(training, "random_walk", walk)
    monkeypatch.setattr(Supernet, "_train_step", step)
    supernet.fit()
    first = np.bincount([path[1] for path in paths], minlength=7)
    assert len(paths) == 320 and first[6] == 0 and first.sum() == 320, "the first layer can't be stop"
    assert ((first[:6] - 320 / 6) ** 2 / (320 / 6)).sum() < 20.5, "chi-square with 5 degrees of freedom, p > 0.001"
    epochs = [torch.cat(seen[start : start + 8]).flatten(1) for start in (0, 8)]
    assert all(len(torch.unique(epoch, dim=0)) == 1024 for epoch in epochs) and not torch.equal(*epochs)


def test_steps_without_a_finite_gradient_are_left_out(digits: Dataset) -> None:
    evaluator = sharing(digits)
    train = evaluator._split("train")
    supernet = Supernet(SPACE, replace(train, inputs=train.inputs * float("nan")), evaluator.recipe, 0)
    supernet.fit()
    assert supernet.skipped == supernet.steps == 16
    assert all(value.isfinite().all() for value in supernet.weights.values.values())


def test_the_contract(digits: Dataset) -> None:
    candidates = [network(NARROW, DROPOUT, POOL), network(RESIDUAL, SEPARABLE), network(LINEAR, activation=1)]
    check_evaluator(lambda: sharing(digits), candidates, fidelity=Fidelity(epochs=1))


def test_an_answer_tells_all(digits: Dataset, shared: SupernetEvaluator) -> None:
    candidate = network(BROAD, LINEAR)
    (answer,) = evaluate(shared, [candidate])
    assert answer.ok and answer.accuracy is not None and answer.curve == (answer.accuracy,)
    n = len(digits.validation)
    assert answer.standard_error == pytest.approx((answer.accuracy * (1 - answer.accuracy) / n) ** 0.5)
    assert answer.parameters == candidate.architecture.parameters and answer.macs == candidate.architecture.macs
    assert answer.cost_seconds > 0 and answer.train_seconds == 0 and shared.training_seconds > 0
    images, targets = digits.normalised("validation")
    with torch.no_grad():
        right = float((shared.module(candidate)(images).argmax(1) == targets).double().mean())
    assert answer.accuracy == pytest.approx(right)


def test_statistics_are_those_of_the_path(digits: Dataset, shared: SupernetEvaluator) -> None:
    module = shared.module(network(NARROW))
    convolution, norm = (module.layers[i] for i in range(2))  # type: ignore[index]
    order = torch.randperm(
        len(digits.train), generator=torch.Generator().manual_seed(training.derived_seed(0, "calibration"))
    )
    with torch.no_grad():
        maps = [convolution(digits.normalised("train")[0][order[start : start + 256]]) for start in (0, 256)]
    means, variances = (
        torch.stack([getattr(m.transpose(0, 1).flatten(1), f)(1) for m in maps]).mean(0) for f in ("mean", "var")
    )
    assert torch.allclose(norm.running_mean, means, atol=1e-5) and torch.allclose(
        norm.running_var, variances, atol=1e-4
    )
    assert not module.training


def test_scoring_changes_nothing(shared: SupernetEvaluator) -> None:
    before = snapshot(shared.prepare())
    state = global_state()
    evaluate(shared, [network(SEPARABLE, SEPARABLE, RESIDUAL), network(DROPOUT, NARROW)])
    with torch.no_grad():
        for parameter in shared.module(network(NARROW)).parameters():
            parameter.zero_()
    assert same(before, snapshot(shared.prepare())) and global_state() == state


def test_the_test_split_is_not_touched(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    normalised = Dataset.normalised
    monkeypatch.setattr(
        Dataset, "normalised", lambda self, name, **k: asked.append(name) or normalised(self, name, **k)
    )
    evaluator = sharing(digits)
    evaluator.prepare()
    assert asked == ["train"]
    evaluate(evaluator, [network(NARROW)])
    assert asked == ["train", "validation"]


def interrupted(evaluator: SupernetEvaluator, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Train, and press Ctrl-C in the middle of a step."""
    move = Supernet._move

    def interrupt(self: Supernet, path: Any) -> None:
        if self.step == step:
            path.parameters[0].data.zero_()
            raise KeyboardInterrupt
        move(self, path)

    with monkeypatch.context() as changed, pytest.raises(KeyboardInterrupt):
        changed.setattr(Supernet, "_move", interrupt)
        evaluator.prepare()


@pytest.mark.parametrize("again", [False, True], ids=["another process", "the same evaluator"])
def test_interrupted_and_resumed_is_uninterrupted(
    digits: Dataset, shared: SupernetEvaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    kept = {"checkpoint": tmp_path / "supernet.pt", "checkpoint_every": 3}
    state = global_state()
    first = sharing(digits, **kept)
    interrupted(first, monkeypatch, step=11)
    assert global_state() == state and first.training_seconds == 0
    second = first if again else sharing(digits, **kept)
    steps: list[int] = []
    train_step = Supernet._train_step
    monkeypatch.setattr(Supernet, "_train_step", lambda self: steps.append(self.step) or train_step(self))
    assert same(snapshot(second.prepare()), snapshot(shared.prepare()))
    assert steps == list(range(9, 16)) and second.training_seconds > 0
    asked = [network(BROAD, LINEAR), network(RESIDUAL)]
    answers = [[answer.deterministic() for answer in evaluate(e, asked)] for e in (second, shared)]
    assert answers[0] == answers[1]
    assert [path.name for path in tmp_path.iterdir()] == ["supernet.pt"]


def test_a_finished_checkpoint_needs_no_training(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sharing(digits, checkpoint=str(tmp_path / "supernet.pt"))
    (answer,) = evaluate(first, [network(BROAD)])
    state = read_checkpoint(tmp_path / "supernet.pt", first.identity)
    assert state is not None and state["step"] == 16
    monkeypatch.setattr(Supernet, "_train_step", lambda self: pytest.fail("trained"))
    second = sharing(digits, checkpoint=tmp_path / "supernet.pt")
    assert evaluate(second, [network(BROAD)])[0].deterministic() == answer.deterministic()
    assert second.training_seconds == first.training_seconds


def test_other_people_s_files_are_refused_and_left_alone(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "supernet.pt"
    evaluator = sharing(digits, checkpoint=path)
    evaluator.prepare()
    whole = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"another supernet .*seed=0.* expected was .*seed=1"):
        sharing(digits, checkpoint=path, evaluation_seed=1).submit([network(NARROW)])
    assert path.read_bytes() == whole
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="is no checkpoint of a supernet, or a damaged one") as caught:
            sharing(digits, checkpoint=path).prepare()
        assert "\n" not in str(caught.value) and path.read_bytes() == content
    torch.save({"weights": 3}, path)
    with pytest.raises(ConfigurationError, match="is no checkpoint"):
        sharing(digits, checkpoint=path).prepare()


@pytest.mark.skipif(sys.platform == "win32", reason="the fault is that of POSIX systems")
def test_a_full_disk_gets_a_sentence_and_leaves_nothing(digits: Dataset, tmp_path: Path) -> None:
    import resource

    path, limits = tmp_path / "supernet.pt", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # torch then raises RuntimeError
    try:
        with pytest.raises(ConfigurationError, match=r"supernet.pt' can't be written .*make room") as caught:
            sharing(digits, checkpoint=path).prepare()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_workers_get_a_supernet_that_is_trained(digits: Dataset) -> None:
    here, candidates = sharing(digits), [network(NARROW), network(BROAD, POOL)]
    with ProcessEvaluator(HandedOver(here), 1) as pool:
        found = evaluate(pool, candidates)
    assert here.training_seconds > 0, "once, before any candidate's time began"
    assert [one.deterministic() for one in found] == [one.deterministic() for one in evaluate(here, candidates)]


def test_mistakes_are_named(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the data set has \(\(1, 8, 8\), 10\)"):
        sharing(digits, space=ChainSpace((1, 8, 8), 9))
    with pytest.raises(ConfigurationError, match="can't compare hyper-parameters; use a space without"):
        sharing(digits, space=ChainSpace((1, 8, 8), 10, hyperparameters=("learning_rate",)))
    with pytest.raises(ConfigurationError, match="optimizer='sgd', got 'adam'"):
        sharing(digits, replace(RECIPE, optimizer="adam"))
    with pytest.raises(ConfigurationError, match="at least 1, got 0"):
        sharing(digits, checkpoint_every=0)
    with pytest.raises(ConfigurationError, match="networks of a ChainSpace, got 3"):
        sharing(digits, space=3)
    with pytest.raises(ConfigurationError, match="make it first"):
        sharing(digits, checkpoint=tmp_path / "missing" / "supernet.pt")
    with pytest.raises(ConfigurationError, match=r"hyper-parameters, got \{'epochs': 3\}"):
        sharing(digits).submit([Candidate(network(NARROW).architecture, (("epochs", 3),))])


def test_identity_tells_what_decides(digits: Dataset) -> None:
    identity = sharing(digits).identity
    assert identity == sharing(load_dataset("digits")).identity
    assert digits.fingerprint in identity and SPACE.name in identity
    changed = [
        sharing(digits, evaluation_seed=1),
        sharing(digits, replace(RECIPE, epochs=3)),
        sharing(digits, space=SMALL),
        sharing(load_dataset("digits", split_seed=1)),
    ]
    assert len({identity, *(evaluator.identity for evaluator in changed)}) == 5
    assert sharing(digits, replace(RECIPE, mixed_precision=False, time_limit_seconds=1.0)).identity == identity


def test_shared_weights_rank_as_trainings_do(digits: Dataset) -> None:
    """On a small space a few seconds of shared training are enough; the correlation was 0.94 when this was written."""
    evaluator = sharing(digits, Recipe(epochs=16, learning_rate=0.2, threads=1), SMALL)
    candidates = list({candidate.key: candidate for candidate in walks(SMALL, 30)}.values())[:12]
    alone = trainer(digits, Recipe(epochs=3, learning_rate=0.1, threads=1))

    def accuracies(answers: list[Evaluation]) -> list[float]:
        return [answer.accuracy or 0.0 for answer in answers]

    cheap, true = accuracies(evaluate(evaluator, candidates)), accuracies(evaluate(alone, candidates))
    assert len(candidates) == 12 and sorted(cheap)[-4] > 0.6, "paths that differ learn all"
    assert spearmanr(cheap, true).statistic > 0.75
