"""Which decisions need no table of coalitions of their own, since another's holds it: most of an episode's.

A decision whose players are the first of another's, and look alike there, has a table that is the first 2**p columns of
the other's, as long as masks play no part in it: coalitions are numbered so that a player more doubles the table.
Where slots are decided in order, the last decision of an episode so holds the tables of all before it.
"""

import numpy as np
from numpy.typing import NDArray


def table_owners(
    observations: NDArray[np.float32], varies: NDArray[np.bool_], column_group: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return whose table holds that of each decision, int (n,); its own, if no other's does.

    Args:
        observations: (n, m).
        varies: Which groups are players, (n, n_groups).
        column_group: To which group each column belongs, (m,).
    """
    known: dict[bytes, int] = {}
    owner = np.arange(len(observations))
    own = _keys(observations, varies, column_group)
    for row in np.argsort(-varies.sum(1), kind="stable").tolist():
        holder = known.get(own[row])
        if holder is None:
            count = np.cumsum(varies[row])
            firsts = varies[row] & (count <= np.arange(count[-1] + 1)[:, None])  # (p + 1, n_groups)
            for key in _keys(observations[row], firsts, column_group):
                known.setdefault(key, row)
        else:
            owner[row] = holder
    return owner


def _keys(observations: NDArray[np.float32], varies: NDArray[np.bool_], column_group: NDArray[np.int64]) -> list[bytes]:
    """Return what tells decisions apart: who plays, and how they look."""
    looks = np.where(varies[:, column_group], observations, np.float32(0))
    return [who.tobytes() + look.tobytes() for who, look in zip(varies, looks, strict=True)]
