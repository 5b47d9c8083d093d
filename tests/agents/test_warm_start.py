"""Warm starts: what agrees by name is carried over, nothing else; refusals; and a resume reaches the same history."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nas_gym
from nas_gym.cli import app
from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.evaluation import HashEvaluator
from nas_gym.history import Episode
from nas_gym.spaces import CategoricalSpace, CellSpace, Slot
from nas_gym_agents import runner
from nas_gym_agents.decision_process import SpaceProcess
from nas_gym_agents.imagination import trust
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.model_ppo import ModelPPOSearch
from nas_gym_agents.ppo import PPOSearch
from nas_gym_agents.reward_prior import RewardPrior
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.warm_start import WarmStart, matched

HASH = {"evaluator": "hash"}
QUICK: dict[str, dict[str, Any]] = {
    "maskable-ppo": {"n_steps": 16, "batch_size": 8},
    "ppo": {"n_steps": 16, "batch_size": 8},
    "model-ppo": {"updates": 2, "imagined": 16, "n_epochs": 1, "initial": 6},
}
SLOTS = (Slot("a", ("x", "y", "z")), Slot("b", ("u", "v")))
OTHER = (Slot("new", ("x", "y")), Slot("b", ("w", "v", "u")), Slot("a", ("z", "x")))


def settings(agent: str, **more: Any) -> SearchSettings:
    common = {"env_args": HASH, "evaluations": 24, "explain": "none", "agent_args": QUICK.get(agent, {})}
    return SearchSettings(**{"agent": agent, **common, **more})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a policy and evaluations."""
    path = tmp_path_factory.mktemp("source") / "run"
    runner.search(settings("maskable-ppo", seed=1), path)
    return path


# What agrees


def test_slots_and_choices_agree_by_name() -> None:
    assert matched(SLOTS, OTHER) == {0: (2, {0: 1, 2: 0}), 1: (1, {0: 2, 1: 1})}
    assert matched(SLOTS, (Slot("c", ("x",)), Slot("b", ("other",)))) == {}


@pytest.mark.parametrize("agent", [MaskablePPOSearch(hidden=8), PPOSearch(hidden=8)])
def test_inputs_and_outputs_that_agree_are_carried_over_and_no_others(agent: Any) -> None:
    one, two = (CategoricalSpace(slots) for slots in (SLOTS, OTHER))
    old = agent.make(ArchitectureEnv(one, HashEvaluator()), 0).policy
    fresh = {n: w.clone() for n, w in agent.make(ArchitectureEnv(two, HashEvaluator()), 1).policy.state_dict().items()}
    model = agent.make(ArchitectureEnv(two, HashEvaluator()), 1)
    WarmStart("run", SLOTS, "", weights=old.state_dict()).carry_policy(model, OTHER)
    before, after = old.state_dict(), model.policy.state_dict()
    # Observations: (undecided, x, y, z | undecided, u, v) and (undecided, x, y | undecided, w, v, u | undecided, z, x).
    pairs = [(0, 7), (1, 9), (3, 8), (4, 3), (5, 6), (6, 5)]
    for name in ("mlp_extractor.policy_net.0.weight", "mlp_extractor.value_net.0.weight"):
        for column in range(10):
            source = [a for a, b in pairs if b == column]
            expected = before[name][:, source[0]] if source else fresh[name][:, column]
            assert torch.equal(after[name][:, column], expected), column
    # Action 0 is z (2), action 2 is u (0); action 1 is x (0) in one slot and v (1) in the other, so nobody's.
    for new, place in {0: 2, 2: 0}.items():
        assert torch.equal(after["action_net.weight"][new], before["action_net.weight"][place])
    assert torch.equal(after["action_net.weight"][1], fresh["action_net.weight"][1])
    assert torch.equal(after["value_net.weight"], before["value_net.weight"])
    assert torch.equal(after["mlp_extractor.policy_net.2.weight"], before["mlp_extractor.policy_net.2.weight"])


