"""The environments, under the package's own name: a thin, lazy re-export of `nas_gym_envs`."""

from typing import Any

import nas_gym_envs
from nas_gym_envs import __all__ as __all__


def __getattr__(name: str) -> Any:
    return getattr(nas_gym_envs, name)
