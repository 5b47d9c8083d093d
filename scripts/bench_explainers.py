"""What explaining a decision costs and how exact it is: nas-gym's explainer beside shap's, captum's and brute force.

    python scripts/bench_explainers.py [--repeats N] [--episodes N] [--json]

The policy is MaskablePPO's (two hidden layers of 64 units, tanh) with random weights, large enough that its
preferences are strong and its groups interact, on one-hot observations of 12 slots with 8 choices each, and 16
actions, of which about 30 % are illegal. What is explained is the log-probability of the chosen action under the mask;
what it is compared with is the empty architecture. Three sets of decisions: whole episodes of 12 decisions, with 0 to
11 slots decided; decisions with 0 to 11 slots decided that have nothing else in common; and decisions with all 12
decided, the most expensive ones there can be.

nas-gym explains all decisions of a set in one call, as at the end of a rollout, and explains all actions and the critic
at once; "policy only" leaves out the critic, of which the others know nothing; "a call each" explains one decision at a
time. shap's explainers get switches of the slots and a function that runs the policy's modules directly. The switches
of undecided slots are off, so that they leave these out too, and are not called where nothing is decided; with "all
switches" on they are not told of it. captum integrates gradients over the observation, sums them by slot, and takes
all decisions in one call. Brute force takes every coalition and Shapley's formula, in double precision: the truth that
errors are told from. All take turns, ``--repeats`` times. Told are medians of processor time, one thread.
"""

import argparse
import copy
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

from nas_gym.randomness import isolated_generators
from nas_gym_agents.attribution import Options, attribute

N_SLOTS, N_CHOICES, N_ACTIONS = 12, 8, 16
WIDTH = 1 + N_CHOICES  # of a block: "undecided" first
GROUPS = tuple((f"slot {i}", slice(WIDTH * i, WIDTH * (i + 1))) for i in range(N_SLOTS))
EMPTY = np.tile(np.eye(1, WIDTH, dtype=np.float32)[0], N_SLOTS)
TARGETS = {"milliseconds": 1.0, "largest_error": 1e-5, "times_faster_than_shap_exact": 15.0}
OURS, POLICY = "nas-gym", "nas-gym, policy only"
SHAP_TOLD, SHAP_EXACT, TRUTH = "shap Exact", "shap Exact, all switches", "brute force, float64"


