"""Model-based PPO: a policy learns from rewards that a model imagines; its best proposals are evaluated, in rounds."""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from nas_gym.errors import ConfigurationError
from nas_gym.randomness import isolated_generators
from nas_gym.spaces import Prefix
from nas_gym_agents.agent import Choose, Mask, Recorder, SearchResult, capacity, play_all
from nas_gym_agents.decision_process import SeenProcess, neighbours, process_of, random_prefix
from nas_gym_agents.imagined_env import ImaginedVecEnv
from nas_gym_agents.network_features import FeatureTable
from nas_gym_agents.reward_model import GaussianProcess, Kernel, Posterior, fitted, normal_scores
from nas_gym_agents.sb3_search import PolicyFile

ATTEMPTS = 50  # random candidates that were evaluated before, one after the other, before one is played again
MOST_FITTED = 1000  # evaluations the model is fitted on: the best half and the latest half of so many


@dataclass(frozen=True, kw_only=True)
class ModelPPOSearch:
    """PPO on imagined rewards (the idea of Dyna, Sutton 1991; for sequences DyNA-PPO, Angermueller et al. 2020).

    First some random candidates are evaluated. Then, in rounds, a reward model (`reward_model.GaussianProcess` on
    `network_features`) is fitted on all evaluations so far; MaskablePPO goes on learning, in imagined episodes whose
    reward is the model's upper confidence bound; and the best of what the policy sampled meanwhile, with the
    neighbours of the best evaluations, are evaluated. Nothing is evaluated twice while there is something new.

    Attributes:
        initial: Random candidates before the first round, at least 2.
        proposals: Candidates that a round evaluates; as many as the environment works on at once, if that is more.
        optimism: Standard deviations that are added to the expected reward.
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

    name: str = "model-ppo"
    initial: int = 12
    proposals: int = 5
    optimism: float = 1.0
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
    ) -> SearchResult:
        """Search until the budget is spent; see `SearchAgent`.

        Args:
            env: The environment, with its budget. Its search space, where it has one, gives masks and networks of
                candidates that were never played.
            seed: Of the search.
            recorder: Told of the episodes that were really evaluated.
            policy_file: Where the policy is saved after every round; None: nowhere.
        """
        threads = torch.get_num_threads()
        with isolated_generators(seed):
            torch.set_num_threads(1)
            try:
                return _Search(self, env, seed, recorder, policy_file).run()
            finally:
                torch.set_num_threads(threads)

    def make(self, env: ImaginedVecEnv, seed: int) -> OnPolicyAlgorithm:
        """Return the algorithm for imagined episodes."""
        steps = len(env.slot_sizes)
        model = MaskablePPO(
            "MlpPolicy",
            env,
            seed=seed,
            n_steps=steps,
            batch_size=max(2, self.imagined * steps // 2),
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
    ) -> None:
        self._settings, self._env, self._seed = settings, env, seed
        self._recorder, self._policy_file = recorder, policy_file
        self._generator = np.random.default_rng(seed)
        self._process = process_of(env)
        self._archive = Archive(self._process)
        self._kernel = self._archive.kernel
        self._policy: OnPolicyAlgorithm | None = None
        self._spent = False
        self.result = SearchResult()

    def run(self) -> SearchResult:
        settings, size = self._settings, max(self._settings.proposals, capacity(self._env))
        self._play(self._random(settings.initial))
        rounds = 0
        while not self._spent:
            self._play(self._proposed(size) or self._random(size))
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
            self._archive.add(played.actions, played.slots, played.reward)

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
        imagination = Imagination(archive, model, settings)
        self._learn(imagination)
        for prefix in archive.best(settings.neighbours_of):
            imagination(neighbours(self._process, prefix))
        return imagination.proposals(n)

    def _learn(self, imagination: "Imagination") -> None:
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


@dataclass(frozen=True)
class Fit:
    """A model and what it was fitted on.

    Attributes:
        process: The Gaussian process; its targets are normal scores.
        numbers: Of the candidates, in the feature table.
    """

    process: GaussianProcess
    numbers: list[int]


class Archive:
    """What was evaluated, and the features of all candidates that anybody asked for.

    Args:
        process: The decisions.
    """

    def __init__(self, process: Any) -> None:
        self._process = process
        self.features = FeatureTable(networks=process.networks)
        self.rewards: dict[Hashable, float] = {}  # the mean, by identity, in order
        self._counts: dict[Hashable, int] = {}
        self._prefixes: dict[Hashable, Prefix] = {}
        self._numbers: dict[Hashable, int] = {}

    @property
    def kernel(self) -> Kernel:
        """The kernel to begin with: all parts alike."""
        n = self.features.n_parts
        return Kernel(weights=tuple([1 / n] * n))

    def add(self, prefix: Prefix, slots: Sequence[int], reward: float) -> None:
        """Note an evaluation; rewards of the same candidate are averaged."""
        if self._process.state(prefix) is not None:
            return  # cut short by something illegal: no candidate
        identity = self._process.identity(prefix)
        count = self._counts.get(identity, 0)
        self.rewards[identity] = (self.rewards.get(identity, 0.0) * count + reward) / (count + 1)
        self._counts[identity] = count + 1
        self._prefixes.setdefault(identity, prefix)
        self.number(identity, prefix)

    def number(self, identity: Hashable, prefix: Prefix) -> int:
        """Return the number of a candidate in the feature table."""
        number = self._numbers.get(identity)
        if number is None:
            slots = [self._process.state(prefix[:place])[0] for place in range(len(prefix))]
            decisions = tuple(zip(slots, prefix, strict=True))
            number = self._numbers[identity] = self.features.add(decisions, self._process.graph(prefix))
        return number

    def fit(self, start: Kernel) -> Fit:
        """Return the model of all evaluations, or of `MOST_FITTED` of them."""
        identities = list(self.rewards)
        scores = normal_scores(np.array([self.rewards[identity] for identity in identities]))
        kept = np.arange(len(identities))
        if len(kept) > MOST_FITTED:
            latest, best = kept[-MOST_FITTED // 2 :], np.argsort(-scores, kind="stable")[: MOST_FITTED // 2]
            kept = np.union1d(latest, best)
        numbers = [self._numbers[identities[i]] for i in kept]
        return Fit(fitted(start, self.features.similarities(numbers, numbers), scores[kept]), numbers)

    def best(self, n: int) -> list[Prefix]:
        """Return the prefixes of the best evaluations."""
        order = sorted(self.rewards, key=lambda identity: -self.rewards[identity])
        return [self._prefixes[identity] for identity in order[:n]]


class Imagination:
    """Judges complete prefixes by a model, and remembers what it was asked.

    Args:
        archive: What was evaluated.
        fit: The model.
        settings: Optimism, and what is taken from the known.
    """

    def __init__(self, archive: Archive, fit: Fit, settings: ModelPPOSearch) -> None:
        self._archive, self._fit, self._settings = archive, fit, settings
        self._identities: dict[Prefix, Hashable] = {}
        self._values: dict[Hashable, float] = {}
        self._new: dict[Hashable, Prefix] = {}

    def __call__(self, prefixes: Sequence[Prefix]) -> NDArray[np.float64]:
        """Return the imagined rewards: upper confidence bounds; of known candidates the mean, lowered."""
        fresh: dict[Hashable, Prefix] = {}
        for prefix in prefixes:
            if prefix not in self._identities:
                self._identities[prefix] = self._archive._process.identity(prefix)
            if self._identities[prefix] not in self._values:
                fresh[self._identities[prefix]] = prefix
        if fresh:
            posterior = self._posterior(fresh)
            values = posterior.mean + self._settings.optimism * posterior.deviation
            for identity, value, mean in zip(fresh, values.tolist(), posterior.mean.tolist(), strict=True):
                known = identity in self._archive.rewards
                self._values[identity] = mean - self._settings.known if known else value
                if not known:
                    self._new[identity] = fresh[identity]
        return np.array([self._values[self._identities[prefix]] for prefix in prefixes])

    def _posterior(self, candidates: dict[Hashable, Prefix]) -> Posterior:
        numbers = [self._archive.number(identity, prefix) for identity, prefix in candidates.items()]
        return self._fit.process.posterior(self._archive.features.similarities(numbers, self._fit.numbers))

    def proposals(self, n: int) -> list[Prefix]:
        """Return the new candidates with the highest bounds, each chosen as if the ones before were evaluated."""
        if not self._new:
            return []
        posterior, features = self._posterior(self._new), self._archive.features
        numbers = [self._archive.number(identity, prefix) for identity, prefix in self._new.items()]
        prefixes, chosen = list(self._new.values()), list[Prefix]()
        open_ = np.ones(len(prefixes), dtype=bool)
        while open_.any() and len(chosen) < n:
            bounds = np.where(open_, posterior.mean + self._settings.optimism * posterior.deviation, -np.inf)
            place = int(np.argmax(bounds))
            chosen.append(prefixes[place])
            open_[place] = False
            covariances = self._fit.process.kernel(features.similarities(numbers, [numbers[place]]))[:, 0]
            posterior = posterior.believed(place, covariances)
        return chosen
