"""Whether the views of credit agree with the exact one, and whether what moves a policy is what earns reward.

    NAS_GYM_TABLES=TABLES python scripts/compare_credit.py --env nas_gym/NB201-CIFAR10-v0 nas_gym/Table-v0 --json

For every seed a `maskable-ppo` with its defaults searches a table for ``--evaluations`` evaluations. Then, with all
rewards known:

1. Every view of what a decision earned is compared with the exact Shapley values over the table (`credit_agreement`):
   in networks that are drawn uniformly, and in those of the run. "The critic as logged" are the values by which the run
   was recorded; "at the end" are those of the last policy.
2. In the states in which the run decided in its last quarter, the last policy's preferences and attributions are
   compared with what follows in the table (`credit_alignment`), beside those of an untrained policy, and beside what
   they would be if the table's actions were dealt out anew (the same way in all decisions at a slot). The untrained
   policy has a seed of its own: the states that a run comes to depend on the policy that it began with.

Rewards are what the search sees, as means of the table's trainings; the second part is told of the table's score, too,
which no search sees. Means are over seeds, with 95 % bootstrap intervals over seeds.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from credit_agreement import Exact, agreement, critic_view, fitted, spearman, surrogate_view, table_views
from credit_alignment import (
    Alignment,
    Decision,
    Effects,
    PolicyView,
    Sides,
    attention,
    attributed,
    between_slots,
    preferences,
    states,
)

import nas_gym  # noqa: F401  registers the ids
from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.explain.credit import explained_variance, recent_explained_variance, trusted
from nas_gym.explain.prefixes import truth_of
from nas_gym.explain.regret import reachable
from nas_gym.randomness import isolated_generators
from nas_gym.spaces import Prefix
from nas_gym.statistics import bootstrap_interval
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.recorder import DecisionRecorder

LATE = 0.75  # of the episodes of a run; what comes after is late
OTHER = 1_000_000  # from the seed of a run to that of an untrained policy which has nothing to do with it


class Run:
    """One search, and what it left: its decisions, its networks, its policy at the end, and an untrained one."""

    def __init__(self, env: ArchitectureEnv, seed: int, evaluations: int) -> None:
        agent, budget = MaskablePPOSearch(), Budget(evaluations=evaluations)
        searched = ArchitectureEnv(env.space, env.evaluator, env.objective, budget=budget)
        recorder = DecisionRecorder(explain="none")
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "policy.zip"
            agent.search(searched, seed=seed, recorder=recorder, policy_file=lambda: place)
            self.trained = PolicyView(agent.load(place), env)
        self.seconds = time.process_time() - started
        with isolated_generators(OTHER + seed):
            self.untrained = PolicyView(agent.make(env, OTHER + seed), env)
        frame = recorder.frame().sort_values(["episode", "step"])
        self.frame = frame[frame["reward"].notna()]
        self.episodes = [tuple(of["action"]) for _, of in self.frame.groupby("episode")]
        rewards = self.frame.groupby("episode")["reward"].first()
        self.archive = dict(zip(self.episodes, rewards.astype(float), strict=True))
        logged: dict[tuple[int, ...], float] = {}
        for network, (_, of) in zip(self.episodes, self.frame.groupby("episode"), strict=True):
            logged.update({network[:t]: float(value) for t, value in enumerate(of["value"])})  # the latest counts
        self.logged = logged

    @property
    def late(self) -> list[Decision]:
        """The decisions of the last quarter."""
        networks = self.episodes[int(LATE * len(self.episodes)) :]
        return [Decision(network[:t], action, network) for network in networks for t, action in enumerate(network)]

    def critic(self) -> dict[str, float]:
        """Return how much of the rewards the critic explained as the search ran."""
        told = (self.frame["value"], self.frame["reward"])
        recent = recent_explained_variance(self.frame["episode"], *told)
        return {
            "explained variance": _plain(explained_variance(*told)),
            "explained variance at the end": _plain(list(recent.values())[-1]),
            "share of episodes with a trusted critic": float(np.mean([trusted(one) for one in recent.values()])),
        }


def first_part(exact: Exact, run: Run, seed: int, sample: int) -> dict[str, dict[str, float]]:
    """Return the agreement of every view, in random networks and in those of the run."""
    generator = np.random.default_rng(seed)
    prefixes = exact.truth.prefixes
    n = min(sample, len(prefixes))
    drawn = [prefixes[place] for place in generator.choice(len(prefixes), n, replace=False).tolist()]
    model = fitted(exact, run.archive, seed)
    on_table = spearman(model.predict(exact.truth.decisions), exact.truth.rewards)
    told = {"held out": _plain(model.rank_correlation), "error": model.error, "over the table": on_table}
    found = {"the surrogate": told, "the critic": run.critic()}
    for name, networks in (("random", drawn), ("of the run", list(run.archive))):
        along = list({network[:t] for network in networks for t in range(len(network))})
        views = {"waterfall, critic at the end": critic_view(exact, networks, run.trained.values(along))}
        if name != "random":
            views = {"waterfall, critic as logged": critic_view(exact, networks, run.logged)} | views
        views |= table_views(exact, networks)
        views["Shapley, surrogate"] = surrogate_view(exact, model, networks, seed)
        found |= {f"{name}: {view}": agreement(exact, credits) for view, credits in views.items()}
    return found


def second_part(
    exact: Exact, run: Run, effects: dict[str, Effects], seed: int, permutations: int
) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
    """Return every rank correlation, trained and untrained, and of the trained one with actions dealt out anew."""
    truth, decisions = exact.truth, run.late
    visited = states(decisions)
    sizes = len(truth.space.slots), max(len(slot.choices) for slot in truth.space.slots)
    found: dict[str, dict[str, float]] = {}
    null: dict[str, list[float]] = {}
    for who, view in (("trained", run.trained), ("untrained", run.untrained)):
        for of, of_table in effects.items():
            for name, both in _sides(view, truth.prefixes, of_table, visited).items():
                alignment = Alignment(both)
                found.setdefault(f"{of}: {name}", {})[who] = alignment.value
                if who == "trained":
                    generator = np.random.default_rng((seed, 7))
                    null[f"{of}: {name}"] = [alignment.permuted(generator, *sizes) for _ in range(permutations)]
        found.setdefault("reward: attention, interaction", {})[who] = attention(view, exact, decisions)
    return found, null


def _sides(
    view: PolicyView, prefixes: Sequence[Prefix], effects: Effects, visited: dict[Prefix, int]
) -> dict[str, list[Sides]]:
    reach = reachable(prefixes, effects.rewards)
    attributions = attributed(view, effects, visited)
    return {
        "preference, random continuation": preferences(view, reach.expected, visited),
        "preference, best continuation": preferences(view, reach.best, visited),
        "preference, own continuation": preferences(view, view.continued(prefixes, effects.rewards), visited),
        "attribution, effect": attributions,
        "attribution between slots, effect": between_slots(attributions),
    }


def measured(env_id: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that is measured in one environment."""
    env: Any = gym.make(env_id).unwrapped
    truth = truth_of(env.space, env.evaluator, env.objective)
    exact = Exact.of(truth)
    effects = {"reward": Effects(exact, truth.rewards), "score": Effects(exact, truth.scores)}
    agreements, alignments, nulls, facts = [], [], [], []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        run = Run(env, seed, options.evaluations)
        agreements.append(first_part(exact, run, seed, options.sample))
        found, null = second_part(exact, run, effects, seed, options.permutations)
        alignments.append(found)
        nulls.append(null)
        late = float(np.mean([truth.scores[truth.rows[one]] for one in run.episodes[int(LATE * len(run.episodes)) :]]))
        facts.append({"episodes": len(run.episodes), "unique": len(run.archive), "score late": late})
        facts[-1]["seconds"] = run.seconds
        print(f"{env_id} seed {seed}: {facts[-1]}", flush=True)
    return {
        "rows": len(truth.prefixes),
        "mean reward": float(truth.rewards.mean()),
        "standard error of a reward": None if truth.errors is None else float(truth.errors.mean()),
        "mean score": float(truth.scores.mean()),
        "best score": float(truth.scores.max()),
        "runs": facts,
        "agreement": _over_seeds(agreements),
        "alignment": _over_seeds(alignments),
        "chance": {name: _tested(name, alignments, nulls) for name in alignments[0]},
    }


