"""Model-based PPO: an exact posterior, imagined episodes like real ones, new candidates only, more than chance."""

import itertools
import random
from collections.abc import Hashable, Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import HashEvaluator, PlantedEvaluator
from nas_gym.spaces import CategoricalSpace, CellSpace, ChainSpace, Limits
from nas_gym.spaces.cell import EDGES, OPERATIONS
from nas_gym.spaces.network_graph import (
    alive,
    operation_counts,
    path_counts,
    subtree_counts,
)
from nas_gym_agents import model_ppo
from nas_gym_agents.agent import SearchAgent, Taken
from nas_gym_agents.decision_process import SeenProcess, SpaceProcess, neighbours, process_of, random_prefix
from nas_gym_agents.imagination import Archive, Imagination
from nas_gym_agents.imagined_env import ImaginedVecEnv
from nas_gym_agents.model_ppo import ModelPPOSearch
from nas_gym_agents.network_features import FeatureTable
from nas_gym_agents.random_search import RandomSearch
from nas_gym_agents.reward_model import GaussianProcess, Kernel, fitted, normal_scores, simplex
from nas_gym_envs.encoding import one_hot

TIGHT = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=700, macs=7_000, resolution=2))
DIGITS = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=100_000, macs=600_000, resolution=2))
CELLS = CellSpace()
QUICK = {"updates": 2, "imagined": 16, "n_epochs": 1, "hidden": 16}


class Notes:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.history: list[tuple[tuple[int, ...], float]] = []
        self.updates = 0

    def record_episode(self, env: gym.Env[Any, Any], taken: list[Taken], reward: float, info: dict[str, Any]) -> None:
        self.history.append((tuple(one.action for one in taken), reward))
        assert all(one.legal[one.action] for one in taken)

    def update(self) -> None:
        self.updates += 1


def searched(space: Any = TIGHT, seed: int = 3, evaluations: int = 30, **settings: Any) -> tuple[Any, Notes, Budget]:
    notes, budget = Notes(), Budget(evaluations=evaluations)
    env = ArchitectureEnv(space, HashEvaluator(), budget=budget)
    found = ModelPPOSearch(**{**QUICK, **settings}).search(env, seed=seed, recorder=notes)
    return found, notes, budget


# The model


