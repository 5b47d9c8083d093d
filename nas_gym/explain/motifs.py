"""Motifs: what the best tenth of the networks have more often, or less often, than the rest."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.archive import UNDECIDED, Archive

TOP_SHARE = 0.1
FEWEST_NETWORKS = 20
FEWEST_WITH = 3  # networks that have a motif, and that lack it
LONGEST = 3  # layers in a row
LEVEL = 0.05
MOST_KEPT = 40
END = "the end"

ANYWHERE, AT, ROW = "anywhere", "slot", "in a row"


@dataclass(frozen=True)
class Motif:
    """Something that some networks have.

    Attributes:
        kind: ``"anywhere"`` (a choice in any slot), ``"slot"`` (a choice of one slot), ``"in a row"`` (consecutive
            layers at any place; the end of the network counts as one).
        words: What it is.
        in_top: Networks of the top that have it.
        in_rest: Networks of the rest that have it.
        odds: Ratio of the odds in the top and in the rest, with half a network more in every cell (Haldane 1956), so
            that it is finite.
        p: Of Fisher's exact test, two-sided.
        q: p after Benjamini and Hochberg 1995 over all motifs tested: the false discovery rate at which it is found.
    """

    kind: str
    words: str
    in_top: int
    in_rest: int
    odds: float
    p: float
    q: float

    @property
    def found(self) -> bool:
        """Whether it is told as a finding."""
        return self.q <= LEVEL


@dataclass(frozen=True)
class Motifs:
    """The motifs of an archive.

    Attributes:
        top: Networks in the top: the best tenth, and what ties with its last.
        rest: All others.
        threshold: The least reward of the top.
        tested: Motifs that were tested: those that three networks have and three lack.
        motifs: The lowest p first, at most `MOST_KEPT`.
        note: Why there are none; empty otherwise.
    """

    top: int = 0
    rest: int = 0
    threshold: float | None = None
    tested: int = 0
    motifs: tuple[Motif, ...] = ()
    note: str = ""

    @property
    def found(self) -> tuple[Motif, ...]:
        """Those at a false discovery rate of 5 %."""
        return tuple(motif for motif in self.motifs if motif.found)

    def to_json(self) -> dict[str, Any]:
        """Return the motifs as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Motifs":
        """Return the motifs that `to_json` wrote."""
        return cls(**{**data, "motifs": tuple(Motif(**motif) for motif in data["motifs"])})


def motifs(archive: Archive) -> Motifs:
    """Return what tells the best tenth of an archive from the rest.

    The test takes networks as drawn independently. Those of a controller are not, so that its p is too low where the
    search dwelt on one family of networks.
    """
    from scipy.stats import false_discovery_control

    top = top_of(archive)
    if top is None:
        return Motifs(note=f"motifs need {FEWEST_NETWORKS} networks whose best tenth stands apart")
    tested: list[tuple[str, str, int, int]] = []
    for kind, words, present in _candidates(archive):
        with_it = int(present.sum())
        if min(with_it, len(archive) - with_it) >= FEWEST_WITH:
            tested.append((kind, words, int(present[top].sum()), int(present[~top].sum())))
    n_top, n_rest = int(top.sum()), int((~top).sum())
    ps = fisher(np.array([row[2:] for row in tested], dtype=np.int64).reshape(-1, 2), n_top, n_rest)
    qs = false_discovery_control(ps) if len(ps) else ps
    found = [
        Motif(kind, words, a, b, _odds(a, n_top, b, n_rest), float(p), float(q))
        for (kind, words, a, b), p, q in zip(tested, ps, qs, strict=True)
    ]
    found.sort(key=lambda motif: (motif.p, -abs(np.log(motif.odds)), motif.words))
    threshold = float(archive.rewards[top].min())
    return Motifs(n_top, n_rest, threshold, len(tested), tuple(found[:MOST_KEPT]))


def top_of(archive: Archive) -> NDArray[np.bool_] | None:
    """Return which networks are the best tenth, with what ties with its last one: bool (n,).

    None where there are fewer than `FEWEST_NETWORKS` networks, or where ties make it more than half of them.
    """
    n = len(archive)
    if n < FEWEST_NETWORKS:
        return None
    threshold = np.sort(archive.rewards)[n - int(np.ceil(TOP_SHARE * n))]
    top = np.asarray(archive.rewards >= threshold)
    return None if top.sum() > n / 2 else top


def fisher(with_it: NDArray[np.int64], n_top: int, n_rest: int) -> NDArray[np.float64]:
    """Return the two-sided p of Fisher's exact test for rows of how many of the top and of the rest have something."""
    from scipy.stats import fisher_exact

    known: dict[tuple[int, int], float] = {}
    for a, b in map(tuple, with_it.tolist()):
        if (a, b) not in known:
            known[a, b] = float(fisher_exact([[a, b], [n_top - a, n_rest - b]])[1])
    return np.array([known[a, b] for a, b in map(tuple, with_it.tolist())])


def layer_slots(archive: Archive) -> list[int]:
    """Return the slots that are layers in a row, by their names: ``layer 1``, ``layer 2`` …; at least two, or none."""
    found = [slot for slot, name in enumerate(archive.names) if re.fullmatch(r"layer \d+", name)]
    return found if len(found) > 1 else []


def _candidates(archive: Archive) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield kind, words and which networks have it."""
    anywhere: dict[str, list[NDArray[np.bool_]]] = {}
    for slot, name in enumerate(archive.names):
        for action in np.unique(archive.decisions[:, slot]).tolist():
            present = np.asarray(archive.decisions[:, slot] == action)
            yield AT, f"{name} = {archive.choice(slot, action)}", present
            if action != UNDECIDED:
                anywhere.setdefault(archive.choice(slot, action), []).append(present)
    for choice, places in anywhere.items():
        if len(places) > 1:
            yield ANYWHERE, f"{choice} anywhere", np.any(places, axis=0)
    yield from _rows(archive)


def _rows(archive: Archive) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    slots = layer_slots(archive)
    members: dict[tuple[str, ...], list[int]] = {}
    for network, decided in enumerate(archive.decisions[:, slots].tolist() if slots else []):
        layers = [archive.choice(slot, a) for slot, a in zip(slots, decided, strict=True) if a != UNDECIDED]
        layers = [*(layer for layer in layers if layer != "stop"), END]
        for length in range(2, LONGEST + 1):
            for gram in {tuple(layers[i : i + length]) for i in range(len(layers) - length + 1)}:
                members.setdefault(gram, []).append(network)
    for gram, networks in sorted(members.items()):
        present = np.zeros(len(archive), dtype=bool)
        present[networks] = True
        yield ROW, " → ".join(gram), present


def _odds(a: int, n_top: int, b: int, n_rest: int) -> float:
    return (a + 0.5) * (n_rest - b + 0.5) / ((n_top - a + 0.5) * (b + 0.5))
