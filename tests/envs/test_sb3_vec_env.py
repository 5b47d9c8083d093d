"""SB3VecEnv equals DummyVecEnv over scalar environments: every step, and every weight of what learns on it."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from episodes import tiny_env, tiny_space
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecMonitor
from together import EVALUATORS, SPACES, assert_alike, small_table

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import HashEvaluator
from nas_gym.evaluation.tabular import TabularEvaluator
from nas_gym.randomness import isolated_generators
from nas_gym_envs import ArchitectureEnv, ArchitectureVectorEnv, Budget, SB3VecEnv


def both(space: str, evaluator: str, n: int, limits: dict[str, Any] | None = None) -> tuple[SB3VecEnv, DummyVecEnv]:
    """Return our environment and stable-baselines3's, with evaluators and budgets of their own."""
    budgets = [None if limits is None else Budget(**limits) for _ in range(2)]
    ours = ArchitectureVectorEnv(SPACES[space](), EVALUATORS[evaluator](), num_envs=n, budget=budgets[0])
    shared, asked = SPACES[space](), EVALUATORS[evaluator]()
    theirs = DummyVecEnv([lambda: ArchitectureEnv(shared, asked, budget=budgets[1]) for _ in range(n)])
    return SB3VecEnv(ours), theirs


@pytest.mark.parametrize(
    ("space", "evaluator", "limits"),
    [
        ("chain", "mixed", None),
        ("chain", "hash", {"evaluations": 9}),
        ("conditional", "pure", {"unique": 5}),
        ("conditional", "mixed", {"epochs": 12}),
        ("table", "table", None),
    ],
)
def test_every_step_equals_dummy_vec_env(space: str, evaluator: str, limits: dict[str, Any] | None) -> None:
    ours, theirs = both(space, evaluator, 4, limits)
    generator = np.random.default_rng(0)
    for prefix in ([], [0], [1]):
        for env in (ours, theirs):
            env.seed(3)
            env.set_options([{"prefix": prefix}, {}, {"prefix": [0]}, {}])
        assert_alike(ours.reset(), theirs.reset())
        assert_alike(ours.reset_infos, theirs.reset_infos)
        for _ in range(40):
            masks = ours.env_method("action_masks")
            assert_alike(masks, theirs.env_method("action_masks"))
            actions = np.array([generator.choice(np.flatnonzero(mask)) if mask.any() else 0 for mask in masks])
            actions = np.where(generator.random(4) < 0.1, generator.integers(-1, 9, 4), actions)
            own, wanted = ours.step(actions), theirs.step(actions)
            assert_alike(own, wanted)
            assert [list(info) for info in own[3]] == [list(info) for info in wanted[3]]
            assert_alike(ours.reset_infos, theirs.reset_infos)
            assert ours.get_attr("prefix", [0, 2]) == theirs.get_attr("prefix", [0, 2])


def test_infos_are_fresh() -> None:
    ours, _ = both("table", "table", 3)
    ours.reset()
    kept = []
    for step in range(12):
        outcome = ours.step(np.zeros(3, dtype=int))
        kept.append((outcome, copy.deepcopy(outcome)))
        if step % 2:
            for info in outcome[3]:
                info["action_mask"][:] = 7
    for step, (outcome, then) in enumerate(kept):
        if step % 2 == 0:
            assert_alike(outcome, then)
    assert ours.env_method("action_masks")[0].any()


@pytest.mark.parametrize("kind", [MaskablePPO, PPO])
def test_learning_is_the_same_bit_for_bit(kind: Any) -> None:
    weights = []
    for env in both("table", "table", 5):
        with isolated_generators(0):
            model = kind("MlpPolicy", env, n_steps=16, batch_size=20, n_epochs=2, seed=1, device="cpu")
            model.learn(240)
        weights.append(model.policy.state_dict())
    assert list(weights[0]) == list(weights[1])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_maskable_ppo_finds_the_masks_through_wrappers() -> None:
    ours, _ = both("conditional", "hash", 3)
    env = VecMonitor(VecCheckNan(ours))
    env.reset()
    assert is_masking_supported(env)
    assert np.array_equal(get_action_masks(env), ours.env.action_masks())
    assert [mask().tolist() for mask in ours.get_attr("action_masks")] == ours.env.action_masks().tolist()
    with isolated_generators(0):
        model = MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(192)
    assert len(model.ep_info_buffer) > 10
    assert all(episode["r"] > 0 for episode in model.ep_info_buffer), "no action was illegal"


def test_attributes_of_sub_environments() -> None:
    ours, theirs = both("chain", "hash", 3)
    for name in ("render_mode", "illegal_reward", "late_rewards", "action_masks", "nothing_like_it"):
        assert ours.has_attr(name) == theirs.has_attr(name), name
    assert ours.get_attr("space", 1) == [ours.env.space]
    assert ours.env_is_wrapped(gym.Wrapper) == [False] * 3
    assert ours.env_is_wrapped(gym.Wrapper, [0]) == [False]
    budget = Budget(evaluations=2)
    ours.set_attr("budget", budget)
    assert ours.env.budget is budget
    with pytest.raises(ConfigurationError, match="share 'budget'"):
        ours.set_attr("budget", None, indices=[1])
    ours.close()
    with pytest.raises(ConfigurationError, match="ArchitectureVectorEnv"):
        SB3VecEnv(tiny_env())  # type: ignore[arg-type]


def test_pictures_of_all() -> None:
    vector = ArchitectureVectorEnv(tiny_space(), HashEvaluator(), num_envs=2, render_mode="rgb_array")
    env = SB3VecEnv(vector)
    env.reset()
    picture = env.render()
    assert picture is not None and picture.dtype == np.uint8 and picture.ndim == 3


def test_the_table_is_asked_once_a_row() -> None:
    table = small_table()
    vector = ArchitectureVectorEnv(table.space(), TabularEvaluator(table), num_envs=8)
    env = SB3VecEnv(vector)
    env.reset()
    for action in (0, 1, 0):
        _, rewards, dones, infos = env.step(np.full(8, action))
    assert dones.all() and len(set(rewards.tolist())) == 1
    assert all(info["evaluation"]["key"] == "0-1-0" for info in infos)
