"""The rows behind the ids, and what a user can set or mistake."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import nas_gym
from nas_gym.data import load_dataset
from nas_gym.errors import ConfigurationError, DatasetError
from nas_gym.evaluation import ConstantEvaluator, Fidelity, Repeated, StoredEvaluator
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.objective import accuracy, soft_latency
from nas_gym.registration import CHAIN, PRESET_IDS, TABLE_IDS
from nas_gym.spaces import Convolution, FullyConnected, MaxPool
from nas_gym_envs import PRESETS, Budget, make_chain


def test_rows_are_the_registered_ids() -> None:
    assert tuple(PRESETS) == PRESET_IDS
    assert set(nas_gym.IDS) == {CHAIN, *PRESET_IDS, *TABLE_IDS}
    for env_id in (*PRESET_IDS, *TABLE_IDS):
        assert gym.spec(env_id).kwargs == {"preset": env_id}
    assert gym.spec(CHAIN).kwargs == {}


@pytest.mark.parametrize("env_id", nas_gym.IDS)
@pytest.mark.parametrize("hyperparameters", [(), ("learning_rate", "batch_size", "weight_decay")])
def test_every_id_stays_explainable_and_small(
    env_id: str, hyperparameters: tuple[str, ...], cheaply: Callable[[str], dict[str, Any]]
) -> None:
    options = {} if env_id in TABLE_IDS else {"hyperparameters": hyperparameters}
    space = gym.make(env_id, **cheaply(env_id), **options).unwrapped.space
    assert len(space.slots) <= 12
    assert max(len(slot.choices) for slot in space.slots) <= 24


@pytest.mark.parametrize("env_id", ["nas_gym/Chain-Digits-v0", CHAIN])
def test_rows_match_their_data(env_id: str) -> None:
    env = gym.make(env_id, epochs=1).unwrapped
    assert isinstance(env.evaluator, StoredEvaluator)
    trainer = env.evaluator.evaluator
    assert isinstance(trainer, TrainingEvaluator)
    assert env.space.input_shape == trainer.dataset.input_shape == (1, 8, 8)
    assert env.space.n_classes == trainer.dataset.n_classes == 10
    assert trainer.recipe.epochs == 1
    assert trainer.recipe.batch_size == PRESETS["nas_gym/Chain-Digits-v0"].recipe["batch_size"]
    assert env.evaluator.namespace.startswith(env.space.name)


def test_any_data_set() -> None:
    data = load_dataset("digits", first_per_class=5)
    env = make_chain(dataset=data, evaluator="constant")
    assert env.space.input_shape == data.input_shape
    named = make_chain(dataset="digits", first_per_class=5, evaluator="constant")
    assert named.space.name == env.space.name


def test_options_reach_their_part() -> None:
    budget, evaluator = Budget(evaluations=3), ConstantEvaluator()
    env = make_chain(
        preset="nas_gym/Chain-Digits-v0",
        evaluator=evaluator,
        catalogue=(Convolution(4), MaxPool(2), FullyConnected(8)),
        max_layers=2,
        max_parameters=500,
        max_macs=9000,
        min_resolution=4,
        min_layers=1,
        hyperparameters={"momentum": (0.5, 0.9)},
        budget=budget,
        illegal_reward=-2,
        render_mode="ansi",
    )
    assert env.evaluator is evaluator
    assert env.budget is budget
    assert (env.illegal_reward, env.render_mode) == (-2.0, "ansi")
    assert [slot.name for slot in env.space.slots] == ["activation", "layer 1", "layer 2", "momentum"]
    limits = env.space.limits  # type: ignore[attr-defined]
    assert (limits.parameters, limits.macs, limits.resolution, limits.min_layers) == (500, 9000, 4, 1)


def test_recipe_and_seed_reach_the_evaluator() -> None:
    env = make_chain(epochs=2, batch_size=16, optimizer="adam", device="cpu", evaluation_seed=4)
    trainer = env.evaluator.evaluator  # type: ignore[attr-defined]
    assert (trainer.recipe.epochs, trainer.recipe.batch_size, trainer.recipe.optimizer) == (2, 16, "adam")
    assert (trainer.evaluation_seed, trainer.device.type) == (4, "cpu")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epoch": 3}, ConfigurationError, r"unknown option epoch .*known are .*epochs"),
        ({"zzz": 1, "aaa": 2}, ConfigurationError, r"unknown option aaa, zzz .*budget.*max_parameters"),
        ({"preset": "nas_gym/Chain-Nothing-v0"}, ConfigurationError, r"nas_gym/Chain-Digits-v0.*Chain-Nothing"),
        ({"evaluator": "guess"}, ConfigurationError, "training.*hash.*guess"),
        ({"dataset": "no-such-data"}, DatasetError, "no-such-data"),
        ({"dataset": "no/such/file.npz"}, DatasetError, "no/such/file.npz"),
        ({"max_parameters": 3, "evaluator": "hash"}, ConfigurationError, "no network"),
        ({"max_parameters": 0, "evaluator": "hash"}, ConfigurationError, "parameters"),
        ({"catalogue": (), "evaluator": "hash"}, ConfigurationError, "catalogue"),
        ({"epochs": 0, "evaluator": "hash"}, ConfigurationError, "epochs"),
        ({"hyperparameters": ("speed",), "evaluator": "hash"}, ConfigurationError, "speed"),
        ({"device": "abacus"}, ConfigurationError, "abacus"),
        ({"render_mode": "hologram", "evaluator": "hash"}, ConfigurationError, "render_mode"),
    ],
)
def test_mistakes_get_one_clear_sentence(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make_chain(**arguments)
    assert "\n" not in str(caught.value)


def test_mistakes_through_gymnasium_are_the_same() -> None:
    with pytest.raises(ConfigurationError, match="unknown option colour"):
        gym.make("nas_gym/Chain-Digits-v0", colour="blue")
    with pytest.raises(DatasetError, match="nothing-here"):
        gym.make("nas_gym/Chain-v0", dataset="nothing-here")


def test_real_training_gives_the_reward() -> None:
    env = gym.make("nas_gym/Chain-Digits-v0", epochs=1, evaluation_seed=1)
    rewards = []
    for _ in range(2):
        env.reset()
        for action in (0, 18, 21):  # relu, fully connected 64, stop
            _, reward, terminated, _, info = env.step(action)
        assert terminated
        assert reward == info["evaluation"]["accuracy"]
        rewards.append(reward)
    assert rewards[0] == rewards[1] > 0.5
    assert env.unwrapped.evaluator.from_store == 1
    assert np.isfinite(info["evaluation"]["loss"])


def test_repeats_go_around_the_store_and_latency_into_the_training() -> None:
    env = make_chain(preset="nas_gym/Chain-Digits-v0", repeats=3, latency=True)
    assert isinstance(env.evaluator, Repeated) and env.evaluator.repeats == 3
    assert isinstance(env.evaluator.evaluator, StoredEvaluator)
    trainer = env.evaluator.evaluator.evaluator
    assert isinstance(trainer, TrainingEvaluator) and trainer.latency
    for wrong in (0, "many", 1.5):
        with pytest.raises(ConfigurationError, match="repeats"):
            make_chain(preset="nas_gym/Chain-Digits-v0", repeats=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="repeats"):
        make_chain(preset="nas_gym/Chain-Digits-v0", evaluator="hash", repeats=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fidelity": "stop=20", "epochs": 1}, r"1 epochs can't stop after 20"),
        ({"fidelity": Fidelity(stop=20), "epochs": 19}, r"19 epochs can't stop after 20"),
        ({"fidelity": "resolution=64"}, r"\(1, 8, 8\), got resolution=64"),
        ({"fidelity": 3}, r"a fidelity is 'full' or some of .*got '3'"),
        ({"objective": "soft-memory:100", "device": "cpu"}, r"needs peak_memory_mb, which .* on cpu"),
        ({"objective": "soft-latency:5"}, r"add latency=true"),
        ({"objective": soft_latency(5), "evaluator": "supernet"}, r"needs latency_ms, which evaluator='supernet'"),
        ({"objective": "vector:accuracy:latency_ms", "evaluator": "hash"}, r"needs latency_ms"),
        ({"objective": "soft-macs:1e6", "evaluator": "proxy:parameters"}, r"needs accuracy.*objective=proxy:FLOOR"),
        ({"objective": "weighted:accuracy=1:macs=1", "evaluator": "proxy:macs"}, r"needs accuracy"),
        ({"objective": accuracy(), "evaluator": "proxy:macs"}, r"needs accuracy"),
        ({"objective": "proxy:-5", "evaluator": "hash"}, r"needs proxy.*evaluator=proxy:NAME"),
        ({"objective": "proxy:-5", "device": "cpu"}, r"needs proxy"),
    ],
)
def test_what_no_evaluation_could_answer_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        make_chain(preset="nas_gym/Chain-Digits-v0", **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"fidelity": "stop=8"},
        {"fidelity": "stop=20", "hyperparameters": {"epochs": (10, 30)}},
        {"fidelity": Fidelity()},
        {"fidelity": "epochs=3,resolution=8"},
        {"objective": "soft-latency:5", "latency": True},
        {"objective": "vector:macs:parameters", "evaluator": "proxy:macs"},
        {"objective": "proxy:-5", "evaluator": "proxy:macs"},
        {"objective": "soft-latency:5", "evaluator": ConstantEvaluator()},
        {"objective": lambda evaluation: 0.5, "evaluator": "proxy:macs"},
    ],
)
def test_what_can_be_answered_is_not(arguments: dict[str, Any]) -> None:
    make_chain(preset="nas_gym/Chain-Digits-v0", **arguments)
