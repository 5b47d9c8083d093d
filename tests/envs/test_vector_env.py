"""The vector environment equals Gymnasium's SyncVectorEnv over scalar environments, element by element."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from episodes import CountingEvaluator, tiny_env, tiny_space
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from together import Mixed, assert_alike, both, cell_table

from nas_gym.errors import ConfigurationError, OutOfSpaceError
from nas_gym.evaluation import ConstantEvaluator, HashEvaluator
from nas_gym.evaluation.tabular import TabularEvaluator
from nas_gym.objective import Vector
from nas_gym_envs import ArchitectureVectorEnv, Budget

PAIRS = [
    *(("chain", evaluator) for evaluator in ("hash", "mixed", "pure")),
    *(("conditional", evaluator) for evaluator in ("hash", "mixed", "pure")),
    ("table", "table"),
]
LIMITS: list[dict[str, Any] | None] = [
    None,
    {"evaluations": 1},
    {"evaluations": 7},
    {"unique": 4},
    {"evaluations": 9, "unique": 5},
    {"unique": 6, "idle_episodes": 2},
    {"epochs": 9},
    {"cost_seconds": 11.0, "idle_episodes": 2},
    {"evaluations": 50, "idle_episodes": 4},
]


def drawn_actions(masks: Any, generator: np.random.Generator, illegal: float) -> Any:
    """Return legal actions, and now and then anything."""
    n = masks.shape[1]
    legal = [generator.choice(np.flatnonzero(mask)) if mask.any() else 0 for mask in masks]
    wild = generator.random(len(masks)) < illegal
    return np.where(wild, generator.integers(-2, n + 2, len(masks)), legal)


@settings(max_examples=120, deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    mode=st.sampled_from(list(AutoresetMode)),
    limits=st.sampled_from(LIMITS),
    n=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    illegal=st.sampled_from([0.0, 0.05, 0.4]),
    restarts=st.sampled_from([0.0, 0.1]),
)
def test_equals_gymnasiums_own(
    pair: tuple[str, str],
    mode: AutoresetMode,
    limits: dict[str, Any] | None,
    n: int,
    seed: int,
    illegal: float,
    restarts: float,
) -> None:
    ours, theirs = both(*pair, n, mode, limits)
    generator = np.random.default_rng(seed)
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_alike(ours.reset(seed=seed), theirs.reset(seed=seed))
    ended = np.zeros(n, dtype=bool)
    for _ in range(30):
        options: dict[str, Any] | None = None
        if generator.random() < restarts:
            options = {"prefix": ours.prefixes[generator.integers(n)][:2]}
            if ours.space.next_slot(tuple(options["prefix"])) is None:
                options = {}
        if mode == AutoresetMode.DISABLED and ended.any():
            options = (options or {}) | {"reset_mask": ended | (generator.random(n) < 0.2)}
        if options is not None:
            assert_alike(ours.reset(options=dict(options)), theirs.reset(options=dict(options)))
        actions = drawn_actions(ours.action_masks(), generator, illegal)
        own, wanted = ours.step(actions), theirs.step(actions)
        assert_alike(own, wanted)
        assert_alike(tuple(ours.action_masks()), theirs.call("action_masks"))
        assert_alike(tuple(ours.prefixes), theirs.get_attr("prefix"))
        ended = own[2] | own[3]
    if limits is not None:
        assert ours.budget is not None
        assert vars(ours.budget) == vars(theirs.envs[0].unwrapped.budget)


@pytest.mark.parametrize(
    "actions",
    [
        [0, 1, 99],
        np.array([0.0, 1.0, 0.0]),
        np.array([True, False, True]),
        np.array([0, 1, 2**63], dtype=np.uint64),
        np.array([1, 0, 250], dtype=np.uint8),
        np.array([None, 1, "0"], dtype=object),
        [10**40, 1, None],
    ],
)
def test_whatever_is_no_action_is_illegal(actions: Any) -> None:
    ours, theirs = both("chain", "hash", 3, AutoresetMode.NEXT_STEP, None)
    assert_alike(ours.reset(), theirs.reset())
    assert_alike(ours.step(actions), theirs.step(actions))


def test_candidates_of_one_step_are_asked_for_together() -> None:
    evaluator = Mixed()
    env = ArchitectureVectorEnv(tiny_space(), evaluator, num_envs=3, budget=Budget(unique=2))
    env.reset()
    for actions in ([0, 0, 1], [2, 2, 2], [3, 3, 3], [1, 1, 2]):
        *_, truncations, _ = env.step(np.array(actions))
    assert [len(batch) for batch in evaluator.asked] == [3]
    assert not truncations.any()
    assert env.budget is not None and env.budget.exhausted
    slow = ArchitectureVectorEnv(tiny_space(), Mixed(), num_envs=3, budget=Budget(epochs=1))
    slow.reset()
    for actions in ([0, 0, 1], [2, 2, 2], [3, 3, 3], [1, 1, 2]):
        *_, truncations, _ = slow.step(np.array(actions))
    assert slow.evaluator.asked == [[slow.space.candidate((0, 2, 3, 1)).key]]  # type: ignore[attr-defined]
    assert truncations.tolist() == [False, True, True]


def test_a_pure_evaluator_is_asked_once_until_evaluator_or_objective_change() -> None:
    evaluator = Mixed(pure=True)
    env = ArchitectureVectorEnv(tiny_space(), evaluator, num_envs=2, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset()
    for _ in range(5):
        for action in (0, 2, 3, 1):
            _, rewards, *_ = env.step(np.array([action, action]))
    assert [len(batch) for batch in evaluator.asked] == [1]
    env.evaluator = ConstantEvaluator(0.25)
    for action in (0, 2, 3, 1):
        _, rewards, *_ = env.step(np.array([action, action]))
    assert rewards.tolist() == [0.25, 0.25]
    scalar = tiny_env(evaluator)
    scalar.objective = lambda evaluation: 7.0  # type: ignore[assignment]
    scalar.reset()
    assert [scalar.step(action)[1] for action in (0, 2, 3, 1)][-1] == 7.0


def test_memory_is_bounded_and_forgetting_changes_nothing() -> None:
    ours, theirs = both("chain", "pure", 4, AutoresetMode.NEXT_STEP, None)
    small, scalars = 6, [env.unwrapped for env in theirs.envs]
    for owner in (ours.episodes.graph, *(env._graph for env in scalars)):
        owner._most = small
    generator = np.random.default_rng(0)
    assert_alike(ours.reset(), theirs.reset())
    for step in range(200):
        if step % 17 == 0:
            options = {"prefix": (0, int(generator.integers(3)))}
            assert_alike(ours.reset(options=options), theirs.reset(options=options))
        actions = drawn_actions(ours.action_masks(), generator, 0.05)
        assert_alike(ours.step(actions), theirs.step(actions))
        assert len(ours.episodes.graph) <= small + 2 * 4 + 1
        assert max(len(env._graph) for env in scalars) <= small + 6
    assert ours.episodes.graph.generation > 5


def test_what_is_handed_out_is_fresh() -> None:
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        ours, theirs = both("table", "table", 3, mode, None)
        generator = np.random.default_rng(1)
        ours.reset()
        theirs.reset()
        for _ in range(40):
            actions = drawn_actions(ours.action_masks(), generator, 0.1)
            own = ours.step(actions)
            assert_alike(own, theirs.step(actions))
            _ruin(own)
            _ruin(ours.action_masks())


def _ruin(value: Any) -> None:
    if isinstance(value, np.ndarray):
        for one in value if value.dtype == object else ():
            _ruin(one)
        value[...] = None if value.dtype == object else 1
    elif isinstance(value, dict):
        for one in value.values():
            _ruin(one)
        value.clear()
    elif isinstance(value, tuple):
        for one in value:
            _ruin(one)
    elif isinstance(value, list):
        value.clear()


def test_make_vec_takes_the_native_environment() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made: Any = gym.make_vec("nas_gym/Table-v0", num_envs=4, budget=Budget(evaluations=5), illegal_reward=-2.0)
        same: Any = gym.make_vec("nas_gym/Chain-Digits-v0", num_envs=2, evaluator="hash", autoreset_mode="SameStep")
    assert isinstance(made, ArchitectureVectorEnv) and isinstance(same, ArchitectureVectorEnv)
    assert (made.num_envs, made.budget.limits, made.illegal_reward) == (4, {"evaluations": 5}, -2.0)
    assert same.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    sync = gym.make_vec("nas_gym/Chain-Digits-v0", num_envs=2, vectorization_mode="sync", evaluator="hash")
    assert isinstance(sync, gym.vector.SyncVectorEnv)
    assert_alike(same.reset(seed=3), sync.reset(seed=3))
    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(same)
    wrapped.reset()
    for _ in range(30):
        legal = [int(np.flatnonzero(mask)[-1]) for mask in same.action_masks()]
        *_, infos = wrapped.step(np.array(legal))
    assert wrapped.episode_count > 2
    assert "final_info" in infos or infos["action_mask"].any()


def test_rendering_shows_every_sub_environment() -> None:
    env = ArchitectureVectorEnv(tiny_space(), ConstantEvaluator(0.5), num_envs=2, render_mode="ansi")
    env.reset()
    env.step(np.array([0, 1]))
    for action in (2, 3, 1):
        assert all("accuracy" not in str(text) for text in env.render() or ())
        env.step(np.array([action, action]))
    assert all("validation accuracy 0.5000" in str(text) for text in env.render() or ())
    env.step(np.array([0, 0]))
    assert all("next: activation" in str(text) for text in env.render() or ())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs"),
        ({"num_envs": 2.5}, "num_envs"),
        ({"num_envs": 2, "autoreset_mode": "Sometimes"}, "autoreset_mode"),
        ({"num_envs": 2, "render_mode": "hologram"}, "render_mode"),
        ({"num_envs": 2, "illegal_reward": float("nan")}, "illegal_reward"),
        ({"num_envs": 2, "objective": Vector(("accuracy", "macs"))}, "weights"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        ArchitectureVectorEnv(tiny_space(), HashEvaluator(), **arguments)
    assert "\n" not in str(caught.value)


def test_mistakes_in_reset_and_step_leave_the_state_as_it_was() -> None:
    evaluator = CountingEvaluator()
    env = ArchitectureVectorEnv(tiny_space(), evaluator, num_envs=2, autoreset_mode=AutoresetMode.DISABLED)
    env.reset()
    env.step(np.array([0, 1]))
    before = env.prefixes
    with pytest.raises(OutOfSpaceError, match="complete"):
        env.reset(options={"prefix": [0, 2, 3, 1]})
    for mask in (np.zeros(2, dtype=bool), np.ones(3, dtype=bool), np.ones(2), [True, False]):
        with pytest.raises(ConfigurationError, match="reset_mask"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(ConfigurationError, match="seeds"):
        env.reset(seed=[1, 2, 3])
    for actions in (np.array([0]), np.array(0), 3):
        with pytest.raises(ConfigurationError, match="one action for each of 2"):
            env.step(actions)  # type: ignore[arg-type]
    assert env.prefixes == before
    env.step(np.array([99, 2]))
    with pytest.raises(gym.error.ResetNeeded, match=r"\[0\]"):
        env.step(np.array([0, 0]))
    env.reset(options={"reset_mask": np.array([True, False])})
    assert env.prefixes == [(), (1, 2)]
    assert evaluator.keys == []


def test_a_thousand_environments_of_a_table() -> None:
    table = cell_table()
    env = ArchitectureVectorEnv(table.space(), TabularEvaluator(table), num_envs=1000)
    generator = np.random.default_rng(0)
    env.reset()
    for step in range(1, 15):
        actions = generator.integers(0, 5, 1000)
        _, rewards, terminations, _, infos = env.step(actions)
        assert terminations.all() == (step % 7 == 6)
        if terminations.all():
            assert np.array_equal(rewards, infos["evaluation"]["accuracy"])
            rows = [table.rows[key] for key in infos["evaluation"]["key"]]
            assert np.allclose(rewards, table.accuracies["full"][rows, 0])
            assert table.decisions[rows].tolist() == infos["actions"].tolist()
