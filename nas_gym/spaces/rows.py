"""Candidates of tabular spaces: the row is the key, and the network is made when somebody asks for it."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from nas_gym.architecture import Architecture, Candidate


class RowCandidate(Candidate):
    """A candidate whose key is known before its network is made.

    Args:
        row: The key.
        make: Makes the architecture, when it is first asked for.
    """

    def __init__(self, row: str, make: Callable[[], Architecture]) -> None:
        self.__dict__.update(hyperparameters=(), row=row, key=row, _make=make)

    @cached_property
    def architecture(self) -> Architecture:
        """The network."""
        made: Architecture = self.__dict__["_make"]()
        return made

    def __repr__(self) -> str:
        return f"RowCandidate({self.row!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Candidate, (self.architecture, (), self.row)
