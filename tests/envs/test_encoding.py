"""The one-hot encoder: `advance` equals `encode`, blocks are one-hot, groups cover the observation."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from episodes import tiny_space
from hypothesis import given, settings
from hypothesis import strategies as st

import nas_gym
from nas_gym.spaces import ChainSpace, Limits, Prefix, SearchSpace, describe
from nas_gym_envs import one_hot

SPACES: list[SearchSpace] = [
    tiny_space(),
    tiny_space(hyperparameters=(), limits=Limits(min_layers=2)),
    ChainSpace(
        (1, 8, 8),
        10,
        limits=Limits(parameters=20_000, resolution=2),
        hyperparameters=("learning_rate", "batch_size", "weight_decay"),
    ),
]
walks = st.tuples(st.sampled_from(SPACES), st.lists(st.floats(0, 1, exclude_max=True), max_size=13))


def walked(space: SearchSpace, choices: list[float]) -> Prefix:
    """Return the prefix of a legal walk: every number in [0, 1) takes one of the legal actions."""
    prefix: Prefix = ()
    for choice in choices:
        legal = np.flatnonzero(space.legal(prefix))
        if not len(legal):
            break
        prefix = (*prefix, int(legal[int(choice * len(legal))]))
    return prefix


@given(walks)
@settings(deadline=None)
def test_advance_equals_encode_for_all_prefixes(walk: tuple[SearchSpace, list[float]]) -> None:
    space, choices = walk
    encoder, prefix = one_hot(space), walked(space, choices)
    observation = encoder.encode(())
    for end, action in enumerate(prefix, start=1):
        before = observation.copy()
        slot = space.next_slot(prefix[: end - 1])
        assert slot is not None
        following = encoder.advance(observation, slot, action)
        assert (observation == before).all(), "the old observation is left alone"
        assert not np.shares_memory(observation, following)
        expected = encoder.encode(prefix[:end])
        assert following.dtype == expected.dtype == np.float32
        assert (following == expected).all()
        observation = following


@given(walks)
@settings(deadline=None)
def test_blocks_tell_the_decisions_and_nothing_else(walk: tuple[SearchSpace, list[float]]) -> None:
    space, choices = walk
    encoder, prefix = one_hot(space), walked(space, choices)
    observation = encoder.encode(prefix)
    assert observation in encoder.observation_space
    decided = dict(describe(space, prefix))
    for (name, block), slot in zip(encoder.groups, space.slots, strict=True):
        values = observation[block]
        assert values.sum() == 1
        place = int(values.argmax())
        assert decided.get(name) == (slot.choices[place - 1] if place else None)


@pytest.mark.parametrize("env_id", nas_gym.IDS)
def test_groups_cover_the_observation_in_order(env_id: str, cheaply: Callable[[str], dict[str, Any]]) -> None:
    env = gym.make(env_id, **cheaply(env_id)).unwrapped
    covered = [place for _, block in env.encoder.groups for place in range(block.start, block.stop)]
    assert covered == list(range(env.observation_space.shape[0]))
    assert [name for name, _ in env.encoder.groups] == [slot.name for slot in env.space.slots]


def test_encodings_are_fresh() -> None:
    encoder = one_hot(SPACES[0])
    assert not np.shares_memory(encoder.encode(()), encoder.encode(()))
    encoder.encode(())[:] = 5
    assert encoder.encode(()) in encoder.observation_space
