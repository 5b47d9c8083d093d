"""Whether explanations are stable: the same policy explained twice, and policies that were trained with other seeds.

    python scripts/explanation_stability.py [--env nas_gym/Table-v0] [--seeds 5] [--evaluations 300] [--json]

Exact attributions have no seed that could matter: two seeds of the explainer must give the same bits. Policies are
compared on the same decisions, those of random legal episodes: for each policy the mean absolute attribution of every
slot to the action that the policy finds most probable, and the rank correlation (Spearman) of these means between
policies.
"""

import argparse
import json
import platform
from importlib.metadata import version
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym_agents.attribution import Options, attribute, log_probabilities
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.sb3_search import search_with
from nas_gym_agents.settings import SearchSettings


def trained(env: ArchitectureEnv, seed: int, evaluations: int) -> Any:
    """Return the policy that a search leaves."""
    kept: list[Any] = []

    def make(inner: Any, its_seed: int) -> Any:
        kept.append(MaskablePPOSearch().make(inner, its_seed))
        return kept[0]

    env.budget = Budget(evaluations=evaluations)
    search_with(make, env, seed=seed, recorder=None, policy_file=None)
    return kept[0].policy


def decisions(env: ArchitectureEnv, n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return observations and masks of free decisions of random legal episodes, with an earlier decision each."""
    generator, space = np.random.default_rng(seed), env.space
    observations, masks = [], []
    while len(observations) < n:
        prefix: tuple[int, ...] = ()
        while space.next_slot(prefix) is not None:
            legal = space.legal(prefix)
            if prefix and legal.sum() > 1:
                observations.append(env.encoder.encode(prefix))
                masks.append(legal)
            prefix = (*prefix, int(generator.choice(np.flatnonzero(legal))))
    return np.stack(observations[:n]), np.stack(masks[:n])


def explained(policy: Any, env: ArchitectureEnv, seen: NDArray[Any], masks: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return the attributions of the actions that a policy finds most probable, float64 (n, slots)."""
    actions = np.where(masks, log_probabilities(policy, seen, masks), -np.inf).argmax(1)
    groups, baseline = tuple(env.encoder.groups), env.encoder.encode(())
    options = Options(seed=seed)
    return attribute(policy, seen, actions, masks, baseline=baseline, groups=groups, options=options).phi


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="nas_gym/Table-v0", help="environment id")
    parser.add_argument("--seeds", type=int, default=5, help="policies")
    parser.add_argument("--evaluations", type=int, default=300, help="of every search")
    parser.add_argument("--decisions", type=int, default=500, help="that are explained")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    env = SearchSettings(env=arguments.env).make_env()
    seen, masks = decisions(env, arguments.decisions, seed=0)
    means, identical = [], True
    for seed in range(arguments.seeds):
        policy = trained(env, seed, arguments.evaluations)
        first, second = (explained(policy, env, seen, masks, own) for own in (0, 1))
        identical &= bool((first == second).all())
        means.append(np.abs(first).mean(0))
        print(f"seed {seed}: " + ", ".join(f"{m:.3f}" for m in means[-1]))
    names = [name for name, _ in env.encoder.groups]
    varying = np.array(means).max(0) > 0
    ranks = [float(spearmanr(a[varying], b[varying])[0]) for a, b in combinations(means, 2)]
    print(f"slots: {', '.join(names)}")
    print(f"two seeds of the explainer: {'identical' if identical else 'DIFFERENT'}")
    print(f"rank correlation between policies: mean {np.mean(ranks):+.2f}, {min(ranks):+.2f} to {max(ranks):+.2f}")
    if arguments.json:
        packages = {name: version(name) for name in ("nas-gym", "torch", "stable-baselines3", "sb3-contrib", "numpy")}
        facts = {"machine": platform.machine(), "python": platform.python_version(), "versions": packages}
        figures = {"identical": identical, "correlations": ranks, "means": np.array(means).tolist(), "slots": names}
        print(json.dumps({**vars(arguments), **figures, **facts}))


if __name__ == "__main__":
    main()
