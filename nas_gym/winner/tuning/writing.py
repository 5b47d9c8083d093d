"""The files that a tuning leaves for people: a page, a table, pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.explain.record import write_atomically
from nas_gym.winner.tuning import figures
from nas_gym.winner.tuning.space import shown
from nas_gym.winner.tuning.words import importance_in_words, result_in_words, spaces_in_words

if TYPE_CHECKING:
    from nas_gym.winner.tuning.tuning import Tuned

PAGE, TABLE = "tuning.md", "importance.json"
_PICTURES = (
    ("history.png", "Every point is a trial that was trained to its end; the line is the best so far."),
    ("importances.png", "How much the values of the best broad trials differ from those of all, by hyper-parameter."),
    ("slice.png", "Every point is a complete trial, darker the later it was."),
    ("parallel.png", "Every line is a complete trial."),
)


def write(place: Path, tuned: "Tuned", content: dict[str, Any]) -> None:
    """Write pictures, the table of importances and the page; call it where Optuna is quiet.

    Args:
        place: Folder of the tuning.
        tuned: What is told.
        content: The same, as ``best.json`` holds it.
    """
    important = [one.name for one in tuned.found.importances if one.important]
    figures.draw(place, tuned.space, tuned.found.broad, tuned.found.narrow, important)
    table = [asdict(one) for one in tuned.found.importances]
    write_atomically(place / TABLE, json.dumps({"method": "PED-ANOVA", "hyperparameters": table}, indent=1))
    write_atomically(place / PAGE, page(content))


def page(content: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    lines = ["# Tuned recipe", "", *_paragraphs(result_in_words(content)), "## The recipe", ""]
    lines += ["| hyper-parameter | without tuning | tuned |", "| --- | --- | --- |"]
    for name, value in content["recipe"].items():
        lines.append(f"| {name} | {shown(content['untuned'][name])} | {shown(value)} |")
    lines += ["", "## What matters", "", *_paragraphs(importance_in_words(content))]
    lines += ["| hyper-parameter | importance | by chance at least as much | broad | second stage |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for one in spaces_in_words(content):
        lines.append(f"| {' | '.join(one)} |")
    lines += ["", "## Pictures", ""]
    for file, sentence in _PICTURES:
        lines += [f"{sentence}", "", f"![{sentence}]({file})", ""]
    return "\n".join(lines)


def _paragraphs(sentences: list[str]) -> list[str]:
    return [" ".join(sentences), ""]