def test_the_same_slots_carry_the_whole_policy_over() -> None:
    agent, env = MaskablePPOSearch(hidden=8), ArchitectureEnv(CategoricalSpace(SLOTS), HashEvaluator())
    old, model = agent.make(env, 0).policy, agent.make(env, 1)
    WarmStart("run", SLOTS, "", weights=old.state_dict()).carry_policy(model, SLOTS)
    for name, weights in old.state_dict().items():
        assert torch.equal(model.policy.state_dict()[name], weights), name


# The prior mean


def told(space: Any, evaluator: Any, n: int) -> tuple[Episode, ...]:
    """Return episodes of random candidates."""
    generator, episodes = np.random.default_rng(0), []
    for number in range(n):
        prefix: tuple[int, ...] = ()
        while space.next_slot(prefix) is not None:
            prefix = (*prefix, int(generator.choice(np.flatnonzero(space.legal(prefix)))))
        reward = evaluator(prefix)
        episodes.append(Episode(number, prefix, tuple(range(len(prefix))), str(prefix), "ok", reward, reward))
    return tuple(episodes)


def test_the_prior_ranks_as_the_other_search_did() -> None:
    space = CellSpace()
    warm = WarmStart("run", space.slots, "", told(space, lambda p: sum(a == 3 for a in p) / 6, 80))
    prior = RewardPrior(SpaceProcess(space), warm, ArchitectureEnv(space, HashEvaluator()))
    means = prior([(3,) * 6, (3, 3, 3, 0, 1, 2), (0, 1, 2, 4, 0, 1)])
    assert means[0] > means[1] > means[2]
    assert len(prior.best(3)) == 3


def test_the_prior_translates_what_has_the_same_name() -> None:
    one, two = CategoricalSpace(SLOTS), CategoricalSpace(OTHER)
    warm = WarmStart("run", SLOTS, "", told(one, lambda p: float(p[0] == 2) + 0.1 * p[1], 30))
    prior = RewardPrior(SpaceProcess(two), warm, ArchitectureEnv(two, HashEvaluator()))
    z, x = prior([(0, 1, 0), (0, 1, 1)])
    assert z > x
    assert prior.best(3) == []  # none of the other search's can be played here


def test_a_prior_is_believed_as_far_as_it_ranks() -> None:
    scores = np.linspace(-1, 1, 45)
    assert trust(scores, scores) == pytest.approx((45 + 2.5) / 50)
    assert trust(-scores, scores) == pytest.approx(2.5 / 50)
    assert trust(np.zeros(45), scores) == pytest.approx(2.5 / 50)


def test_a_good_prior_finds_more_at_once() -> None:
    """The other task is the same: the best of the first candidates is better than without."""
    space = CellSpace(channels=2, cells=1)
    goal = (3, 2, 4, 1, 3, 2)

    def reward(prefix: tuple[int, ...]) -> float:
        return sum(a == b for a, b in zip(prefix, goal, strict=True)) / 6

    class Counted(HashEvaluator):
        def submit(self, candidates: Any, **options: Any) -> Any:
            rewards = [reward(tuple(map(int, candidate.key.split("-")))) for candidate in candidates]
            return [_answered(c.key, r) for c, r in zip(candidates, rewards, strict=True)]

    warm = WarmStart("run", space.slots, "", told(space, reward, 60))
    gains = []
    for seed in range(3):
        found = [
            ModelPPOSearch(**QUICK["model-ppo"]).search(
                ArchitectureEnv(space, Counted(), budget=Budget(evaluations=8)), seed=seed, warm_start=start
            )
            for start in (warm, None)
        ]
        gains.append(found[0].reward - found[1].reward)
    assert min(gains) >= 0
    assert np.mean(gains) > 0.1


def _answered(key: str, reward: float) -> Any:
    from nas_gym.evaluation import Evaluation
    from nas_gym.evaluation.evaluation import resolved

    return resolved(Evaluation(key=key, accuracy=reward, curve=(reward,)))


