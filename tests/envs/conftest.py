"""Fixtures of the tests of the environments."""

import random

import pytest


@pytest.fixture
def generator() -> random.Random:
    """A generator of its own for every test."""
    return random.Random(0)
