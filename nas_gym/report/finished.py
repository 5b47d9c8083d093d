"""What came after the search: the network that was trained to the end, how good and how small it is, how to use it."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas_gym.document import Code, Heading, Items, Rows, Text
from nas_gym.errors import RunError
from nas_gym.report.material import Material
from nas_gym.report.section import Page, Section, silent

TITLE = "The network to use"
WINNER, INSPECTION, COMPRESSED, EXPORT = "winner", "inspection", "compressed", "export"
Show = Callable[[Page, Path], None]
_OTHER = ", or of an earlier training of it: run"
_SHOWN = ("shap-right.png", "layers.png", "confusions.png")  # of an inspection


def finished(material: Material) -> Section:
    """Return what was found, why, how good, how small, and how to use it."""
    run = material.run.path
    parts = _parts(material)
    if not parts:
        return silent(TITLE, f"The search's best network was not trained to the end: `nas-gym finish {run}` does it.")
    page = Page(TITLE, "finished")
    for title, said, show in parts:
        page.blocks += [Heading(title, 3), Items(said)]
        show(page, run)
    _add_use(page, run)
    return page.section()


def sentences(material: Material) -> list[str]:
    """Return the section in sentences, for a terminal."""
    return [sentence for _, said, _ in _parts(material) for sentence in said]


def _parts(material: Material) -> list[tuple[str, list[str], Show]]:
    """Return title, sentences and what adds the pictures, of everything that was done."""
    run = material.run.path
    makers: tuple[tuple[str, Callable[[Path], list[str]], Show], ...] = (
        ("How it was trained", _tuning, lambda page, run: None),
        ("How good it is", _winner, _add_classes),
        ("What it looks at, and which layers it needs", _inspected, _add_inspection),
        ("How small it can be", _compression, _add_variants),
    )
    return [(title, said, show) for title, make, show in makers if (said := make(run))]


def _said(file: str, content: dict[str, Any] | None, say: Callable[[dict[str, Any]], Sequence[str]]) -> list[str]:
    if content is None:
        return []
    try:
        return list(say(content))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunError(f"{file} of the run is damaged ({type(error).__name__}: {error}); make it again") from None


def _tuning(run: Path) -> list[str]:
    from nas_gym.winner.tuning.result import read_tuning
    from nas_gym.winner.tuning.words import part_in_words, result_in_words

    def say(known: dict[str, Any]) -> list[str]:
        return [*part_in_words(known, _retrained(run), run), *result_in_words(known)]

    return _said("tuning/best.json", read_tuning(run), say)


def _retrained(run: Path) -> dict[str, Any] | None:
    """Return what ``winner.json`` holds; None: nothing was retrained."""
    from nas_gym.winner.result import read_winner_file

    return read_winner_file(run / WINNER) if (run / WINNER / "winner.json").exists() else None


def _winner(run: Path) -> list[str]:
    from nas_gym.winner.telling import plan_in_words, result_in_words

    return _said("winner/winner.json", _retrained(run), lambda known: [*plan_in_words(known), *result_in_words(known)])


def _is_of_another(run: Path, weights: str | None) -> bool:
    """Return whether what is of these weights is of others than those of the retrained winner that there is now."""
    from nas_gym.winner.result import load_winner, of_other_weights

    return (run / WINNER / "winner.json").exists() and of_other_weights(weights, load_winner(run).digest)


def _of_another(run: Path, weights: str | None, again: str) -> list[str]:
    """Return a warning where what was found is of another network than the winner that there is now."""
    if not _is_of_another(run, weights):
        return []
    return [f"**This is of another network than the one above**{_OTHER} `nas-gym {again} {run}` again."]


def _inspected(run: Path) -> list[str]:
    from nas_gym.winner.inspection.folder import read_inspection
    from nas_gym.winner.inspection.words import findings

    def say(known: dict[str, Any]) -> list[str]:
        return [*_of_another(run, known.get("weights_digest"), "inspect"), *findings(known)]

    return _said("inspection/inspection.json", read_inspection(run), say)


def _variants(run: Path) -> dict[str, Any] | None:
    from nas_gym.winner.compression.compressing import read_compression

    return read_compression(run / COMPRESSED)


def _compression(run: Path) -> list[str]:
    from nas_gym.winner.compression.table import sentences as told

    def say(known: dict[str, Any]) -> list[str]:
        return [*_of_another(run, known["winner"].get("weights"), "compress"), *told(known)]

    return _said("compressed/compressed.json", _variants(run), say)


def _add_classes(page: Page, run: Path) -> None:
    picture = run / WINNER / "confusion.png"
    if picture.is_file():
        page.show("confusion", picture, "What test images of each class (rows) were taken for (columns).")


def _add_inspection(page: Page, run: Path) -> None:
    from nas_gym.winner.inspection.folder import read_inspection

    said = (read_inspection(run) or {}).get("sentences", {})
    for name in _SHOWN:
        if (run / INSPECTION / name).is_file():
            page.show(name.removesuffix(".png"), run / INSPECTION / name, "", alt=str(said.get(name, "")))


def _add_variants(page: Page, run: Path) -> None:
    content = _variants(run) or {}
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
    """Add how the models are used; those of other weights are not shown but told, with what makes them again."""
    exported, variants = run / EXPORT / "model.onnx", _variants(run) or {}
    smaller = [run / COMPRESSED / f"{name}.onnx" for name in dict.fromkeys(variants.get("chosen", {}).values())]
    parts = (
        ("export", [exported], _weights_in(exported)),
        ("compress", smaller, variants.get("winner", {}).get("weights")),
    )
    lines, old = list[str](), list[str]()
    for command, models, weights in parts:
        there = [model for model in models if model.is_file()]
        if there and _is_of_another(run, weights):
            named = ", ".join(f"`{model}`" for model in there)
            old.append(f"Of another network than the one above{_OTHER} `nas-gym {command} {run}` again: {named}.")
        else:
            lines += [f"nas-gym predict {model} IMAGES" for model in there]
    if lines or old:
        page.blocks += [Heading("How to use it", 3), *([Code("\n".join(lines))] if lines else []), *map(Text, old)]
        card = run / EXPORT / "model_card.md"
        if card.is_file() and not _is_of_another(run, _weights_in(exported)):
            page.blocks.append(Text(f"What it is good for and where it ends: `{card}`."))


def _weights_in(model: Path) -> str | None:
    """Return the digest of the winner's weights that an exported model carries (`nas_gym.winner.facts.Facts.weights`).

    It is read from the file's bytes, where the facts stand as they are, so that this needs no ONNX; None: it is not
    there, or the model was made before models carried it.
    """
    found = re.search(rb'"weights": "([0-9a-f]{16})"', model.read_bytes()) if model.is_file() else None
    return None if found is None else found[1].decode()