# Runs


@pytest.mark.parametrize("agent", ["maskable-ppo", "model-ppo"])
def test_a_stopped_search_resumes_to_the_same_history(agent: str, source: Path, tmp_path: Path) -> None:
    warm = settings(agent, warm_start=str(source))
    runner.search(warm, tmp_path / "whole")

    class StoppedError(Exception):
        pass

    def stop(tally: Any) -> None:
        if tally.episodes == 15:
            raise StoppedError

    with pytest.raises(StoppedError):
        runner.search(warm, tmp_path / "stopped", watch=stop)
    runner.resume(tmp_path / "stopped")
    history = nas_gym.load(tmp_path / "whole").history
    assert nas_gym.load(tmp_path / "stopped").history == history
    runner.search(settings(agent), tmp_path / "cold")
    assert nas_gym.load(tmp_path / "cold").history != history
    content = nas_gym.load(tmp_path / "whole").content["warm_start"]
    assert content["run"] == str(source) and len(content["digest"]) == 16


def test_what_was_loaded_may_not_change(tmp_path: Path) -> None:
    runner.search(settings("random", evaluations=8), tmp_path / "source")
    warm = settings("model-ppo", evaluations=8, warm_start=str(tmp_path / "source"))
    runner.search(warm, tmp_path / "run")
    lines = (tmp_path / "source" / "history.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "source" / "history.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(RunError, match="has changed since"):
        runner.resume(tmp_path / "run")


def test_runs_from_before_warm_starts_have_the_same_settings() -> None:
    assert "warm_start" not in settings("random").to_json()
    assert SearchSettings.from_json(settings("random").to_json()).warm_start is None


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings("ppo", warm_start="runs/one").warm_start == str(tmp_path / "runs" / "one")


@pytest.mark.parametrize(
    ("agent", "arguments", "said"),
    [
        ("random", (), "can't be warm-started"),
        ("genetic", (), "can't be warm-started"),
        ("recurrent-ppo", (), "can't be warm-started"),
        ("maskable-ppo", ("--agent-arg", "hidden=32"), "hidden=64"),
        ("model-ppo", ("--warm-start", "nowhere"), "is no run directory"),
    ],
)
def test_a_warm_start_that_can_not_be_is_one_sentence(
    agent: str, arguments: tuple[str, ...], said: str, source: Path, tmp_path: Path
) -> None:
    options = ["--env-arg", "evaluator=hash", "--evaluations", "5", "--run-dir", str(tmp_path / "run")]
    result = CliRunner().invoke(
        app, ["search", "--agent", agent, *options, "--warm-start", str(source), *arguments], env={"COLUMNS": "400"}
    )
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()


def test_nothing_that_agrees_is_refused(source: Path, tmp_path: Path) -> None:
    from nas_gym_agents.warm_start import read_warm_start

    for agent in (MaskablePPOSearch(), ModelPPOSearch()):
        with pytest.raises(ConfigurationError, match="decides nothing that this search decides"):
            read_warm_start(source, agent, CellSpace().slots)


def test_a_run_without_a_policy_is_refused_where_one_is_needed(tmp_path: Path) -> None:
    from nas_gym_agents.warm_start import read_warm_start

    runner.search(settings("random", evaluations=4), tmp_path / "run")
    slots = nas_gym.load(tmp_path / "run").content["slots"]
    named = [Slot(slot["name"], tuple(slot["choices"])) for slot in slots]
    with pytest.raises(ConfigurationError, match="has no policy"):
        read_warm_start(tmp_path / "run", MaskablePPOSearch(), named)
    (tmp_path / "run" / "policy.zip").write_bytes(b"not a policy")
    with pytest.raises(ConfigurationError, match="can't be used"):
        read_warm_start(tmp_path / "run", MaskablePPOSearch(), named)
