"""What tracing says taught a policy, compared with teaching it again: the numbers of docs/explanations.md.

For every seed one search of `nas_gym/Table-v0` with ``maskable-ppo`` as it ships, whose every update is kept. Random
free decisions of the search are explained at several versions of the policy. Then the policy is taught again, from the
same rollouts, without the advantages of one evaluation at a time, and without those of a random half of them.

    python scripts/check_influence.py --seeds 3 --versions 2,4,8,16 --json
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.explain.record import FORCED
from nas_gym_agents.influence.checks import agreement, path_check
from nas_gym_agents.influence.of_run import by_episode, drawn, naive, questions_of
from nas_gym_agents.influence.retraining import first_update, logps_without, taught_again
from nas_gym_agents.influence.states import States
from nas_gym_agents.influence.tracing import Questions, trace
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.settings import SearchSettings
from nas_gym_envs import Budget

Array = NDArray[np.float64]
Again = Callable[[list[int]], Array]
NAMES = {
    "own": "one evaluation silenced",
    "recorded": "… against the recorded policy's ratios",
    "order": "… with the samples in another order",
    "itself": "the two orders with each other",
    "half": "half of the evaluations silenced",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="nas_gym/Table-v0")
    parser.add_argument("--evaluations", type=int, default=256, help="budget of a search")
    parser.add_argument("--seeds", type=int, default=3, help="searches")
    parser.add_argument("--versions", default="2,4,8,16", help="versions of the policy that are explained")
    parser.add_argument("--decisions", type=int, default=36, help="decisions of each")
    parser.add_argument(
        "--retrained", type=int, default=40, help="evaluations without which the policy is taught again"
    )
    parser.add_argument("--halves", type=int, default=40, help="random halves without which it is")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in range(args.seeds):
        recorder = searched(args.env, args.evaluations, seed)
        for version in map(int, args.versions.split(",")):
            row = compared(recorder, version, args, seed)
            rows.append(row)
            print(shown(row), flush=True)
    if args.json:
        facts = {"python": sys.version.split()[0], "torch": torch.__version__, "machine": platform.machine()}
        print(json.dumps({**facts, "settings": vars(args), "rows": rows}))


def searched(env: str, evaluations: int, seed: int) -> DecisionRecorder:
    """Return the recorder of a search."""
    made = SearchSettings(env=env).make_env()
    made.budget = Budget(evaluations=evaluations)
    recorder = DecisionRecorder(explain="none")
    MaskablePPOSearch().search(made, seed=seed, recorder=recorder)
    return recorder


def compared(recorder: DecisionRecorder, version: int, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return how tracing agrees with the path and with retraining, at one version of a policy."""
    updates, decisions, header = recorder.ledger.read(), recorder.frame(), recorder.log.header
    free = decisions[(decisions["flags"] & FORCED) == 0]
    rows = free.sample(args.decisions, random_state=seed)
    asked = questions_of(updates, rows, header, np.full(len(rows), version))
    began = time.process_time()
    states = States(updates, version)
    found = trace(states, asked)
    seconds = time.process_time() - began
    here = found.logps[:, version]
    parts = by_episode(found, updates, decisions)
    steps = {one: group.tolist() for one, group in decisions.groupby("episode")["global_step"]}
    chosen = drawn(updates, decisions, version, args.retrained, seed=seed)
    predicted = np.stack([parts[one] for one in chosen], axis=1)
    guess = naive(decisions, rows, chosen)

    def effects(without: Again) -> Array:
        return np.stack([without(steps[one]) for one in chosen], axis=1)

    def reordered(gone: list[int]) -> Array:
        first = first_update(states, asked, gone)
        assert first is not None, "chosen episodes are in an update"
        there = taught_again(states, asked, first, order=1)
        return there - taught_again(states, asked, first, gone, order=1)

    own = effects(lambda gone: here - logps_without(states, asked, gone))
    other = effects(reordered)
    recorded = effects(lambda gone: here - logps_without(states, asked, gone, own_ratios=False))
    sums, outcomes = halves(states, asked, parts, steps, args.halves, seed)
    return {
        "seed": seed,
        "version": version,
        "updates": len(updates),
        "trace_seconds": seconds,
        "replay": {"exact": states.exact, "logp_error": states.logp_error},
        "path": path_check(found),
        "spread": {"predicted": float(predicted.std()), "effect": float(own.std())},
        "own": agreement(predicted, own, guess),
        "recorded": agreement(predicted, recorded, guess),
        "order": agreement(predicted, other, guess),
        "itself": agreement(own, other, guess),
        "half": agreement(sums, here[:, None] - outcomes, np.zeros_like(sums)),
    }


def halves(
    states: States, asked: Questions, parts: dict[int, Array], steps: dict[Any, list[int]], n: int, seed: int
) -> tuple[Array, Array]:
    """Return the summed shares of random halves of the evaluations, and the log-probabilities without them; (d, n)."""
    generator = np.random.default_rng(seed)
    sums, outcomes = [], []
    for _ in range(n):
        half = [one for one in parts if generator.random() < 0.5]
        sums.append(sum((parts[one] for one in half), np.zeros(len(asked.actions))))
        outcomes.append(taught_again(states, asked, 0, [step for one in half for step in steps[one]]))
    return np.stack(sums, axis=1), np.stack(outcomes, axis=1)


def shown(row: dict[str, Any]) -> str:
    """Return a row as text."""
    path = row["path"]
    lines = [
        f"seed {row['seed']}, version {row['version']} of {row['updates']}: path correlation {path['correlation']:.6f}"
        f", residual share {path['residual_share']:.2g} (by the gradient before: "
        f"{path['by_the_gradient_before']['residual_share']:.2g}), traced in {row['trace_seconds']:.1f} s of CPU time"
    ]
    for name, what in NAMES.items():
        one = row[name]
        lines.append(
            f"  {what}: rank correlation {one['correlation']:.2f} (chance below {one['chance']:.2f}, guess "
            f"{one['naive']:.2f}), pooled {one['pooled']:.2f}, {one['decisions']} × {one['evaluations']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
