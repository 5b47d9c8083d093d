"""From a broad search to a narrow one: what does not matter is fixed, what matters keeps the range of the best."""

from collections.abc import Collection, Sequence

from nas_gym.winner.tuning.space import Choice, Range, Space, Values, spread

MARGIN = 0.1  # of the width of a range, left on both sides of the best values


def narrowed(space: Space, important: Collection[str], elite: Sequence[Values]) -> Space:
    """Return the space of the second stage.

    A hyper-parameter that does not matter has the value of the best trial from now on. One that matters keeps the
    range of the elite's values, a tenth of the old width wider on both sides; of a choice, the options that occur in
    the elite. What has a single value left is fixed, too. As values of hyper-parameters suit each other, only those of
    the elite count here that agree with the best trial in every choice that is fixed.

    Args:
        space: Of the first stage.
        important: Names of those that matter.
        elite: Values of the best trials, the best one first, at least one.
    """
    best = elite[0]
    fixed = {name: best[name] for name in space.free if name not in important}
    decided = [name for name in fixed if isinstance(space.free[name], Choice)]
    peers = [values for values in elite if all(values[name] == best[name] for name in decided)]
    free: dict[str, Range | Choice] = {}
    for name, domain in space.free.items():
        if name in fixed:
            continue
        values = [peer[name] for peer in peers]
        if isinstance(domain, Range):
            free[name] = spread(domain, values, MARGIN)
        else:
            options = tuple(option for option in domain.options if option in values)
            if len(options) == 1:
                fixed[name] = options[0]
            else:
                free[name] = Choice(options)
    return Space(free, {**space.fixed, **fixed})
