"""The importance of a run's decisions, as a value: what `nas_gym.explain.importance` computes and its file holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.ablation import AblationPath
from nas_gym.explain.advice import Advice
from nas_gym.explain.archive import Archive
from nas_gym.explain.archive_surrogate import Trust
from nas_gym.explain.motifs import Motifs
from nas_gym.explain.variance_shares import VarianceShares

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Attributions:
    """Shapley values of the surrogate's predictions, by slot.

    Attributes:
        rows: Networks of the archive that were explained, int64 (m,).
        values: In units of the reward, float64 (m, slots).
        start: What they start from; a prediction is the start plus the sum of its values.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float64]
    start: float

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean absolute value of every slot, float64 (slots,)."""
        return np.asarray(np.abs(self.values).mean(axis=0))

    def to_json(self) -> dict[str, Any]:
        """Return the values, rounded to 6 digits, as JSON-ready data."""
        rounded = [[float(f"{value:.6g}") for value in row] for row in self.values.tolist()]
        mean = np.abs(np.array(rounded)).mean(axis=0).tolist()
        return {"rows": self.rows.tolist(), "values": rounded, "start": self.start, "mean": mean}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Attributions":
        """Return the values that `to_json` wrote."""
        rows = np.array(data["rows"], dtype=np.int64)
        values = np.array(data["values"], dtype=np.float64)
        return cls(rows, values.reshape(len(rows), -1), float(data["start"]))


@dataclass(frozen=True, eq=False)
class Importance:
    """What an archive says about the slots of its space; parts are None or empty where nothing can be said.

    All of it is about the rewards of the networks that were evaluated, not about what the controller computed.

    Attributes:
        archive: The networks.
        seed: Of everything drawn.
        trust: How far the surrogate holds on networks it was not fitted to; None: there is no surrogate.
        permutation: Per slot, mean and standard deviation of the rise of the held-out error
            (`nas_gym.explain.archive_surrogate.permutation_importance`).
        surrogate: Functional ANOVA of the surrogate over the space.
        table: The same of a full table: the reference.
        attributions: Shapley values of the surrogate on the archive.
        path: From the median network to the best one.
        motifs: What the best tenth has more often.
        advice: For the next search.
        notes: What was left out, and why; sentences.
    """

    archive: Archive
    seed: int = 0
    trust: Trust | None = None
    permutation: tuple[tuple[float, float], ...] = ()
    surrogate: VarianceShares | None = None
    table: VarianceShares | None = None
    attributions: Attributions | None = None
    path: AblationPath | None = None
    motifs: Motifs = field(default_factory=Motifs)
    advice: Advice = field(default_factory=Advice)
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> list[int]:
        """The slots, the most important first: by the surrogate's main effects, then by the table's."""
        shares = self.surrogate or self.table
        main = np.zeros(len(self.archive.slots)) if shares is None else np.array(shares.main)
        return [int(slot) for slot in np.argsort(-main, kind="stable")]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        parts = {name: getattr(self, name) for name in _PARTS}
        return {
            "schema": SCHEMA,
            "seed": self.seed,
            "permutation": [list(pair) for pair in self.permutation],
            "notes": list(self.notes),
            **{name: None if part is None else part.to_json() for name, part in parts.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Importance":
        """Return what `to_json` wrote.

        Raises:
            ConfigurationError: The data are of another schema, or damaged.
        """
        try:
            if data["schema"] != SCHEMA:
                raise ConfigurationError(f"importance of schema {SCHEMA} was expected, got {data['schema']}")
            parts: dict[str, Any] = {
                n: None if data[n] is None else kind.from_json(data[n]) for n, kind in _PARTS.items()
            }
            pairs = tuple((float(mean), float(deviation)) for mean, deviation in data["permutation"])
            return cls(seed=int(data["seed"]), permutation=pairs, notes=tuple(data["notes"]), **parts)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"the importance of a run was expected, and it is damaged: {error!r}") from None


_PARTS: dict[str, Any] = {
    "archive": Archive,
    "trust": Trust,
    "surrogate": VarianceShares,
    "table": VarianceShares,
    "attributions": Attributions,
    "path": AblationPath,
    "motifs": Motifs,
    "advice": Advice,
}
