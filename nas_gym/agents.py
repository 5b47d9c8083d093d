"""The agents, under the package's own name: a thin re-export of `nas_gym_agents`."""

from nas_gym_agents import *  # noqa: F403
from nas_gym_agents import __all__ as __all__