@dataclass(frozen=True)
class Decisions:
    """What is explained: observations (n, m), actions (n,), masks (n, n_actions), decided slots (n, n_slots)."""

    observations: NDArray[np.float32]
    actions: NDArray[np.int64]
    masks: NDArray[np.bool_]
    decided: NDArray[np.bool_]

    @property
    def rows(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
        """The arguments of `attribute`."""
        return self.observations, self.actions, self.masks


Explain = Callable[[Decisions], NDArray[np.float64]]  # to (n, n_slots)


def make_policy(seed: int) -> Any:
    box = gym.spaces.Box(0.0, 1.0, (len(EMPTY),), np.float32)
    with isolated_generators(seed):
        policy = MaskableActorCriticPolicy(box, gym.spaces.Discrete(N_ACTIONS), lambda _: 1e-3)
        with torch.no_grad():
            policy.mlp_extractor.policy_net[0].weight.mul_(1.5)
            policy.action_net.weight.mul_(150.0)
    policy.set_training_mode(False)
    return policy


def draw(decided: list[int], seed: int, *, per_architecture: int = 1) -> Decisions:
    """Return decisions with so many slots decided, the first ones; some in turn are on the way to one architecture."""
    rng = np.random.default_rng(seed)
    on = np.arange(N_SLOTS) < np.array(decided)[:, None]
    architectures = rng.integers(N_CHOICES, size=(len(decided) // per_architecture, N_SLOTS))
    choices = np.where(on, 1 + np.repeat(architectures, per_architecture, axis=0), 0)
    observations = np.eye(WIDTH, dtype=np.float32)[choices].reshape(len(decided), -1)
    actions = rng.integers(N_ACTIONS, size=len(decided))
    masks = rng.random((len(decided), N_ACTIONS)) < 0.7
    masks[np.arange(len(decided)), actions] = True
    return Decisions(observations, actions, masks, on)


def log_probabilities(policy: Any, rows: Any, masks: Any) -> Any:
    """Return the log-probabilities of all actions from the policy's modules: nothing but what must be computed."""
    logits = policy.action_net(policy.mlp_extractor.policy_net(rows))
    return torch.log_softmax(logits.masked_fill(~masks, -torch.inf), dim=-1)


def mixed(observation: NDArray[np.float32], switches: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mixtures of an observation and the empty one, (n, m), for switches (n, n_slots)."""
    return np.where(np.repeat(switches > 0.5, WIDTH, axis=1), observation, EMPTY)


# The subjects


def nas_gym(policy: Any, **options: Any) -> Explain:
    def explain(what: Decisions) -> NDArray[np.float64]:
        return attribute(policy, *what.rows, baseline=EMPTY, groups=GROUPS, options=Options(**options)).phi

    return explain


def nas_gym_one_by_one(policy: Any) -> Explain:
    def explain(what: Decisions) -> NDArray[np.float64]:
        parts = [tuple(part[i : i + 1] for part in what.rows) for i in range(len(what.actions))]
        return np.concatenate([attribute(policy, *one, baseline=EMPTY, groups=GROUPS).phi for one in parts])

    return explain


def by_switches(
    policy: Any, explain_one: Callable[[Callable[..., Any], NDArray[np.float64]], Any], *, undecided: bool = False
) -> Explain:
    """Return an explainer that sees a decision as a function of the slots' switches, the undecided ones' off or on."""

    def explain(what: Decisions) -> NDArray[np.float64]:
        found = np.zeros((len(what.actions), N_SLOTS))
        for i, (observation, action, mask) in enumerate(zip(*what.rows, strict=True)):
            legal, switches = torch.as_tensor(mask), (what.decided[i : i + 1] | undecided).astype(float)

            def value(
                rows: NDArray[Any], observation: Any = observation, action: Any = action, legal: Any = legal
            ) -> NDArray[np.float64]:
                with torch.no_grad():
                    logps = log_probabilities(policy, torch.as_tensor(mixed(observation, rows)), legal)
                return logps[:, int(action)].double().numpy()

            if switches.any():
                found[i] = np.asarray(explain_one(value, switches)).reshape(-1)
        return found

    return explain


def shap_subjects(policy: Any) -> dict[str, Explain]:
    import shap

    off = np.zeros((1, N_SLOTS))

    def exact(value: Any, switches: Any) -> Any:
        return shap.explainers.ExactExplainer(value, off)(switches, silent=True).values

    def permutation(value: Any, switches: Any) -> Any:
        return shap.explainers.PermutationExplainer(value, off, seed=0)(switches, silent=True).values

    def kernel(value: Any, switches: Any) -> Any:
        return shap.KernelExplainer(value, off).shap_values(switches, silent=True)

    def kernel_all(value: Any, switches: Any) -> Any:
        return shap.KernelExplainer(value, off).shap_values(switches, silent=True, nsamples=2**N_SLOTS, l1_reg=0)

    return {
        SHAP_TOLD: by_switches(policy, exact),
        SHAP_EXACT: by_switches(policy, exact, undecided=True),
        "shap Kernel": by_switches(policy, kernel),
        "shap Kernel, all coalitions": by_switches(policy, kernel_all),
        "shap Permutation": by_switches(policy, permutation),
    }


def integrated_gradients(policy: Any) -> Explain:
    from captum.attr import IntegratedGradients

    def value(rows: Any, actions: Any, masks: Any) -> Any:
        return log_probabilities(policy, rows, masks).gather(1, actions[:, None])[:, 0]

    method = IntegratedGradients(value)

    def explain(what: Decisions) -> NDArray[np.float64]:
        rows, actions, masks = (torch.as_tensor(part) for part in what.rows)
        baseline = torch.as_tensor(EMPTY)[None]
        found = method.attribute(rows, baselines=baseline, additional_forward_args=(actions, masks))
        summed: NDArray[np.float64] = found.detach().double().numpy().reshape(len(rows), N_SLOTS, WIDTH).sum(2)
        return summed

    return explain


def brute_force(policy: Any) -> Explain:
    """Return Shapley's formula, one coalition at a time, on the policy in double precision."""
    twin = copy.deepcopy(policy).double()

    def explain(what: Decisions) -> NDArray[np.float64]:
        found = np.zeros((len(what.actions), N_SLOTS))
        for i, (observation, action, mask) in enumerate(zip(*what.rows, strict=True)):
            players = np.flatnonzero(what.decided[i])
            subsets = list(product((False, True), repeat=len(players)))
            switches = np.zeros((len(subsets), N_SLOTS))
            switches[:, players] = subsets
            rows = torch.as_tensor(mixed(observation, switches), dtype=torch.float64)
            with torch.no_grad():
                table = log_probabilities(twin, rows, torch.as_tensor(mask))[:, int(action)].numpy()
            values = dict(zip(subsets, table.tolist(), strict=True))
            for place, player in enumerate(players):
                for subset, gained in values.items():
                    if subset[place]:
                        without = (*subset[:place], False, *subset[place + 1 :])
                        size = sum(without)
                        weight = 1 / (len(players) * comb(len(players) - 1, size))
                        found[i, player] += weight * (gained - values[without])
        return found

    return explain


# Measuring


def subjects(policy: Any) -> dict[str, Explain]:
    return {
        OURS: nas_gym(policy),
        POLICY: nas_gym(policy, critic=False),
        "nas-gym, generic way": nas_gym(policy, factorise=False),
        "nas-gym, a call each": nas_gym_one_by_one(policy),
        **shap_subjects(policy),
        "captum IntegratedGradients": integrated_gradients(policy),
        TRUTH: brute_force(policy),
    }


def measure(what: Decisions, compared: dict[str, Explain], repeats: int, seed: int) -> dict[str, dict[str, float]]:
    """Return what every subject costs and how far it is from the truth, by name."""
    truth = compared[TRUTH](what)
    milliseconds: dict[str, list[float]] = {name: [] for name in compared}
    found: dict[str, NDArray[np.float64]] = {}
    for turn in range(repeats + 1):  # the first warms up
        for name, explain in compared.items():
            with isolated_generators(seed):  # shap's samplers draw from numpy's global generator
                begun = time.process_time()
                found[name] = explain(what)
                spent = time.process_time() - begun
            if turn:
                milliseconds[name].append(1e3 * spent / len(what.actions))
    return {name: score(found[name], truth, milliseconds[name], what) for name in compared}


def score(found: NDArray[np.float64], truth: NDArray[np.float64], milliseconds: list[float], what: Decisions) -> Any:
    several = what.decided.sum(1) > 1
    away = np.abs(found - truth)
    same = np.abs(found[several]).argmax(1) == np.abs(truth[several]).argmax(1)
    return {
        "milliseconds": round(statistics.median(milliseconds), 4),
        "fastest": round(min(milliseconds), 4),
        "slowest": round(max(milliseconds), 4),
        "largest_error": float(away.max()),
        "mean_error_of_mean_size": float(away.mean() / np.abs(truth).mean()),
        "top1_agreement": round(float(same.mean()), 4),
    }


def all_actions_error(policy: Any, what: Decisions) -> float:
    """Return the largest error of the attributions of every legal action."""
    found = attribute(policy, *what.rows, baseline=EMPTY, groups=GROUPS).phi_actions
    largest, explain = 0.0, brute_force(policy)
    for action in range(N_ACTIONS):
        rows = np.flatnonzero(what.masks[:, action])
        actions = np.full(len(rows), action)
        part = Decisions(what.observations[rows], actions, what.masks[rows], what.decided[rows])
        largest = max(largest, float(np.abs(explain(part) - found[rows, :, action]).max()))
    return largest


def report(repeats: int, episodes: int, seed: int) -> dict[str, Any]:
    """Measure everything and return it as JSON-ready data."""
    policy = make_policy(seed)
    steps = list(range(N_SLOTS)) * episodes
    sets = {
        "whole episodes, 0 to 11 slots decided": draw(steps, seed + 1, per_architecture=N_SLOTS),
        "unrelated decisions, 0 to 11 slots decided": draw(steps, seed + 2),
        "all 12 slots decided": draw([N_SLOTS] * 2 * episodes, seed + 3),
    }
    tables = {name: measure(what, subjects(policy), repeats, seed) for name, what in sets.items()}
    ratios = {
        name: {
            ours: {
                theirs: round(table[theirs]["milliseconds"] / table[ours]["milliseconds"], 1)
                for theirs in (SHAP_EXACT, SHAP_TOLD)
            }
            for ours in (OURS, POLICY)
        }
        for name, table in tables.items()
    }
    errors = {name: all_actions_error(policy, what) for name, what in sets.items()}
    return {
        "tables": tables,
        "times_faster_than_shap_exact": ratios,
        "largest_error_over_all_actions": errors,
        "targets": TARGETS,
        "decisions": {name: len(what.actions) for name, what in sets.items()},
        "repeats": repeats,
        "seed": seed,
        "shape": {"slots": N_SLOTS, "choices": N_CHOICES, "actions": N_ACTIONS, "hidden": [64, 64]},
        "hardware": {"cores": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine()}
        | {"processor": processor(), "torch_threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "numpy", "shap", "captum", "stable-baselines3")},
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def show(measured: dict[str, Any]) -> None:
    for name, table in measured["tables"].items():
        print(f"\n{name} ({measured['decisions'][name]} decisions): processor time and error a decision")
        print(f"{'':28}{'ms':>10}{'fastest':>10}{'slowest':>10}{'largest error':>15}{'relative':>10}{'top 1':>7}")
        for subject, row in table.items():
            times = "".join(f"{row[key]:10.3f}" for key in ("milliseconds", "fastest", "slowest"))
            relative = f"{100 * row['mean_error_of_mean_size']:8.2f} %"
            print(f"{subject:28}{times}{row['largest_error']:15.1e}{relative}{row['top1_agreement']:7.2f}")
        error, limits = measured["largest_error_over_all_actions"][name], measured["targets"]
        print(f"largest error over all actions {error:.1e}, target {limits['largest_error']}: ", end="")
        print(_met(error <= limits["largest_error"]))
        for ours, ratios in measured["times_faster_than_shap_exact"][name].items():
            spent, ratio = table[ours]["milliseconds"], ratios[SHAP_EXACT]
            print(
                f"{ours}: {spent:.2f} ms, target {limits['milliseconds']}: {_met(spent <= limits['milliseconds'])}; "
                f"{ratio} times as fast as shap's exact explainer of the {N_SLOTS} groups, target "
                f"{limits['times_faster_than_shap_exact']}: {_met(ratio >= limits['times_faster_than_shap_exact'])}; "
                f"{ratios[SHAP_TOLD]} times as fast as one that is told which are undecided"
            )
    hardware = measured["hardware"]
    print(
        f"\nmedians of {measured['repeats']} turns; {hardware['processor']}, {hardware['cores']} cores, "
        f"load {hardware['load']:.1f}; {', '.join(f'{k} {v}' for k, v in measured['versions'].items())}"
    )


def _met(met: bool) -> str:
    return "met" if met else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="how often the subjects take turns")
    parser.add_argument("--episodes", type=int, default=6, help="of 12 decisions each; what one call explains")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measured = report(arguments.repeats, arguments.episodes, arguments.seed)
    show(measured)
    if arguments.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
