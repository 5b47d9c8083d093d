"""Model-based PPO: a policy learns from rewards that a model imagines; its best proposals are evaluated, in rounds."""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from nas_gym.errors import ConfigurationError
from nas_gym.randomness import isolated_generators
from nas_gym.spaces import Prefix
from nas_gym_agents.agent import Choose, Mask, Recorder, SearchResult, play_all
from nas_gym_agents.decision_process import SeenProcess, neighbours, process_of, random_prefix
from nas_gym_agents.imagination import Archive, Imagination
from nas_gym_agents.imagined_env import ImaginedVecEnv
from nas_gym_agents.reward_prior import RewardPrior
from nas_gym_agents.sb3_search import PolicyFile
from nas_gym_agents.warm_start import WarmStart

ATTEMPTS = 50  # random candidates that were evaluated before, one after the other, before one is played again
PRIOR_POOL = 500  # random candidates that a prior chooses the first ones from


@dataclass(frozen=True, kw_only=True)
class ModelPPOSearch:
    """PPO on imagined rewards (the idea of Dyna, Sutton 1991; for sequences DyNA-PPO, Angermueller et al. 2020).

    First some random candidates are evaluated. Then, in rounds, a reward model (`reward_model.GaussianProcess` on
    `network_features`) is fitted on all evaluations so far; MaskablePPO goes on learning, in imagined episodes whose
    reward is the model's upper confidence bound; and the best of what the policy sampled meanwhile, with the
    neighbours of the best evaluations, are evaluated. Nothing is evaluated twice while there is something new.

    Attributes:
        initial: Random candidates before the first round, at least 2.
        proposals: Candidates that a round evaluates; with more workers than that, some are idle.
        optimism: Standard deviations that are added to the expected reward.
        spread: The proposals of a round take the optimism times 1, this, and one over this, in turn; at least 1.
        neighbours_of: Of how many of the best evaluations the candidates one decision away may be proposed too.
        updates: PPO updates a round.
        imagined: Imagined episodes of an update.
        n_epochs: Passes over them.
        learning_rate: Of Adam.
        entropy: Weight of the entropy bonus.
        known: What the imagined reward of a candidate that was evaluated is lowered by, in standard deviations of the
            rewards' normal scores.
        hidden: Units of the two hidden layers of actor and critic.
    """

    warm_start_from: ClassVar[str] = "evaluations"
    masked: ClassVar[bool] = True

    name: str = "model-ppo"
    initial: int = 12
    proposals: int = 5
    optimism: float = 1.0
    spread: float = 2.0
    neighbours_of: int = 3
    updates: int = 4
    imagined: int = 64
    n_epochs: int = 2
    learning_rate: float = 3e-3
    entropy: float = 0.02
    known: float = 1.0
    hidden: int = 64

    def __post_init__(self) -> None:
        least = {"initial": 2, "proposals": 1, "neighbours_of": 0, "updates": 1, "imagined": 2, "n_epochs": 1}
        wrong = [name for name, low in {**least, "hidden": 1}.items() if getattr(self, name) < low]
        wrong += [n for n in ("optimism", "entropy", "known") if not 0 <= getattr(self, n) < math.inf]
        wrong += [] if 0 < self.learning_rate < math.inf else ["learning_rate"]
        wrong += [] if 1 <= self.spread < math.inf else ["spread"]
        if wrong:
            raise ConfigurationError(
                f"model-ppo's settings are out of range: {', '.join(f'{n}={getattr(self, n)!r}' for n in wrong)}"
            )

    def search(
        self,
        env: gym.Env[Any, Any],
        *,
        seed: int,
        recorder: Recorder | None = None,
        policy_file: PolicyFile | None = None,
        warm_start: WarmStart | None = None,
    ) -> SearchResult:
        """Search until the budget is spent; see `SearchAgent`.

        Args:
            env: The environment, with its budget. Its search space, where it has one, gives masks and networks of
                candidates that were never played.
            seed: Of the search.
            recorder: Told of the episodes that were really evaluated.
            policy_file: Where the policy is saved after every round; None: nowhere.
            warm_start: Evaluations of another search, which give the model a prior mean (`RewardPrior`) and choose half
                of the first candidates.
        """
        threads = torch.get_num_threads()
        with isolated_generators(seed):
            torch.set_num_threads(1)
            try:
                return _Search(self, env, seed, recorder, policy_file, warm_start).run()
            finally:
                torch.set_num_threads(threads)

    def make(self, env: ImaginedVecEnv, seed: int) -> OnPolicyAlgorithm:
        """Return the algorithm for imagined episodes."""
        steps = len(env.slot_sizes)
        rows = self.imagined * steps
        model = MaskablePPO(
            "MlpPolicy",
            env,
            seed=seed,
            n_steps=steps,
            batch_size=max(
                2, (rows + 1) // 2
            ),  # two batches; never one of a single step, whose advantage has no deviation
            n_epochs=self.n_epochs,
            learning_rate=self.learning_rate,
            ent_coef=self.entropy,
            gamma=1.0,
            policy_kwargs={"net_arch": [self.hidden, self.hidden]},
            device="cpu",
        )
        model.set_logger(Logger(folder=None, output_formats=[]))
        return model

    @staticmethod
    def load(policy_file: Path) -> OnPolicyAlgorithm:
        """Return the algorithm that was saved."""
        return MaskablePPO.load(policy_file, device="cpu")


