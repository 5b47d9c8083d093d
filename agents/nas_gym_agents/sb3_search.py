"""What all agents from stable-baselines3 share: learn until the budget is spent, and keep the policy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from nas_gym.randomness import isolated_generators
from nas_gym_agents.agent import Recorder, SearchResult
from nas_gym_agents.late_rewards import LateRewards

PolicyFile = Callable[[], Path]  # where the policy goes now: a run that is rebuilt moves
FOREVER = 2**62  # time steps; the budget ends the search


class SearchCallback(BaseCallback):
    """Stops when the budget is spent, tracks the best episode, and saves the policy after every update.

    Args:
        policy_file: Where the policy is saved; None: nowhere.
    """

    def __init__(self, policy_file: PolicyFile | None) -> None:
        super().__init__()
        self.result = SearchResult()
        self._policy_file = policy_file

    def _on_step(self) -> bool:
        for reward, done, info in zip(self.locals["rewards"], self.locals["dones"], self.locals["infos"], strict=True):
            if info.get("budget_spent"):
                return False
            if done and "ticket" not in info:
                self.finished(float(reward), info)
        return not self._budget_spent()

    def finished(self, reward: float, info: dict[str, Any]) -> None:
        """Note the end of an episode, once its reward is known."""
        result = self.result
        if reward > result.reward:
            result = SearchResult(tuple(info.get("actions", ())), reward, result.episodes)
        self.result = SearchResult(result.actions, result.reward, result.episodes + 1)

    def _on_rollout_start(self) -> None:
        """Called before every rollout: the policy is as the last update left it."""
        self.save()

    def save(self) -> None:
        """Save the policy, whole or not at all."""
        if self._policy_file is not None:
            place = self._policy_file()
            unfinished = place.with_name("policy-unfinished.zip")
            self.model.save(unfinished)
            unfinished.replace(place)

    def _budget_spent(self) -> bool:
        env = self.training_env
        budget = env.get_attr("budget", 0)[0] if env.has_attr("budget") else None
        return bool(budget is not None and budget.exhausted)


def search_with(
    make: Callable[[gym.Env[Any, Any], int], OnPolicyAlgorithm],
    env: gym.Env[Any, Any],
    *,
    seed: int,
    recorder: Recorder | None,
    policy_file: PolicyFile | None,
) -> SearchResult:
    """Return the result of learning until the environment's budget is spent.

    The algorithm runs on one thread, with the global generators seeded inside and restored afterwards, so that it is
    deterministic given the seed and the rewards.

    Args:
        make: From environment and seed to the algorithm.
        env: The environment, with its budget.
        seed: Of the search.
        recorder: A `BaseCallback` is called by stable-baselines3; its ``reader`` also gets the training's numbers.
        policy_file: Where the policy is saved.
    """
    callback = SearchCallback(policy_file)
    callbacks: list[BaseCallback] = [LateRewards(callback.finished), callback]
    if isinstance(recorder, BaseCallback):
        callbacks.insert(1, recorder)
    threads = torch.get_num_threads()
    with isolated_generators(seed):
        torch.set_num_threads(1)
        try:
            model = make(env, seed)
            reader = getattr(recorder, "reader", None)
            writers = [reader] if isinstance(reader, KVWriter) else []
            model.set_logger(Logger(folder=None, output_formats=writers))
            model.learn(total_timesteps=FOREVER, callback=callbacks)
            callback.save()
        finally:
            torch.set_num_threads(threads)
    result = callback.result
    updates = model._n_updates // model.n_epochs if hasattr(model, "n_epochs") else 0
    return SearchResult(result.actions, result.reward, result.episodes, updates)
