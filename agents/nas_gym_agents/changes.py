"""Changing one decision of an episode, and repairing through the masks what no longer fits.

The masks that were seen while an episode was played say which changes there are: at every place, each other legal
action. A changed decision may make later ones illegal, superfluous or missing; so the changed episode keeps the
inherited action of a slot where that is legal, and draws a legal one where it is not or where nothing was inherited.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from nas_gym_agents.agent import Mask, Played

Draw = Callable[[], float]  # a number in [0, 1); cheaper than a generator's `choice` and `integers`
Change = tuple[int, int]  # the place of a decision in its episode, and its new action
T = TypeVar("T")


def pick(options: Sequence[T], draw: Draw) -> T:
    """Return one of the options, each with the same probability."""
    return options[int(draw() * len(options))]


def actions_of(legal: Mask) -> list[int]:
    """Return the legal actions of a mask, in order."""
    return [action for action, allowed in enumerate(legal.tolist()) if allowed]


@dataclass(frozen=True)
class Inheriting:
    """Chooses the inherited action of a slot where it is legal, else any legal one; see `nas_gym_agents.agent.Choose`.

    Attributes:
        draw: Where random choices come from.
        inherited: From slots to actions; with none, every legal action is as probable as any other.
    """

    draw: Draw
    inherited: Mapping[int, int] = field(default_factory=dict)

    def __call__(self, slot: int, legal: Mask) -> int:
        """Return the action."""
        action = self.inherited.get(slot, -1)
        return action if action >= 0 and legal[action] else pick(actions_of(legal), self.draw)


def changes(played: Played) -> list[Change]:
    """Return all changes of one decision of an episode, by place and action."""
    return [
        (place, action)
        for place, (own, legal) in enumerate(zip(played.actions, played.legal, strict=True))
        for action in actions_of(legal)
        if action != own
    ]


def changed(played: Played, change: Change, draw: Draw) -> Inheriting:
    """Return the choices of an episode with one decision changed."""
    place, action = change
    return Inheriting(draw, {**dict(zip(played.slots, played.actions, strict=True)), played.slots[place]: action})


def mutated(played: Played, draw: Draw) -> Inheriting:
    """Return the choices of an episode with one decision changed to something else, if any can be.

    Every decision with an alternative is as probable as any other, and so is every alternative.
    """
    places = [place for place, legal in enumerate(played.legal) if legal.sum() > 1]
    if not places:
        return Inheriting(draw, dict(zip(played.slots, played.actions, strict=True)))
    place = pick(places, draw)
    others = [action for action in actions_of(played.legal[place]) if action != played.actions[place]]
    return changed(played, (place, pick(others, draw)), draw)
