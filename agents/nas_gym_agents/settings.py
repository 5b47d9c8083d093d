"""The settings of a search: everything that decides its history, as JSON-ready data."""

import glob
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import gymnasium as gym

from nas_gym.data.named import known_name
from nas_gym.errors import ConfigurationError, NasGymError
from nas_gym.store import public_address
from nas_gym_agents.agent import SearchAgent
from nas_gym_agents.explanation_budget import SHARE, Explain, ExplanationBudget
from nas_gym_agents.registry import make_agent
from nas_gym_envs import ArchitectureEnv, Budget

DEFAULT_ENV = "nas_gym/Chain-Digits-v0"
DEFAULT_AGENT = "maskable-ppo"
DEFAULT_EVALUATIONS = 256
IDLE_EPISODES = 1_000  # in a row, after which a search for distinct candidates ends


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What decides a search.

    Attributes:
        env: Environment id.
        env_args: Arguments of ``gym.make``.
        agent: Name of `nas_gym_agents.registry.AGENTS`.
        agent_args: Settings of the agent that differ from its defaults.
        evaluations: Budget in evaluations, repeats included; None: no limit of this kind.
        unique: Budget in distinct candidates; None: no limit of this kind.
        seed: Of the agent.
        explain: Which decisions get attributions: ``"all"``, ``"none"``, or as many as fit into a share of the search's
            time (``"budget"``; `nas_gym_agents.explanation_budget`).
        explain_share: That share, in (0, 1].
        store: Database URL or file of results shared by searches; None: the run's own. A password in it is not written
            to the run: a resume finds it as libpq does, in PGPASSWORD or ``~/.pgpass``.
        keep_weights: How many of the best networks keep their weights.
        confirm: How many of the best networks are trained again before one of them is named the winner, by its mean;
            0: none. Not charged to the budget. Evaluators that train nothing have nothing to confirm.
        confirm_repeats: How often each of them.
        warm_start: A run whose policy or evaluations the search begins with (`nas_gym_agents.warm_start`); None: none.
    """

    env: str = DEFAULT_ENV
    env_args: Mapping[str, Any] = field(default_factory=dict)
    agent: str = DEFAULT_AGENT
    agent_args: Mapping[str, Any] = field(default_factory=dict)
    evaluations: int | None = DEFAULT_EVALUATIONS
    unique: int | None = None
    seed: int = 0
    explain: Explain = "budget"
    explain_share: float = SHARE
    store: str | None = None
    keep_weights: int = 5
    confirm: int = 3
    confirm_repeats: int = 2
    warm_start: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigurationError(f"a seed is an integer from 0 to 2**32 - 1, got {self.seed}")
        ExplanationBudget(self.explain, self.explain_share)
        if self.keep_weights < 1:
            raise ConfigurationError(f"keep_weights must be at least 1, got {self.keep_weights}")
        for name, value in (("confirm", self.confirm), ("confirm_repeats", self.confirm_repeats)):
            if value < 0:
                raise ConfigurationError(f"{name} is a whole number, 0 or more, got {value}")
        for taken in ("budget", "render_mode"):
            if taken in self.env_args:
                raise ConfigurationError(f"a search sets the environment's {taken} itself; leave it out")
        try:
            self.to_json()
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"settings of a search must be JSON-ready: {error}") from None
        if self.store is not None:
            object.__setattr__(self, "store", _absolute_store(self.store))
        if self.warm_start is not None:
            object.__setattr__(self, "warm_start", _absolute(self.warm_start))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-ready data, without the password of the store."""
        data = asdict(self) | {"env_args": dict(self.env_args), "agent_args": dict(self.agent_args)}
        if self.store is not None:
            data["store"] = public_address(self.store)
        if self.warm_start is None:  # as in runs from before there was this setting
            del data["warm_start"]
        plain: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SearchSettings":
        """Return the settings that `to_json` wrote."""
        known = {f.name for f in fields(cls)}
        older = {"confirm": 0}  # runs from before there was this setting confirm nothing
        if isinstance(data.get("explain"), bool):  # as it was then
            data = {**data, "explain": "all" if data["explain"] else "none"}
        return cls(**{name: value for name, value in {**older, **data}.items() if name in known})

    def make_budget(self) -> Budget:
        """Return a fresh budget; raises BudgetError."""
        if self.evaluations is None:  # a policy that has converged asks for what it knows, at no charge
            return Budget(unique=self.unique, idle_episodes=IDLE_EPISODES)
        return Budget(evaluations=self.evaluations, unique=self.unique)

    def make_agent(self) -> SearchAgent:
        """Return the agent; raises ConfigurationError."""
        return make_agent(self.agent, self.agent_args)

    def make_env(self) -> ArchitectureEnv:
        """Return the environment without wrappers.

        Raises:
            ConfigurationError: The id is unknown, an argument is, or it makes something else, or rewards are vectors.
            DatasetError: Its data can't be loaded.
        """
        try:
            env = gym.make(self.env, disable_env_checker=True, **_as_arguments(self.env_args)).unwrapped
        except NasGymError:
            raise
        except (gym.error.Error, ImportError, TypeError, ValueError, AttributeError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigurationError(
                f"the environment {self.env!r} can't be made ({first}); nas-gym envs lists the known ids"
            ) from None
        if not isinstance(env, ArchitectureEnv):
            raise ConfigurationError(f"{self.env!r} makes a {type(env).__name__}; a search needs an ArchitectureEnv")
        if hasattr(env, "reward_dim"):
            raise ConfigurationError(
                "agents learn from one number, and the objective is a vector; give it weights, such as "
                "objective=weighted:accuracy=1:macs=0.05"
            )
        return env


def _as_arguments(env_args: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in env_args.items()}


def absolute_paths(env_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return environment arguments with paths made absolute, so that a resume works from anywhere.

    ``dataset`` may hold several paths, parted by commas, and patterns; the name of a known data set stays as it is.
    """
    result = dict(env_args)
    root, dataset = result.get("data_root"), result.get("dataset")
    if isinstance(root, str):
        result["data_root"] = _absolute(root)
    if isinstance(dataset, str) and known_name(dataset) is None:
        parts = dataset.split(",")
        if all("/" in part or glob.has_magic(part) or Path(part).exists() for part in parts):
            result["dataset"] = ",".join(_absolute(part) for part in parts)
    return result


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _absolute_store(store: str) -> str:
    """Return the store with the path of a SQLite file made absolute.

    Raises:
        ConfigurationError: It is memory, which is lost with the process.
    """
    if _is_memory(store):
        raise ConfigurationError(
            f"a store outlives the search, and {store!r} is memory: every result would be lost with this process; "
            "name a file, such as results.sqlite or sqlite:///results.sqlite"
        )
    prefix = "sqlite:///"
    if store.startswith(prefix) and len(store) > len(prefix):
        return prefix + _absolute(store.removeprefix(prefix))
    return store if "://" in store else _absolute(store)


def _is_memory(store: str) -> bool:
    """Return whether a store is a SQLite database without a file."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(store) if "://" in store else None
    except (ArgumentError, ValueError):  # no URL: the store itself says so
        return False
    if url is None or url.get_backend_name() != "sqlite":
        return store == ":memory:"
    return not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"
