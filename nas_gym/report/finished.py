"""What came after the search: the network that was trained to the end, how good and how small it is, how to use it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas_gym.document import Code, Heading, Items, Rows, Text
from nas_gym.errors import RunError
from nas_gym.report.material import Material
from nas_gym.report.section import Page, Section, silent

TITLE = "The network to use"
WINNER, TUNING, INSPECTION, COMPRESSED, EXPORT = "winner", "tuning", "inspection", "compressed", "export"
_SHOWN = ("shap-right.png", "layers.png", "confusions.png")  # of an inspection


def finished(material: Material) -> Section:
    """Return what was found, why, how good, how small, and how to use it."""
    run = material.run.path
    parts = [part for part in _parts(material) if part[1]]
    if not parts:
        return silent(TITLE, f"The search's best network was not trained to the end: `nas-gym finish {run}` does it.")
    page = Page(TITLE, "finished")
    for title, said in parts:
        page.blocks += [Heading(title, 3), Items(said)]
        if title == "How good it is":
            _add_classes(page, run)
        elif title == "What it looks at, and which layers it needs":
            _add_inspection(page, run)
        elif title == "How small it can be":
            _add_variants(page, run)
    _add_use(page, run)
    return page.section()


def sentences(material: Material) -> list[str]:
    """Return the section in sentences, for a terminal."""
    return [sentence for _, said in _parts(material) for sentence in said]


def _parts(material: Material) -> list[tuple[str, list[str]]]:
    run = material.run.path
    makers: dict[str, Callable[[Path], list[str]]] = {
        "How it was trained": _tuning,
        "How good it is": _winner,
        "What it looks at, and which layers it needs": _inspection,
        "How small it can be": _compression,
    }
    return [(title, make(run)) for title, make in makers.items()]


def _read(run: Path, folder: str, name: str) -> dict[str, Any] | None:
    file = run / folder / name
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{str(file)!r} can't be read ({error}); make it again") from None
    if not isinstance(content, dict):
        raise RunError(f"{str(file)!r} holds no record; make it again")
    return content


def _said(file: str, content: dict[str, Any] | None, say: Callable[[dict[str, Any]], Sequence[str]]) -> list[str]:
    if content is None:
        return []
    try:
        return list(say(content))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunError(f"{file} of the run is damaged ({type(error).__name__}: {error}); make it again") from None


def _tuning(run: Path) -> list[str]:
    from nas_gym.winner.tuning.words import result_in_words

    return _said("tuning/best.json", _read(run, TUNING, "best.json"), result_in_words)


def _winner(run: Path) -> list[str]:
    from nas_gym.winner.telling import plan_in_words, result_in_words

    content = _read(run, WINNER, "winner.json")
    return _said("winner/winner.json", content, lambda known: [*plan_in_words(known), *result_in_words(known)])


def _inspection(run: Path) -> list[str]:
    from nas_gym.winner.inspection.words import findings

    return _said("inspection/inspection.json", _read(run, INSPECTION, "inspection.json"), findings)


def _compression(run: Path) -> list[str]:
    from nas_gym.winner.compression.table import sentences as told

    return _said("compressed/compressed.json", _read(run, COMPRESSED, "compressed.json"), told)


def _add_classes(page: Page, run: Path) -> None:
    picture = run / WINNER / "confusion.png"
    if picture.is_file():
        page.show("confusion", picture, "What test images of each class (rows) were taken for (columns).")


def _add_inspection(page: Page, run: Path) -> None:
    content = _read(run, INSPECTION, "inspection.json") or {}
    said = content.get("sentences", {})
    for name in _SHOWN:
        if (run / INSPECTION / name).is_file():
            page.show(name.removesuffix(".png"), run / INSPECTION / name, "", alt=str(said.get(name, "")))


def _add_variants(page: Page, run: Path) -> None:
    content = _read(run, COMPRESSED, "compressed.json") or {}
    rows = [
        (
            str(row["name"]),
            f"{100 * row['test_accuracy']:.2f}",
            f"{row['size_bytes']:,}",
            f"{row['latency']['1']['median_ms']:.3f}",
        )
        for row in content.get("variants", ())
    ]
    if rows:
        page.blocks.append(Rows(("variant", "test accuracy, %", "bytes", "ms at batch 1"), rows))
    picture = run / COMPRESSED / "pareto.png"
    if picture.is_file():
        page.show("pareto", picture, "Accuracy against the size of the file and against the time of one image.")


def _add_use(page: Page, run: Path) -> None:
    models = [run / EXPORT / "model.onnx"]
    chosen = (_read(run, COMPRESSED, "compressed.json") or {}).get("chosen", {})
    models += [run / COMPRESSED / f"{name}.onnx" for name in dict.fromkeys(chosen.values())]
    lines = [f"nas-gym predict {model} IMAGES" for model in models if model.is_file()]
    if lines:
        page.blocks += [Heading("How to use it", 3), Code("\n".join(lines))]
        card = run / EXPORT / "model_card.md"
        if card.is_file():
            page.blocks.append(Text(f"What it is good for and where it ends: `{card}`."))
