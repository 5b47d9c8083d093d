"""The agents by name: rows of data, imported when one is asked for."""

import importlib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from nas_gym.errors import ConfigurationError
from nas_gym_agents.agent import SearchAgent

# Name on the command line -> where the class is, and what it is in a sentence.
AGENTS: dict[str, tuple[str, str]] = {
    "maskable-ppo": (
        "nas_gym_agents.maskable_ppo:MaskablePPOSearch",
        "PPO that chooses among legal actions only (sb3-contrib); the default",
    ),
    "ppo": (
        "nas_gym_agents.ppo:PPOSearch",
        "PPO without masks (stable-baselines3); an illegal action ends the episode with a penalty",
    ),
    "genetic": (
        "nas_gym_agents.genetic:Genetic",
        "genetic algorithm over decision sequences, repaired through the masks (DEAP)",
    ),
    "recurrent-ppo": (
        "nas_gym_agents.recurrent_ppo:RecurrentPPOSearch",
        "PPO with an LSTM (sb3-contrib), without masks and without attributions",
    ),
    "local-search": (
        "nas_gym_agents.local_search:LocalSearch",
        "first-improvement local search with restarts; evaluates nothing twice",
    ),
    "regularized-evolution": (
        "nas_gym_agents.regularized_evolution:RegularizedEvolution",
        "aging evolution: the best of a sample has a child with one decision changed, and the oldest dies",
    ),
    "reinforce": (
        "nas_gym_agents.reinforce:Reinforce",
        "REINFORCE with independent logits for every slot, as in NATS-Bench",
    ),
    "tpe": (
        "nas_gym_agents.tpe:TPE",
        'tree-structured Parzen estimator (Optuna; pip install "nas-gym[optuna]")',
    ),
    "model-ppo": (
        "nas_gym_agents.model_ppo:ModelPPOSearch",
        "PPO trained on what a reward model imagines (a Gaussian process that sees networks); its best proposals count",
    ),
    "random": ("nas_gym_agents.random_search:RandomSearch", "uniform over the legal actions of every step"),
}


def agent_class(name: str) -> type[Any]:
    """Return the class of an agent.

    Raises:
        ConfigurationError: The name is unknown.
    """
    if name not in AGENTS:
        raise ConfigurationError(f"there is no agent {name!r}; known are {', '.join(AGENTS)}")
    module, _, attribute = AGENTS[name][0].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def make_agent(name: str, arguments: Mapping[str, Any] | None = None) -> SearchAgent:
    """Return an agent with its settings.

    Args:
        name: Of `AGENTS`.
        arguments: Settings that differ from the defaults (`agent_settings`).

    Raises:
        ConfigurationError: The name or a setting is unknown, of the wrong type, or out of range.
    """
    kind, defaults = agent_class(name), agent_settings(name)
    for argument, value in (arguments or {}).items():
        if argument not in defaults:
            raise ConfigurationError(f"agent {name!r} has no setting {argument!r}; known are {', '.join(defaults)}")
        default = defaults[argument]
        wanted = {float: (int, float), type(None): (int, type(None))}.get(type(default), (type(default),))
        if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
            raise ConfigurationError(f"{name}'s {argument} is a number like {default!r}, got {value!r}")
    agent: SearchAgent = kind(**(arguments or {}))
    return agent


def described() -> list[dict[str, Any]]:
    """Return a row per agent: its name, what it is, its settings with their defaults."""
    return [
        {"agent": name, "description": meaning, "settings": agent_settings(name)}
        for name, (_, meaning) in AGENTS.items()
    ]


def agent_settings(name: str) -> dict[str, Any]:
    """Return the settings of an agent with their defaults."""
    return {f.name: f.default for f in fields(agent_class(name)) if f.name != "name" and f.default is not MISSING}