def known(n: int = 12, parts: int = 3, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return similarities among 2 n candidates, of sets of labels, and n targets."""
    generator = np.random.default_rng(seed)
    table = FeatureTable(networks=parts > 1)
    cells = CellSpace()
    for _ in range(2 * n):
        prefix = tuple(generator.integers(5, size=6).tolist())
        table.add(tuple(enumerate(prefix)), cells.graph(prefix) if parts > 1 else None)
    return table.similarities(range(2 * n), range(2 * n)), generator.normal(size=n)


def test_the_posterior_is_the_textbooks() -> None:
    similarities, targets = known()
    n = len(targets)
    kernel = Kernel(weights=(0.2, 0.2, 0.6), length=0.4, noise=0.05)
    k = sum(w * np.exp((s - 1) / 0.4) for w, s in zip(kernel.weights, similarities, strict=True))
    inverse = np.linalg.inv(k[:n, :n] + 0.05 * np.eye(n))
    centred = targets - targets.mean()
    variance = centred @ inverse @ centred / n
    mean = targets.mean() + k[n:, :n] @ inverse @ centred
    spread = variance * (k[n:, n:] - k[n:, :n] @ inverse @ k[:n, n:])
    process = GaussianProcess(kernel, similarities[:, :n, :n], targets)
    posterior = process.posterior(similarities[:, n:, :n])
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(posterior.deviation, np.sqrt(np.diag(spread)), rtol=1e-7, atol=1e-9)
    # The likelihood of the normal distribution, up to what does not depend on the kernel.
    covariance = variance * (k[:n, :n] + 0.05 * np.eye(n))
    textbook = -0.5 * centred @ np.linalg.inv(covariance) @ centred - 0.5 * np.linalg.slogdet(covariance)[1]
    np.testing.assert_allclose(process.likelihood, textbook + n / 2, rtol=1e-9)


def test_believing_a_proposal_is_observing_its_mean() -> None:
    similarities, targets = known(seed=1)
    n = len(targets)
    kernel = Kernel(weights=(0.4, 0.0, 0.6), length=0.8, noise=0.01)
    process = GaussianProcess(kernel, similarities[:, :n, :n], targets)
    before = process.posterior(similarities[:, n:, :n])
    after = before.believed(2, kernel(similarities[:, n:, [n + 2]])[:, 0])
    k = kernel(similarities)
    seen = [*range(n), n + 2]
    inverse = np.linalg.inv(k[np.ix_(seen, seen)] + 0.01 * np.eye(n + 1))
    spread = k[n:, n:] - k[n:, seen] @ inverse @ k[seen, n:]
    np.testing.assert_allclose(after.deviation**2 / process.scale, np.diag(spread), rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(after.mean, before.mean)


def test_the_kernel_that_is_found_is_likelier_than_the_one_begun_with() -> None:
    similarities, targets = known(20)
    start = Kernel(weights=(1.0, 0.0, 0.0))
    found = fitted(start, similarities[:, :20, :20], targets)
    assert found.likelihood > GaussianProcess(start, similarities[:, :20, :20], targets).likelihood
    assert sum(found.kernel.weights) == pytest.approx(1)
    assert all(sum(weights) == pytest.approx(1) for weights in simplex(3))
    assert len(simplex(3)) == 21


def test_covariances_are_positive_definite() -> None:
    similarities, _ = known(40)
    for part in similarities:
        np.testing.assert_allclose(part, part.T)
        np.testing.assert_allclose(np.diag(part), 1)
        for length in (0.1, 3.2):
            assert np.linalg.eigvalsh(np.exp((part - 1) / length)).min() > -1e-9


def test_normal_scores_know_the_order_alone() -> None:
    scores = normal_scores(np.array([0.1, 0.9, 0.5]))
    np.testing.assert_allclose(scores, normal_scores(np.array([-5.0, 1e9, 0.6])))
    assert scores[2] == pytest.approx(0)
    assert normal_scores(np.array([1.0, 1.0, 0.0]))[0] == normal_scores(np.array([1.0, 1.0, 0.0]))[1]


# What the model sees


def test_a_cells_graph_is_what_is_alive() -> None:
    none, skip, one, three, pool = range(len(OPERATIONS))
    assert CellSpace().graph((none,) * 6) == (("output", ()),)
    assert CellSpace().graph((none, none, none, skip, none, none)) == (("output", (-1,)),)
    # A convolution to node 1 that nothing reads on, and a pooling through a skip.
    graph = CellSpace().graph((three, skip, none, none, none, pool))
    assert graph == (("avg_pool_3x3", (-1,)), ("output", (0,)))
    assert path_counts(graph) == {">avg_pool_3x3>output": 1}
    assert operation_counts(CellSpace().graph((one, three, skip, pool, none, one)))["nor_conv_1x1"] == 2


def unfolded(prefix: tuple[int, ...]) -> tuple[str, ...]:
    """Return what a cell computes as a sum of nested terms, without zeros: the benchmark's unique string, flattened."""
    nodes: list[tuple[str, ...]] = [("0",)]
    for node in range(1, 4):
        terms: list[str] = []
        for (start, end), action in zip(EDGES, prefix, strict=True):
            if end == node and OPERATIONS[action] == "skip_connect":
                terms += nodes[start]
            elif end == node and OPERATIONS[action] != "none" and nodes[start]:
                terms.append(f"({'+'.join(nodes[start])})@{OPERATIONS[action]}")
        nodes.append(tuple(sorted(terms)))
    return nodes[-1]


def test_cells_that_look_alike_compute_the_same() -> None:
    """Over all cells: equal features, equal sums. Features also tell whether equal terms share their weights."""
    sums: dict[Any, tuple[str, ...]] = {}
    for prefix in itertools.product(range(5), repeat=6):
        graph = CELLS.graph(prefix)
        features = frozenset(subtree_counts(graph).items()), frozenset(path_counts(graph).items())
        assert sums.setdefault(features, unfolded(prefix)) == unfolded(prefix)
    assert len(set(sums.values())) <= len(sums) < 6_466  # the benchmark keeps apart where zeros were added
    one, other = CELLS.graph((2, 3, 0, 0, 1, 1)), CELLS.graph((3, 2, 0, 0, 1, 1))  # two nodes exchanged
    assert (subtree_counts(one), path_counts(one)) == (subtree_counts(other), path_counts(other))


def test_paths_and_subtrees_by_hand() -> None:
    graph = alive([("a(k=1)", (-1,)), ("dead", (-1,)), ("b", (0,)), ("add", (0, 2))])
    assert graph == (("a(k=1)", (-1,)), ("b", (0,)), ("add", (0, 1)))
    assert operation_counts(graph) == {"a(k=1)": 1, "a": 1, "b": 1, "add": 1}
    assert path_counts(graph) == {">a(k=1)>add": 1, ">a(k=1)>b>add": 1}
    assert subtree_counts(graph, 1) == {"1:a(k=1)<input>": 1, "1:b<a(k=1)>": 1, "1:add<a(k=1),b>": 1}


def test_similarities_by_hand() -> None:
    table = FeatureTable(networks=True)
    table.add(((0, 1), (1, 1)), (("a", (-1,)), ("a", (0,))))
    table.add(((0, 1), (1, 2), (2, 0)), (("a", (-1,)), ("b", (0,))))
    decisions, operations, _ = table.similarities([0, 1], [1])[:, :, 0]
    np.testing.assert_allclose(decisions, [1 / 3, 1])
    np.testing.assert_allclose(operations, [1 / 3, 1])  # one a in common, of a, a, b


# Imagined episodes


def imagined(space: Any, n: int, judge: Any = None) -> ImaginedVecEnv:
    return ImaginedVecEnv(SpaceProcess(space), judge or (lambda prefixes: np.zeros(len(prefixes))), n)


@pytest.mark.parametrize("space", [TIGHT, CellSpace(), CategoricalSpace({"a": ("x", "y"), "b": ("u", "v", "w")})])
def test_imagined_episodes_are_like_real_ones(space: Any) -> None:
    """Observations, masks and ends are the environment's, step by step; only the rewards differ."""
    judged: list[tuple[int, ...]] = []

    def judge(prefixes: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        judged.extend(prefixes)
        return np.array([float(len(prefix)) for prefix in prefixes])

    n, generator = 5, np.random.default_rng(0)
    env = imagined(space, n, judge)
    real = [ArchitectureEnv(space, HashEvaluator()) for _ in range(n)]
    observations = np.stack([one.reset()[0] for one in real])
    assert env.observation_space == one_hot(space).observation_space
    np.testing.assert_array_equal(env.reset(), observations)
    for _ in range(40):
        masks = np.stack(env.env_method("action_masks"))
        np.testing.assert_array_equal(masks, [one.action_masks() for one in real])
        actions = np.array([generator.choice(np.flatnonzero(mask)) for mask in masks])
        seen, rewards, dones, infos = env.step(actions)
        for i, one in enumerate(real):
            observation, _, terminated, _, info = one.step(actions[i])
            assert terminated == dones[i]
            assert rewards[i] == (len(info["actions"]) if terminated else 0)
            if terminated:
                np.testing.assert_array_equal(infos[i]["terminal_observation"], observation)
                assert tuple(info["actions"]) in judged
                observation, _ = one.reset()
            np.testing.assert_array_equal(seen[i], observation)


def test_what_imagined_episodes_hand_out_is_theirs_no_more() -> None:
    env = imagined(CellSpace(), 3)
    first = env.reset()
    assert isinstance(first, np.ndarray)
    copy = first.copy()
    env.step(np.array([1, 2, 3]))
    np.testing.assert_array_equal(first, copy)
    env.action_masks()[:] = False
    assert env.action_masks().all()
    assert env.has_attr("action_masks")
    assert not env.has_attr("prefix")
    with pytest.raises(AttributeError, match="no method"):
        env.env_method("fork")


@pytest.mark.parametrize(("n", "slots"), [(33, 9), (16, 6), (3, 5)])
def test_no_batch_of_imagined_steps_is_a_single_one(n: int, slots: int) -> None:
    env = SimpleNamespace(slot_sizes=[2] * slots)
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_ppo, "MaskablePPO", lambda *_, **arguments: given.update(arguments) or MagicMock())
        ModelPPOSearch(imagined=n).make(env, 0)  # type: ignore[arg-type]
    assert n * slots % given["batch_size"] != 1
    assert -(-n * slots // given["batch_size"]) == 2


def test_neighbours_differ_in_one_decision() -> None:
    cell = (0, 1, 2, 3, 4, 0)
    found = neighbours(SpaceProcess(CellSpace()), cell)
    assert len(set(found)) == 24
    assert all(sum(a != b for a, b in zip(cell, one, strict=True)) == 1 for one in found)
    process, generator = SpaceProcess(DIGITS), np.random.default_rng(0)
    for _ in range(20):
        for one in neighbours(process, random_prefix(process, generator)):
            assert DIGITS.next_slot(one) is None  # legal and complete


def test_known_candidates_are_worth_their_mean_lowered() -> None:
    space = CellSpace()
    archive = Archive(SpaceProcess(space))
    generator = np.random.default_rng(0)
    cells = [tuple(generator.integers(5, size=6).tolist()) for _ in range(20)]
    for cell in cells:
        archive.add(cell, float(sum(cell)))
    imagination = Imagination(archive, archive.fit(archive.kernel), optimism=1.5, known=2.0)
    new = (0, 1, 2, 3, 4, 0)
    values = imagination([cells[0], new, new])
    assert values[1] == values[2]
    assert imagination.proposals(5) == [new]
    lower = Imagination(archive, archive.fit(archive.kernel), optimism=0.0, known=0.0)
    assert values[0] == pytest.approx(lower([cells[0]])[0] - 2.0)
    assert values[1] > lower([new])[0]


# The search


def test_is_a_search_agent() -> None:
    agent: SearchAgent = ModelPPOSearch()
    assert agent.name == "model-ppo"


def test_the_seed_decides_the_whole_history() -> None:
    assert searched(seed=3)[1].history == searched(seed=3)[1].history
    assert searched(seed=3)[1].history != searched(seed=4)[1].history


def test_global_generators_and_threads_stay_as_they_are() -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    threads = torch.get_num_threads()
    first = searched()[1].history
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002
    assert torch.get_num_threads() == threads
    torch.manual_seed(6)
    assert searched()[1].history == first


@pytest.mark.parametrize("evaluations", [1, 12, 13, 30])
def test_spends_exactly_the_budget_on_distinct_candidates(evaluations: int) -> None:
    found, notes, budget = searched(evaluations=evaluations)
    assert found.episodes == len(notes.history) == budget.spent["evaluations"] == budget.spent["unique"] == evaluations
    assert found.reward == max(reward for _, reward in notes.history)
    assert notes.updates == found.updates


def test_a_space_that_is_searched_through_ends_the_search() -> None:
    space = CategoricalSpace({"a": ("x", "y"), "b": ("u", "v", "w")})
    found, notes, budget = searched(space, evaluations=30)
    assert budget.spent["evaluations"] == 30
    assert len({actions for actions, _ in notes.history}) == 6
    assert found.reward == max(reward for _, reward in notes.history)
    limited = Budget(unique=10, idle_episodes=50)
    ModelPPOSearch(**QUICK).search(ArchitectureEnv(space, HashEvaluator(), budget=limited), seed=0)
    assert limited.spent["unique"] == 6


class Planted(gym.Env[np.ndarray, np.int64]):
    """Knows nothing of nas-gym but the mask: six digits, a reward for those that are right."""

    def __init__(self, episodes: int) -> None:
        self.action_space = gym.spaces.Discrete(5)
        self.observation_space = gym.spaces.Box(0, 6, (1,), np.float32)
        self.left, self.chosen, self.played = episodes, list[int](), list[tuple[int, ...]]()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.chosen = []
        return np.zeros(1, np.float32), self._info()

    def step(self, action: Any) -> Any:
        if self.left == 0:
            return np.zeros(1, np.float32), 0.0, False, True, self._info() | {"budget_spent": True}
        assert self._info()["action_mask"][action]
        self.chosen.append(int(action))
        over = len(self.chosen) == 6
        reward = sum(one == (2 * i + 1) % 5 for i, one in enumerate(self.chosen)) / 6 if over else 0.0
        if over:
            self.left -= 1
            self.played.append(tuple(self.chosen))
        return np.full(1, len(self.chosen), np.float32), reward, over, False, self._info()

    def _info(self) -> dict[str, Any]:
        mask = np.ones(5, np.int8)
        mask[len(self.chosen) % 5] = 0
        mask[(2 * len(self.chosen) + 1) % 5] = 1
        return {"action_mask": mask}


def test_searches_an_environment_that_has_no_space() -> None:
    env = Planted(60)
    assert isinstance(process_of(env), SeenProcess)
    found = ModelPPOSearch(**QUICK).search(env, seed=0)
    assert found.episodes == 60
    assert found.reward == 1
    other = Planted(60)
    ModelPPOSearch(**QUICK).search(other, seed=0)
    assert other.played == env.played


def target(space: ChainSpace, seed: int) -> PlantedEvaluator:
    return PlantedEvaluator(space.candidate(random_prefix(SpaceProcess(space), np.random.default_rng(seed))))


@pytest.mark.slow
def test_finds_more_than_random_search() -> None:
    gains = []
    for seed in range(4):
        best: dict[Hashable, float] = {}
        for agent in (ModelPPOSearch(), RandomSearch()):
            env = ArchitectureEnv(DIGITS, target(DIGITS, seed), budget=Budget(evaluations=60))
            best[agent.name] = agent.search(env, seed=seed + 1000).reward
        gains.append(best["model-ppo"] - best["random"])
    assert np.mean(gains) > 0.1
    assert sum(gain > 0 for gain in gains) >= 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("initial", 1), ("proposals", 0), ("updates", 0), ("optimism", -1.0), ("learning_rate", 0.0), ("hidden", 0)],
)
def test_settings_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        ModelPPOSearch(**{name: value})
