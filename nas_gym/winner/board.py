"""The curves of a retraining in TensorBoard."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TAGS = {
    "training_loss": "winner/training_loss",
    "accuracy": "winner/accuracy_on_some_training_images",
    "loss": "winner/loss_on_some_training_images",
    "learning_rate": "winner/learning_rate",
    "seconds": "time/epoch_seconds",
}


class Board:
    """The events of one long training: the step is the epoch. What a killed process left is written anew.

    Args:
        folder: Replaced.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = SummaryWriter(str(folder), flush_secs=5)
        self._written = 0

    def rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write the epochs that are not written yet."""
        for row in rows[self._written :]:
            for name, tag in _TAGS.items():
                self._writer.add_scalar(tag, row[name], int(row["epoch"]))
        self._written = len(rows)
        self._writer.flush()

    def end(self, report: Mapping[str, Any], figures: "Mapping[str, Figure]") -> None:
        """Write what the test images say, at the last epoch, and close the file."""
        for name in ("test_accuracy", "macro_f1", "calibration_error"):
            self._writer.add_scalar(f"winner/{name}", report[name], self._written)
        self._writer.add_text("winner/classification", f"```\n{report['classification_text']}\n```", self._written)
        for name, figure in figures.items():
            self._writer.add_figure(f"winner/{name}", figure, self._written, close=False)
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
