"""The agents: controllers and baselines that search an environment, and the hook that explains them.

Names are imported when they are asked for, so that a search with one agent does not load the others.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas_gym_agents.agent import Recorder, SearchAgent, SearchResult, play, play_all
    from nas_gym_agents.genetic import Genetic
    from nas_gym_agents.late_rewards import LateRewards
    from nas_gym_agents.local_search import LocalSearch
    from nas_gym_agents.maskable_ppo import MaskablePPOSearch
    from nas_gym_agents.model_ppo import ModelPPOSearch
    from nas_gym_agents.ppo import PPOSearch
    from nas_gym_agents.random_search import RandomSearch
    from nas_gym_agents.recorder import DecisionRecorder
    from nas_gym_agents.recurrent_ppo import RecurrentPPOSearch
    from nas_gym_agents.registry import AGENTS, make_agent
    from nas_gym_agents.regularized_evolution import RegularizedEvolution
    from nas_gym_agents.reinforce import Reinforce
    from nas_gym_agents.runner import resume, search
    from nas_gym_agents.settings import SearchSettings
    from nas_gym_agents.tpe import TPE
    from nas_gym_agents.workers import Workers

_PLACES = {
    "AGENTS": "registry",
    "DecisionRecorder": "recorder",
    "Genetic": "genetic",
    "LateRewards": "late_rewards",
    "LocalSearch": "local_search",
    "MaskablePPOSearch": "maskable_ppo",
    "ModelPPOSearch": "model_ppo",
    "PPOSearch": "ppo",
    "RandomSearch": "random_search",
    "Recorder": "agent",
    "RecurrentPPOSearch": "recurrent_ppo",
    "RegularizedEvolution": "regularized_evolution",
    "Reinforce": "reinforce",
    "SearchAgent": "agent",
    "SearchResult": "agent",
    "SearchSettings": "settings",
    "TPE": "tpe",
    "Workers": "workers",
    "make_agent": "registry",
    "play": "agent",
    "play_all": "agent",
    "resume": "runner",
    "search": "runner",
}

__all__ = [
    "AGENTS",
    "TPE",
    "DecisionRecorder",
    "Genetic",
    "LateRewards",
    "LocalSearch",
    "MaskablePPOSearch",
    "ModelPPOSearch",
    "PPOSearch",
    "RandomSearch",
    "Recorder",
    "RecurrentPPOSearch",
    "RegularizedEvolution",
    "Reinforce",
    "SearchAgent",
    "SearchResult",
    "SearchSettings",
    "Workers",
    "make_agent",
    "play",
    "play_all",
    "resume",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
