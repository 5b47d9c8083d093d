"""The environments, under the package's own name: a thin re-export of `nas_gym_envs`."""

from nas_gym_envs import *  # noqa: F403
from nas_gym_envs import __all__ as __all__
