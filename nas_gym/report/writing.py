"""The whole report: its sections in order, and its files, each written whole or not at all."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_gym.document import Block, Facts, Heading, Text, as_markdown
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.explain.record import write_atomically
from nas_gym.html_page import Image, as_html
from nas_gym.report.answer import answer
from nas_gym.report.canvas import Drawn, drawn
from nas_gym.report.costs import costs
from nas_gym.report.credit import credit
from nas_gym.report.explanations import checks, importance
from nas_gym.report.finished import finished
from nas_gym.report.growing import growing
from nas_gym.report.influence import influence
from nas_gym.report.learning import learning
from nas_gym.report.material import Material
from nas_gym.report.numbers import duration, measured, tested
from nas_gym.report.question import question, state
from nas_gym.report.reproduce import reproduce
from nas_gym.report.section import Section, Source
from nas_gym.run import Run

PAGE, REPORT, PICTURES = "report.html", "report.md", "report-figures"
SECTIONS: dict[str, Callable[[Material], Section]] = {
    "The question and the budget": question,
    "The answer": answer,
    "The network to use": finished,
    "How the network grew": growing,
    "What each decision earned": credit,
    "Where the preference came from": influence,
    "What mattered overall": importance,
    "How the policy changed": learning,
    "Failures and costs": costs,
    "Checks": checks,
    "How to reproduce it": reproduce,
}


@dataclass(frozen=True)
class Written:
    """Where a report is.

    Attributes:
        page: The page of HTML.
        markdown: The same as Markdown.
        pictures: Of the Markdown, in the order in which they come.
        sections: Titles, and whether the run had something to tell there.
    """

    page: Path
    markdown: Path
    pictures: tuple[Path, ...]
    sections: dict[str, bool]


def write_report(run: Run, out: Path | None = None) -> Written:
    """Write ``report.html``, ``report.md`` and the pictures of the latter in ``report-figures/``.

    Everything is made before anything is written, and each file is replaced whole.

    Args:
        run: The run; one that is running, or was killed, is told of as far as it has come.
        out: Folder, made if it is missing; None: the run directory.

    Raises:
        RunError: The run's results are gone.
        ConfigurationError: The files can't be written.
    """
    folder = run.path if out is None else out
    sections = report(Material(run))
    pictures = {name: _drawn(source) for section in sections for name, source in section.pictures.items()}
    title = f"nas-gym: {run.settings['env']} searched by {run.settings['agent']}"
    blocks = [*_head(Material(run), title), *(block for section in sections for block in section.document)]
    page = as_html(title, blocks, {name: picture.image for name, picture in pictures.items()}, contents=True)
    try:
        _write(folder, page, as_markdown(blocks, PICTURES), pictures)
    except OSError as error:
        raise ConfigurationError(
            f"the report can't be written in {str(folder)!r} ({error.strerror or error}); name another --out"
        ) from None
    files = tuple(folder / PICTURES / name for name in pictures)
    return Written(folder / PAGE, folder / REPORT, files, {section.title: section.told for section in sections})


def report(material: Material) -> list[Section]:
    """Return the sections of a report, in order.

    Raises:
        RunError: The run's results are gone.
    """
    _ = material.ranked
    return [_told(title, section, material) for title, section in SECTIONS.items()]


def _told(title: str, section: Callable[[Material], Section], material: Material) -> Section:
    try:
        return section(material)
    except RunError as error:  # a file of the run is damaged: the other sections can do without
        return Section(title, [Text(f"This section can't be told: {error}")], told=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        told = f"This section can't be told: a file of the run that it is made of is damaged ({reason})."
        return Section(title, [Text(told)], told=False)


def _head(material: Material, title: str) -> list[Block]:
    """Return the title and the numbers that a reader looks for first."""
    run, best, result = material.run, material.best, material.result or {}
    pairs: list[tuple[str, str]] = []
    if best is not None:
        pairs.append(("validation accuracy" if best.accuracy is not None else "proxy", measured(best)))
        found = result.get("best") or {}
        if found.get("key") == best.candidate.key and tested(found):
            pairs.append((f"{found['score']} accuracy" if found.get("score") else "test accuracy", tested(found)))
        pairs.append(("parameters", f"{best.evaluation.parameters:,}"))
        pairs.append(("multiply-accumulates", f"{best.evaluation.macs:,}"))
    evaluated = [episode for episode in run.history if episode.key is not None]
    pairs.append(("evaluations", f"{len(evaluated):,}"))
    pairs.append(("distinct networks", f"{len({episode.key for episode in evaluated}):,}"))
    pairs.append(("failures", f"{sum(episode.status != 'ok' for episode in run.history):,}"))
    if result.get("seconds") is not None:
        pairs.append(("wall-clock time", duration(result["seconds"])))
    told = [Text(text) for text in (f"Seed {run.settings['seed']}, run `{run.path.name}`.", state(material)) if text]
    return [Heading(title.removeprefix("nas-gym: "), 1), *told, Facts(pairs)]


def _drawn(source: Source) -> Drawn:
    if isinstance(source, Path):
        data = source.read_bytes()
        return Drawn(Image(data), data)
    return drawn(source)


def _write(folder: Path, page: str, markdown: str, pictures: dict[str, Drawn]) -> None:
    """Write the pictures first, so that no text ever points at one that is missing; then remove those of before."""
    place = folder / PICTURES
    place.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        _replace(place / name, picture.png)
    write_atomically(folder / REPORT, markdown)
    write_atomically(folder / PAGE, page)
    for old in _others(place, pictures):
        old.unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _others(place: Path, pictures: Sequence[str] | dict[str, Drawn]) -> list[Path]:
    return [path for path in place.glob("*.png") if path.name not in pictures]
