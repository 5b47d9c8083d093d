"""What a benchmark runs: environments, tracks, agents, seeds and one budget, as plain data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas_gym.errors import ConfigurationError
from nas_gym_agents.settings import IDLE_EPISODES, SearchSettings
from nas_gym_envs import ArchitectureEnv, Budget

ALWAYS = ("local-search", "regularized-evolution")
BUDGET_UNITS = ("evaluations", "unique", "simulated_seconds")
NOISE_FREE = "noise-free"
MOST_SEEDS = 100_000
_SET_BY_THE_HARNESS = ("budget", "render_mode", "noise_seed")


@dataclass(frozen=True, kw_only=True)
class EnvPlan:
    """An environment of a benchmark.

    Attributes:
        id: Of Gymnasium's registry.
        options: Arguments of ``gym.make``, JSON-ready.
        score: The table's column that answers are scored by; None: the table's default.
    """

    id: str
    options: Mapping[str, Any] = field(default_factory=dict)
    score: str | None = None

    def __post_init__(self) -> None:
        for name in _SET_BY_THE_HARNESS:
            if name in self.options:
                raise ConfigurationError(f"a benchmark sets the environment's {name} itself; leave it out")
        if "noise" in self.options:
            raise ConfigurationError(
                f"noise is a track of its own beside the noise-free one, got noise={self.options['noise']!r} among the "
                "environment's arguments; use --noise, or noise= of the plan"
            )

    def make(self, noise: float = 0.0, noise_seed: int = 0) -> ArchitectureEnv:
        """Return the environment, without a budget.

        Raises:
            ConfigurationError: The id is unknown, an argument is, or the table is missing.
        """
        noisy = {"noise": noise, "noise_seed": noise_seed} if noise else {}
        return SearchSettings(env=self.id, env_args={**self.options, **noisy}).make_env()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the table of a benchmark.

    Attributes:
        envs: The environments.
        agents: From the name of every agent to its settings that differ from the defaults; an agent of the caller's own
            has none.
        seeds: How many; they are 0, 1, ….
        unit: Of the budget, one of `BUDGET_UNITS`.
        amount: Of the budget.
        noise: Standard deviation of the reward's noise on the noisy track, as a share (0.003: 0.3 points); 0: there is
            no such track. The noise of a run is seeded by the run's seed: the same for all agents.
        idle_episodes: Episodes in a row after which a search that spends nothing ends (`Budget`): under a budget of
            unique candidates a policy that has converged would otherwise repeat itself for ever.

    Raises:
        ConfigurationError: A part is missing, doubled, or out of range.
    """

    envs: tuple[EnvPlan, ...]
    agents: Mapping[str, Mapping[str, Any]]
    seeds: int
    unit: str
    amount: float
    noise: float = 0.0
    idle_episodes: int = IDLE_EPISODES

    def __post_init__(self) -> None:
        if not self.envs or not self.agents:
            raise ConfigurationError("a benchmark needs at least one environment and one agent")
        ids = [env.id for env in self.envs]
        if len(set(ids)) < len(ids):
            raise ConfigurationError(f"every environment of a benchmark comes once, got {', '.join(ids)}")
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise ConfigurationError(f"seeds is a whole number from 1 to {MOST_SEEDS:,}, got {self.seeds}")
        if not 0 <= self.noise < 1:
            raise ConfigurationError(f"noise is a standard deviation in [0, 1), such as 0.003, got {self.noise}")
        try:
            json.dumps(self.to_json(), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"a benchmark's plan must be JSON-ready: {error}") from None
        self.make_budget()

    @property
    def budget(self) -> str:
        """As `parse_budget` reads it, exactly."""
        return f"{self.unit}={self.amount:.15g}"

    @classmethod
    def of(
        cls,
        *,
        env: str | Sequence[str],
        agents: str | Sequence[str] = (),
        seeds: int = 10,
        budget: str = "evaluations=100",
        noise: float = 0.0,
        env_args: Mapping[str, Any] | None = None,
        agent_args: Mapping[str, Mapping[str, Any]] | None = None,
        idle_episodes: int = IDLE_EPISODES,
    ) -> "Plan":
        """Return the plan that the command line would make; local search and regularised evolution are always in it.

        Args:
            env: One or more ids.
            agents: Names, as a list or parted by commas: of the registry, or ``my_package.my_module:MyAgent``.
            seeds: How many.
            budget: Such as ``"unique=200"``.
            noise: Of the noisy track; 0: none.
            env_args: Arguments of all environments; ``score`` names the column that scores.
            agent_args: Settings by the name of the agent.
            idle_episodes: See the class.

        Raises:
            ConfigurationError: As for the class, or settings are of an agent that does not take part.
        """
        options = dict(env_args or {})
        score = options.pop("score", None)
        ids = [env] if isinstance(env, str) else list(env)
        names = [name.strip() for name in agents.split(",")] if isinstance(agents, str) else list(agents)
        names = list(dict.fromkeys(name for name in (*names, *ALWAYS) if name))
        settings = dict(agent_args or {})
        if unknown := sorted(set(settings).difference(names)):
            raise ConfigurationError(f"settings are given for {', '.join(unknown)}, but agents are {', '.join(names)}")
        unit, amount = parse_budget(budget)
        return cls(
            envs=tuple(EnvPlan(id=env_id, options=options, score=score) for env_id in ids),
            agents={name: dict(settings.get(name, {})) for name in names},
            seeds=seeds,
            unit=unit,
            amount=amount,
            noise=noise,
            idle_episodes=idle_episodes,
        )

    @property
    def tracks(self) -> dict[str, float]:
        """The standard deviation of the reward's noise by the name of the track."""
        return {NOISE_FREE: 0.0, **({f"noise {self.noise:g}": self.noise} if self.noise else {})}

    def make_budget(self) -> Budget:
        """Return a fresh budget.

        Raises:
            ConfigurationError: The unit is unknown, or the amount buys nothing.
        """
        if self.unit not in BUDGET_UNITS:
            raise ConfigurationError(f"a benchmark's budget is in {', '.join(BUDGET_UNITS)}, got {self.unit!r}")
        limits: dict[str, Any] = {self.unit: self.amount}
        return Budget(**limits, idle_episodes=self.idle_episodes)

    def with_agents(self, names: Sequence[str]) -> "Plan":
        """Return the plan with more agents, first."""
        agents = {name: self.agents.get(name, {}) for name in (*names, *self.agents)}
        return Plan.from_json({**self.to_json(), "agents": agents})

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "envs": [{"id": env.id, "options": dict(env.options), "score": env.score} for env in self.envs],
            "agents": {name: dict(settings) for name, settings in self.agents.items()},
            "seeds": self.seeds,
            "unit": self.unit,
            "amount": self.amount,
            "noise": self.noise,
            "idle_episodes": self.idle_episodes,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """Return the plan that `to_json` wrote."""
        return cls(**{**data, "envs": tuple(EnvPlan(**env) for env in data["envs"])})


def parse_budget(text: str) -> tuple[str, float]:
    """Return unit and amount of a budget such as ``"unique=200"`` or ``"simulated_seconds=20000"``.

    Raises:
        ConfigurationError: It is no such text.
    """
    unit, _, number = text.partition("=")
    unit = unit.strip().replace("-", "_")
    try:
        amount = float(number.replace("_", ""))
    except ValueError:
        amount = float("nan")
    whole = unit != "simulated_seconds"
    if unit not in BUDGET_UNITS or not 0 < amount < float("inf") or (whole and amount != int(amount)):
        known = ", ".join(f"{one}=NUMBER" for one in BUDGET_UNITS)
        raise ConfigurationError(f"a budget is one of {known}, with a positive number; got {text!r}")
    return unit, int(amount) if whole else amount
