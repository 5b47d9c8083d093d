"""The agents, under the package's own name: a thin, lazy re-export of `nas_gym_agents`."""

from typing import Any

import nas_gym_agents
from nas_gym_agents import __all__ as __all__


def __getattr__(name: str) -> Any:
    return getattr(nas_gym_agents, name)
