"""Chains of residual blocks: a catalogue of seven layers for photographs, under an id of its own.

    PYTHONPATH=scripts nas-gym search --env residual_space:Residual-v0 --env-arg dataset=…

The default catalogue has 21 layers, most of which a good network for CIFAR-10 does not have; a search of a few dozen
short trainings spends itself on finding that out. This one has what residual networks have been made of since He et
al. 2016 (arXiv 1512.03385), and leaves to the search how many blocks there are, how wide, and where the resolution is
halved. There is no pooling but at the end: a network that pools three times in a row learns fastest in a few hundred
steps, so that short trainings would choose it, and is among the worst when it is trained for long.
"""

from typing import Any

import gymnasium as gym

from nas_gym.envs import ArchitectureEnv, make_chain
from nas_gym.spaces import Convolution, GlobalPool, ResidualBlock

CATALOGUE = (
    Convolution(32),
    ResidualBlock(16),
    ResidualBlock(32),
    ResidualBlock(32, stride=2),
    ResidualBlock(64),
    ResidualBlock(64, stride=2),
    GlobalPool(),
)


def make(**options: Any) -> ArchitectureEnv:
    """Return the environment; its arguments are those of `nas_gym.envs.make_chain`."""
    return make_chain(catalogue=CATALOGUE, **options)


gym.register("Residual-v0", make)