class _Search:
    """One search: what was evaluated, the model, and the policy."""

    def __init__(
        self,
        settings: ModelPPOSearch,
        env: gym.Env[Any, Any],
        seed: int,
        recorder: Recorder | None,
        policy_file: PolicyFile | None,
        warm_start: WarmStart | None,
    ) -> None:
        self._settings, self._env, self._seed = settings, env, seed
        self._recorder, self._policy_file = recorder, policy_file
        self._generator = np.random.default_rng(seed)
        self._process = process_of(env)
        self._prior = None if warm_start is None else RewardPrior(self._process, warm_start, env)
        self._archive = Archive(self._process, self._prior)
        self._kernel = self._archive.kernel
        self._policy: OnPolicyAlgorithm | None = None
        self._spent = False
        self.result = SearchResult()

    def run(self) -> SearchResult:
        settings = self._settings
        self._play(self._first(settings.initial))
        rounds = 0
        while not self._spent:
            self._play(self._proposed(settings.proposals) or self._random(settings.proposals))
            rounds += 1
            if self._recorder is not None:
                self._recorder.update()
        return replace(self.result, updates=rounds)

    def _play(self, wanted: Sequence[Prefix]) -> None:
        """Evaluate complete prefixes for real; what turns out to be illegal is replaced at random."""
        for played in play_all(self._env, self._choices(wanted), self._recorder):
            if played.spent:
                self._spent = True
                return
            self.result = self.result.better(played)
            if isinstance(self._process, SeenProcess):
                self._process.note(played.actions, None)
            self._archive.add(played.actions, played.reward)

    def _choices(self, wanted: Sequence[Prefix]) -> Iterator[Choose]:
        for prefix in wanted:
            yield partial(self._choose, prefix, [])

    def _choose(self, prefix: Prefix, way: list[int], slot: int, legal: Mask) -> int:
        if isinstance(self._process, SeenProcess):
            self._process.note(tuple(way), (slot, legal))
        place = len(way)
        fits = place < len(prefix) and legal[prefix[place]]
        way.append(prefix[place] if fits else int(self._generator.choice(np.flatnonzero(legal))))
        return way[-1]

    def _first(self, n: int) -> list[Prefix]:
        """Return the first candidates: random ones; half of them the best that a prior knows of, where there is one."""
        if self._prior is None:
            return self._random(n)
        process, best = self._process, self._prior.best(self._settings.neighbours_of)
        pool = [*best, *[other for prefix in best for other in neighbours(process, prefix)]]
        pool += [random_prefix(process, self._generator) for _ in range(PRIOR_POOL)]
        order = np.argsort(-self._prior(pool), kind="stable")
        chosen = {process.identity(prefix): prefix for prefix in self._random(n - n // 2)}
        for place in order:
            if len(chosen) >= n:
                break
            chosen.setdefault(process.identity(pool[place]), pool[place])
        return list(chosen.values())

    def _random(self, n: int) -> list[Prefix]:
        """Return random candidates, distinct and new where `ATTEMPTS` find any."""
        if isinstance(self._process, SeenProcess):
            return [()] * n  # played at random
        chosen: dict[Hashable, Prefix] = {}
        for _ in range(n):
            for _ in range(ATTEMPTS):
                prefix = random_prefix(self._process, self._generator)
                identity = self._process.identity(prefix)
                if identity not in chosen and identity not in self._archive.rewards:
                    break
            chosen[identity] = prefix
        return list(chosen.values())

    def _proposed(self, n: int) -> list[Prefix]:
        """Return the best candidates of what the policy samples while it learns; none if there is nothing new."""
        archive, settings = self._archive, self._settings
        if not archive.rewards:
            return []
        model = archive.fit(self._kernel)
        self._kernel = model.process.kernel
        imagination = Imagination(archive, model, optimism=settings.optimism, known=settings.known)
        self._learn(imagination)
        for prefix in archive.best(settings.neighbours_of):
            imagination(neighbours(self._process, prefix))
        return imagination.proposals(n, settings.spread)

    def _learn(self, imagination: Imagination) -> None:
        settings, process = self._settings, self._process
        env = ImaginedVecEnv(process, imagination, settings.imagined)
        if self._policy is None or self._policy.observation_space != env.observation_space:
            self._policy = settings.make(env, self._seed)
        else:
            self._policy.set_env(env)
        self._policy.learn(settings.updates * self._policy.n_steps * settings.imagined)
        if self._policy_file is not None:
            place = self._policy_file()
            unfinished = place.with_name("policy-unfinished.zip")
            self._policy.save(unfinished)
            unfinished.replace(place)
