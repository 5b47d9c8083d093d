"""The episodes of a search as a tree of decisions, so that what was evaluated is known before it is played again."""

from dataclasses import dataclass, field
from itertools import chain

from nas_gym_agents.agent import Choose, Mask, Played
from nas_gym_agents.changes import Draw, actions_of, pick


@dataclass(eq=False)
class _Place:
    """A state that was met: what came next, and what followed.

    Attributes:
        slot: The slot that the next decision fills.
        legal: Its mask.
        left: How many legal actions may still lead to something new.
        following: What each action that was taken led to.
    """

    slot: int
    legal: Mask
    left: int
    following: dict[int, "_Place | Played"] = field(default_factory=dict)


class Memory:
    """Knows the episodes that were added, by their decisions.

    An environment whose slots or rewards are random is known by the first episode of each sequence of decisions.
    """

    def __init__(self) -> None:
        self._root: _Place | None = None

    @property
    def complete(self) -> bool:
        """Whether every sequence of decisions was played: there is nothing new."""
        return self._root is not None and self._root.left == 0

    def add(self, played: Played) -> None:
        """Remember a finished episode."""
        path: list[_Place] = []
        previous: _Place | None = None
        for slot, legal, action in zip(played.slots, played.legal, (-1, *played.actions), strict=False):
            place = self._root if previous is None else previous.following.get(action)
            if place is None:
                place = _Place(slot, legal, int(legal.sum()))
                if previous is None:
                    self._root = place
                else:
                    previous.following[action] = place
            if isinstance(place, Played):
                return
            path.append(place)
            previous = place
        if not path or played.actions[-1] in path[-1].following:
            return
        path[-1].following[played.actions[-1]] = played
        for place in reversed(path):
            place.left -= 1
            if place.left:
                return

    def foreseen(self, choose: Choose) -> tuple[Played | None, Choose]:
        """Return the known episode that choices lead to, or None, and choices that lead to the same.

        What is random in the choices is drawn here, as far as the way is known, and not again when they are played.
        """
        way: list[int] = []
        place: _Place | Played | None = self._root
        while isinstance(place, _Place):
            action = choose(place.slot, place.legal)
            way.append(action)
            place = place.following.get(action)
        drawn = chain(way)

        def as_drawn(slot: int, legal: Mask) -> int:
            action = next(drawn, -1)
            return action if action >= 0 and legal[action] else choose(slot, legal)

        return place, as_drawn

    def new(self, draw: Draw) -> Choose:
        """Return random choices of legal actions that lead to an episode that was not played."""
        place: _Place | Played | None = self._root

        def choose(slot: int, legal: Mask) -> int:
            nonlocal place
            options = actions_of(legal)
            if not isinstance(place, _Place):
                return pick(options, draw)
            action = pick([one for one in options if not _over(place.following.get(one))] or options, draw)
            place = place.following.get(action)
            return action

        return choose


def _over(place: _Place | Played | None) -> bool:
    """Return whether nothing new can follow."""
    return isinstance(place, Played) or (place is not None and place.left == 0)
