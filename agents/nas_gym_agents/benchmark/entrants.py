"""Who takes part: agents of the registry by name, anybody's by ``module:name``, and functions."""

import importlib
import inspect
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from nas_gym.errors import ConfigurationError, RunError
from nas_gym.randomness import isolated_generators
from nas_gym_agents.agent import Recorder, SearchAgent, SearchResult
from nas_gym_agents.registry import AGENTS, agent_settings, make_agent

# A class or function without required arguments that returns an agent, or ``function(env, seed)`` that searches.
Factory = Callable[..., Any]


@dataclass(frozen=True)
class Entrant:
    """An agent of a benchmark.

    Attributes:
        name: In the table.
        factory: Where its class or function is; None: the registry knows the name.
        settings: That differ from its defaults.
    """

    name: str
    factory: Factory | None
    settings: Mapping[str, Any]

    def make(self) -> SearchAgent:
        """Return the agent.

        Raises:
            ConfigurationError: The name or a setting is unknown, or what the factory makes can't search.
        """
        if self.factory is None:
            return make_agent(self.name, self.settings)
        return _External(self.name, _searching(self.name, self.factory, self.settings))

    def to_json(self) -> dict[str, Any]:
        """Return what decides its runs: where it is from, and all its settings."""
        if self.factory is None:
            return {"from": "nas-gym", "settings": {**agent_settings(self.name), **self.settings}}
        return {"from": _place(self.factory), "settings": dict(self.settings)}


def entrants(agents: Mapping[str, Mapping[str, Any]], factories: Mapping[str, Factory] | None = None) -> list[Entrant]:
    """Return the agents of a plan, each found good by making it once.

    Args:
        agents: From names to settings.
        factories: The caller's own agents by name.

    Raises:
        ConfigurationError: A name is unknown, or an agent can't be made.
    """
    found = []
    for name, settings in agents.items():
        factory = (factories or {}).get(name)
        if factory is None and name not in AGENTS:
            factory = _imported(name)
        entrant = Entrant(name, factory, dict(settings))
        entrant.make()
        found.append(entrant)
    return found


def check_picklable(entrant: Entrant) -> None:
    """Refuse an agent that can't be handed to worker processes.

    Raises:
        ConfigurationError: It is a lambda, a local function, or holds something that can't be pickled.
    """
    try:
        pickle.dumps(entrant.factory)
    except Exception as error:
        raise ConfigurationError(
            f"the agent {entrant.name!r} can't be handed to worker processes ({error}); define it at the top of a "
            "module, or use workers=1"
        ) from None


def _imported(name: str) -> Factory:
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise ConfigurationError(
            f"there is no agent {name!r}; known are {', '.join(AGENTS)}, and your own as my_package.my_module:MyAgent"
        )
    if os.getcwd() not in sys.path:  # noqa: PTH109  as python -m has it: modules of the folder one stands in
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a module of somebody's raises
        raise ConfigurationError(f"the agent {name!r} can't be imported: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise ConfigurationError(f"the agent {name!r} is a class or a function, got a {type(found).__name__}")
    factory: Factory = found
    return factory


Search = Callable[..., Any]


def _searching(name: str, factory: Factory, settings: Mapping[str, Any]) -> Search:
    """Return a function of an environment and ``seed`` that searches."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not inspect.isclass(factory) and len(required) > len(settings):
        if len(required) != 2:
            raise ConfigurationError(
                f"the agent {name!r} is a class, a function of nothing that makes one, or a function of an environment "
                f"and a seed; got a function of {len(required)} arguments"
            )

        def search(env: gym.Env[Any, Any], seed: int) -> Any:
            return factory(env, seed)

        return search
    try:
        made = factory(**settings)
    except Exception as error:  # whatever somebody's class raises
        raise ConfigurationError(f"the agent {name!r} can't be made: {type(error).__name__}: {error}") from None
    found = getattr(made, "search", None)
    if not callable(found):
        raise ConfigurationError(f"the agent {name!r} needs a method search(env, *, seed), got {made!r}")
    return lambda env, seed: found(env, seed=seed)


class _External:
    """Somebody else's agent: it may draw from global generators, and its mistakes are told with their traceback."""

    def __init__(self, name: str, search: Search) -> None:
        self.name = name
        self._search = search

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        with isolated_generators(seed):
            try:
                self._search(env, seed)
            except Exception as error:
                traceback.print_exc()
                raise RunError(
                    f"the agent {self.name!r} failed with seed {seed}: {type(error).__name__}: {error}"
                ) from None
        return SearchResult()


def _place(factory: Factory) -> str:
    return f"{getattr(factory, '__module__', '?')}:{getattr(factory, '__qualname__', type(factory).__qualname__)}"
