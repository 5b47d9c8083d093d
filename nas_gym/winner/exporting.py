"""`nas-gym export`: the winner of a run as files that run elsewhere, with its card, its picture and predict.py."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.errors import ExportError, NasGymError, RunError
from nas_gym.run import Run
from nas_gym.run_directory import versions
from nas_gym.winner import predict
from nas_gym.winner.export import Exported, check_formats, export_module, write_file
from nas_gym.winner.facts import Facts
from nas_gym.winner.forms import FORMATS, Format
from nas_gym.winner.model_card import PICTURE, Card, model_card
from nas_gym.winner.result import Winner, load_winner

if TYPE_CHECKING:
    from nas_gym.data.dataset import Dataset

EXPORT = "export"  # folder of a run
CARD = "model_card.md"
PREDICT = "predict.py"
_METRICS = (  # that the model carries
    *("validation_accuracy", "validation_standard_error", "test_accuracy", "test_standard_error", "test_images"),
    *("macro_f1", "plain_accuracy", "calibration_error"),
)


@dataclass(frozen=True)
class RunExport:
    """What an export wrote.

    Attributes:
        folder: Where it is.
        exported: The models.
        files: All files, the models included.
        note: What is to be said about the comparison; empty where it was made on test images.
    """

    folder: Path
    exported: tuple[Exported, ...]
    files: tuple[Path, ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return {
            "out": str(self.folder),
            "files": [str(file) for file in self.files],
            "exported": [one.to_json() for one in self.exported],
            "note": self.note,
        }


def export_run(
    path: Path, *, formats: Sequence[Format] = FORMATS, out: Path | None = None, data_licence: str | None = None
) -> RunExport:
    """Write the winner of a run as models, with a card, a picture and ``predict.py`` beside them.

    Outputs are compared with the network's on up to 1,000 test images, or on random pixels where the data can't be had.

    Args:
        path: The run directory.
        formats: As in `nas_gym.winner.export.export_module`.
        out: Where to; None: ``RUN/export``.
        data_licence: What the card says of the licence of the data; None: what is known of a named data set.

    Raises:
        RunError: It is no run, or holds no trained network.
        ConfigurationError: There is no such format, or an extra is missing.
        ExportError: A file differs from the network, or can't be written.
    """
    from nas_gym.winner.packaged import Samples

    check_formats(formats)
    winner, run = load_winner(path), Run(path)
    data, note = _data(run, winner)
    facts = facts_of(winner, "" if data is None else data.name)
    samples = None if data is None else Samples.of_split(data.test, "test")
    folder = path / EXPORT if out is None else out
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{str(folder)!r} is no folder; name another --out")
    exported = export_module(winner.module(), facts, folder, formats=formats, samples=samples)
    card = Card(
        facts=facts,
        winner=winner,
        exported=exported,
        split_sizes=None if data is None else {n: len(getattr(data, n)) for n in ("train", "validation", "test")},
        test_images=_test_images(winner, data),
        account=_account(run, winner),
        run=run.content,
        data_licence=data_licence,
    )
    files = [*(one.path for one in exported), *_beside(folder, winner, card)]
    return RunExport(folder, tuple(exported), tuple(files), note)


def facts_of(winner: Winner, dataset: str = "", *, variant: str = "plain") -> Facts:
    """Return the facts of a winner, for `export_module` and `export_onnx_file`.

    Args:
        winner: Of a run.
        dataset: Name of the data set, where the winner does not know it.
        variant: Which form of the network: ``"plain"``, ``"pruned"``, ``"int8"`` ….
    """
    metrics = {name: winner.metrics[name] for name in _METRICS if winner.metrics.get(name) is not None}
    architecture = winner.candidate.trained
    return Facts(
        class_names=winner.class_names,
        input_shape=winner.input_shape,
        mean=winner.mean,
        std=winner.std,
        key=winner.candidate.key,
        weights=winner.digest or "",
        dataset=dataset or str((winner.content.get("data") or {}).get("name", "")),
        variant=variant,
        metrics={**metrics, "parameters": architecture.parameters, "macs": architecture.macs},
        versions={name: version for name, version in versions().items() if name in ("nas-gym", "torch", "python")},
    )


def _data(run: Run, winner: Winner) -> "tuple[Dataset | None, str]":
    """Return the data set of the search, or None and why it is not used."""
    from nas_gym.winner.searched import searched

    try:
        data = searched(run).trainer.dataset
    except NasGymError as error:
        return None, f"compared on random pixels only, since the data of the search can't be had: {error}"
    if data.fingerprint in run.content["namespace"]:
        return data, ""
    if not winner.retrained:
        raise RunError(
            f"the data that {str(run.path)!r} searched on have changed since, so that classes and pixels may mean "
            "something else; restore them, or search again"
        )
    return None, "compared on random pixels only, since the data of the search have changed since"


def _test_images(winner: Winner, data: "Dataset | None") -> int | None:
    """Return how many images the test accuracy was measured on."""
    told = winner.metrics.get("test_images")
    if told is not None or winner.retrained:
        return None if told is None else int(told)
    return None if data is None else len(data.test)


def _account(run: Run, winner: Winner) -> list[str]:
    """Return what moved the controller to the network that was trained, or to the one it was scaled up from."""
    key = winner.content.get("key", winner.candidate.key)
    try:
        ranked = run.best(len(run.history))
        place = next((place for place, one in enumerate(ranked) if one.candidate.key == key), None)
        if place is not None:
            return run.explanation(place)
    except NasGymError as error:
        return [f"The decisions of this search can't be read: {error}."]
    return ["The decisions of this network are not on record."]


def _beside(folder: Path, winner: Winner, card: Card) -> list[Path]:
    from nas_gym.winner.network_picture import architecture_figure

    picture = io.BytesIO()
    architecture_figure(winner.candidate.trained, card.facts.dataset).savefig(picture, format="png")
    runs_anywhere = any(one.format == "onnx" for one in card.exported)
    written = [
        *([(folder / PREDICT, Path(predict.__file__).read_bytes())] if runs_anywhere else []),
        (folder / PICTURE, picture.getvalue()),
        (folder / CARD, model_card(card).encode()),
    ]
    for path, content in written:
        write_file(path, content)
    return [path for path, _ in written]