def _over_seeds(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Return mean, low and high over seeds of every number."""
    result: dict[str, dict[str, list[float]]] = {}
    for name in found[0]:
        for what in found[0][name]:
            values = [one[name][what] for one in found]
            estimate = bootstrap_interval([v for v in values if np.isfinite(v)] or [0.0], np.mean)
            result.setdefault(name, {})[what] = [estimate.value, estimate.low, estimate.high]
    return result


def _tested(name: str, alignments: list[dict[str, dict[str, float]]], nulls: list[dict[str, list[float]]]) -> Any:
    """Return what the mean over seeds would be with actions dealt out anew, and how often it would be as high."""
    differences = [one[name]["trained"] - one[name]["untrained"] for one in alignments]
    gained = bootstrap_interval(differences, np.mean)
    told: dict[str, Any] = {"gained by training": [gained.value, gained.low, gained.high]}
    if name in nulls[0]:
        drawn = np.mean([null[name] for null in nulls], axis=0)
        value = float(np.mean([one[name]["trained"] for one in alignments]))
        told["null"] = np.percentile(drawn, [2.5, 97.5]).tolist()
        told["p"] = (1 + int((drawn >= value).sum())) / (1 + len(drawn))
    return told


def _plain(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _shown(estimate: list[float]) -> str:
    value, low, high = estimate
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def report(env_id: str, found: dict[str, Any]) -> None:
    """Print the tables of one environment as Markdown."""
    print(f"\n## {env_id}: {found['rows']:,} networks\n\n| view | Spearman | same top decision | by chance | error |")
    print("| --- | --- | --- | --- | --- |")
    for name, told in found["agreement"].items():
        if "spearman" in told:
            error = 100 * told["error"][0]
            top, chance = _shown(told["top"]), told["chance"][0]
            print(f"| {name} | {_shown(told['spearman'])} | {top} | {chance:.2f} | {error:.2f} |")
    for name in ("the surrogate", "the critic"):
        print(f"\n{name}: " + ", ".join(f"{what} {_shown(v)}" for what, v in found["agreement"][name].items()))
    print("\n| rank correlation of | trained | untrained | gained by training | dealt out anew | p |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, told in found["alignment"].items():
        test = found["chance"][name]
        row = [name, _shown(told["trained"]), _shown(told["untrained"]), _shown(test["gained by training"])]
        low, high = test.get("null", (np.nan, np.nan))
        row += [f"{low:+.2f} to {high:+.2f}", f"{test['p']:.4f}"] if "p" in test else ["", ""]
        print(f"| {' | '.join(row)} |")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", default=["nas_gym/NB201-CIFAR10-v0", "nas_gym/Table-v0"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=300, help="of a search")
    parser.add_argument("--sample", type=int, default=300, help="networks that are drawn uniformly")
    parser.add_argument("--permutations", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {env_id: measured(env_id, options) for env_id in options.env}
    for env_id, told in found.items():
        report(env_id, told)
    if options.json:
        packages = ("nas-gym", "torch", "stable-baselines3", "sb3-contrib", "scikit-learn", "shap", "numpy", "scipy")
        facts = {
            "settings": vars(options),
            "hardware": {"machine": platform.machine(), "processors": os.cpu_count()},
            "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        }
        print(json.dumps({**facts, "found": found}))


if __name__ == "__main__":
    main()
