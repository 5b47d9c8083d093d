"""What a report is made of: everything that it reads of a run directory, each thing once."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.errors import RunError
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.explain.record import FORCED, UNEXPLAINED, Header
from nas_gym.run import Ranked, Run
from nas_gym.run_directory import EXPLANATIONS

if TYPE_CHECKING:
    import pandas as pd


class Material:
    """A run, read for a report. Neither its data nor its environment is needed.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.settings = run.settings
        self.result = run.result

    @cached_property
    def ranked(self) -> list[Ranked]:
        """All distinct networks, the best first; raises RunError where the results are gone."""
        return self.run.best(len(self.run.history))

    @property
    def best(self) -> Ranked | None:
        """The best network; None before the first success."""
        return self.ranked[0] if self.ranked else None

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """All evaluations in the store, failures, repeats and confirmations too."""
        return self.run.evaluations()

    @cached_property
    def log(self) -> "tuple[pd.DataFrame, Header] | None":
        """The decision log, which holds at least one decision, and its header; None where there is none to read."""
        try:
            decisions, header = self.run.decisions, self.run.header
        except RunError:
            return None
        return (decisions, header) if len(decisions) else None

    @cached_property
    def explained(self) -> "tuple[pd.DataFrame, Header] | None":
        """The decisions with attributions that were not forced, and the header; None where there are none."""
        if self.log is None:
            return None
        decisions, header = self.log
        kept = decisions[((decisions["flags"] & (FORCED | UNEXPLAINED)) == 0) & decisions["phi"].notna()]
        return (kept, header) if len(kept) else None

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The decisions that made the best network, in order, as rows of the log."""
        if self.log is None or self.best is None:
            return []
        decisions, _ = self.log
        rows: list[dict[str, Any]] = (
            decisions[decisions["episode"] == self.best.episode].sort_values("step").to_dict("records")
        )
        return rows

    @property
    def has_policy(self) -> bool:
        """Whether the agent has a policy whose probabilities are on record."""
        return self.log is not None and bool(self.log[0]["probabilities"].notna().any())

    @property
    def explain(self) -> str:
        """The command that computes what `explanation` looks for."""
        return f"nas-gym explain {self.run.path}"

    def file(self, name: str) -> Path | None:
        """Return a file of the explanations; None where it is not there."""
        path = self.run.path / EXPLANATIONS / name
        return path if path.is_file() else None

    def object(self, name: str, kind: type) -> Any:
        """Return what a JSON file of the explanations holds; None where it is not there.

        Args:
            name: Of the file.
            kind: What it should hold: dict or list.

        Raises:
            RunError: It is damaged.
        """
        path = self.file(name)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"`{EXPLANATIONS}/{name}` can't be read ({error}); `{self.explain}` makes it again."
            ) from None
        if not isinstance(content, kind):
            raise RunError(f"`{EXPLANATIONS}/{name}` should hold a {kind.__name__}; `{self.explain}` makes it again.")
        return content

    def table(self, name: str, columns: Sequence[str]) -> "pd.DataFrame | None":
        """Return a Parquet file of the explanations; None where it is not there.

        Raises:
            RunError: It is damaged, or lacks a column.
        """
        import pandas as pd
        import pyarrow as pa

        path = self.file(name)
        if path is None:
            return None
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise RunError(
                f"`{EXPLANATIONS}/{name}` can't be read ({error}); `{self.explain}` makes it again."
            ) from None
        missing = [column for column in columns if column not in frame]
        if missing:
            raise RunError(
                f"`{EXPLANATIONS}/{name}` has no column {', '.join(missing)}; `{self.explain}` makes it again."
            )
        return frame
