"""The files of a report: one page that asks for nothing, the same as Markdown, both with the run's numbers."""

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest
from explained import explain

import nas_gym
from nas_gym import standard_error
from nas_gym.document import Block, Items, Rows, Text, of_markdown
from nas_gym.errors import ConfigurationError
from nas_gym.report import PICTURES, report, write_report, writing
from nas_gym.report.material import Material
from nas_gym.report.section import Section
from nas_gym.report.writing import Written

Reports = Callable[[str], Written]
KINDS = ["policy+", "policy", "genetic+", "random"]


def parsed(written: Written) -> ElementTree.Element:
    """Return the page as a tree; raises where it is not well-formed HTML 5."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    tree: ElementTree.Element = parser.parse(written.page.read_text(encoding="utf-8"))
    return tree


def text_of(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def references(tree: ElementTree.Element) -> Iterator[str]:
    """Yield all that a page or picture refers to."""
    for element in tree.iter():
        for name, value in element.attrib.items():
            if name.rpartition("}")[2] in ("src", "href", "srcset", "data", "action", "poster"):
                yield value
            elif "url(" in value:
                yield from re.findall(r"url\(['\"]?([^)'\"]*)", value)
        if element.tag.rpartition("}")[2] == "style":
            yield from re.findall(r"url\(['\"]?([^)'\"]*)|@import\s*(\S+)", element.text or "")


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_asks_for_nothing_else(written: Reports, kind: str) -> None:
    tree = parsed(written(kind))
    found = list(references(tree))
    assert {one.split(":")[0][:1] if one.startswith("#") else one.split(",")[0] for one in found} <= {
        "#",
        "data:image/png;base64",
        "data:image/svg+xml;base64",
    }
    pictures = [one for one in found if one.startswith("data:image/svg")]
    assert pictures
    for one in pictures:
        inside = ElementTree.fromstring(base64.b64decode(one.partition(",")[2]))
        assert all(ref.startswith(("#", "data:")) for ref in references(inside))
    assert {element.tag for element in tree.iter()}.isdisjoint({"script", "link", "iframe", "object", "base"})


@pytest.mark.parametrize("kind", KINDS)
def test_links_lead_to_headings_and_pictures_are_told(written: Reports, kind: str) -> None:
    tree = parsed(written(kind))
    names = [element.attrib["id"] for element in tree.iter() if "id" in element.attrib]
    assert len(names) == len(set(names))
    links = [element.attrib["href"].removeprefix("#") for element in tree.iter("a")]
    headings = [text_of(heading) for heading in tree.iter("h2")]
    assert len(links) == len(headings) == 11
    assert set(links) <= set(names)
    assert [text_of(link) for link in tree.iter("a")] == headings == list(written(kind).sections)
    alts = [image.attrib["alt"] for image in tree.iter("img")]
    assert alts
    assert all(len(alt) > 15 for alt in alts)


@pytest.mark.parametrize("kind", KINDS)
def test_markdown_says_the_same_as_the_page(written: Reports, kind: str) -> None:
    files = written(kind)
    tree, markdown = parsed(files), files.markdown.read_text(encoding="utf-8")
    tables = [block for block in of_markdown(markdown) if isinstance(block, Rows)]
    cards, *others = tables
    assert [bare(cell) for row in cards.rows for cell in row] == [
        text_of(cell) for cell in tree.iter() if cell.tag in ("dt", "dd")
    ]
    page = [[[text_of(cell) for cell in row] for row in table.iter("tr")] for table in tree.iter("table")]
    want = [
        [list(map(bare, row)) for row in ([table.header] if any(table.header) else []) + list(table.rows)]
        for table in others
    ]
    assert page == want
    paragraphs = [text_of(one) for one in tree.iter() if one.tag in ("p", "figcaption", "li") and one.find("a") is None]
    said = {sentence for block in of_markdown(markdown) for sentence in sentences(block)}
    assert [text for text in paragraphs if text not in said] == []
    shown = re.findall(rf"!\[([^\]]+)\]\({PICTURES}/([^)]+)\)", markdown)
    assert [alt for alt, _ in shown] == [image.attrib["alt"] for image in tree.iter("img")]
    assert [files.markdown.parent / PICTURES / name for _, name in shown] == list(files.pictures)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.pictures)


def sentences(block: Block) -> list[str]:
    """Return what a block of the Markdown says outside of tables: a picture its text, a verdict without its sign."""
    match block:
        case Text(text):
            return [bare(re.sub(r"^!\[(.*)\]\(.*\)$", r"\1", re.sub(r"^[✓✗○] ", "", text)))]
        case Items(items):
            return [bare(item) for item in items]
        case Rows(caption=caption):
            return [bare(caption)]
    return []


def bare(text: str) -> str:
    return " ".join(re.sub(r"[*`]", "", text).split())


@pytest.mark.parametrize("kind", ["policy", "genetic", "random"])
def test_the_numbers_are_those_of_the_run(written: Reports, made: Callable[[str], Path], kind: str) -> None:
    run = nas_gym.load(made(kind))
    tree = parsed(written(kind))
    table = next(one for one in tree.iter("table") if "trainings" in text_of(one))
    header, *rows = [[text_of(cell) for cell in row] for row in table.iter("tr")]
    told = [dict(zip(header, row, strict=True)) for row in rows]
    best = run.best(5)
    assert len(told) == len(best)
    for row, one in zip(told, best, strict=True):
        assert row["validation ± standard error"] == standard_error.shown(one.accuracy, one.standard_error)
        assert row["parameters"] == f"{one.evaluation.parameters:,}"
        assert row["MACs"] == f"{one.evaluation.macs:,}"
        assert int(row["episode"]) == one.episode, "as the tab and the other commands count them"
        assert int(row["trainings"]) == one.n
    result = (run.result or {})["best"]
    tested = standard_error.shown(result["test_accuracy"], result["test_standard_error"])
    assert [row["test"] for row in told] == [tested if result["test_accuracy"] is not None else "–"] + ["–"] * 4
    cards = dict(zip(map(text_of, tree.iter("dt")), map(text_of, tree.iter("dd")), strict=True))
    assert cards["validation accuracy"] == standard_error.shown(best[0].accuracy, best[0].standard_error)
    assert cards["evaluations"] == str(len(run.history))
    assert cards["distinct networks"] == str(len({episode.key for episode in run.history}))


def test_the_same_run_gives_the_same_files(made: Callable[[str], Path], written: Reports, tmp_path: Path) -> None:
    first, again = written("policy"), write_report(nas_gym.load(made("policy")), tmp_path / "new" / "folder")
    assert again.page.read_bytes() == first.page.read_bytes()
    assert again.markdown.read_bytes() == first.markdown.read_bytes()
    assert [path.read_bytes() for path in again.pictures] == [path.read_bytes() for path in first.pictures]


@pytest.mark.usefixtures("sketched")
def test_a_report_goes_into_the_run_and_replaces_the_one_before(copied: Callable[[str], Path]) -> None:
    run = copied("random")
    before = {path.name for path in run.iterdir()}
    stale = run / PICTURES / "stale.png"
    stale.parent.mkdir()
    stale.touch()
    (run / "report.md").write_text("old")
    write_report(nas_gym.load(run))
    assert {path.name for path in run.iterdir()} == before | {"report.html", "report.md", PICTURES}
    assert not stale.exists()
    assert (run / "report.md").read_text() != "old"


@pytest.mark.usefixtures("sketched")
def test_neither_data_nor_environment_is_needed(made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a report reads the run alone")

    monkeypatch.setattr("gymnasium.make", refuse)
    monkeypatch.setattr("nas_gym.data.load_dataset", refuse)
    monkeypatch.setattr("nas_gym.tables.home.load_benchmark", refuse)
    assert len(report(Material(nas_gym.load(made("policy"))))) == 11


def test_nothing_is_written_when_a_picture_can_not_be_drawn(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied("random")
    before = sorted(run.rglob("*"))

    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(writing, "drawn", fail)
    with pytest.raises(MemoryError):
        write_report(nas_gym.load(run))
    assert sorted(run.rglob("*")) == before


@pytest.mark.usefixtures("sketched")
def test_a_place_that_can_not_be_written_is_told_in_a_sentence(made: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"can't be written in .*file.*--out"):
        write_report(nas_gym.load(made("random")), tmp_path / "file")


@pytest.mark.usefixtures("sketched")
def test_a_full_disk_leaves_the_old_page(copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run = copied("random")
    (run / "report.html").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_atomically", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        write_report(nas_gym.load(run))
    assert (run / "report.html").read_text() == "old"


def test_sections_do_not_share_names_of_pictures(copied: Callable[[str], Path]) -> None:
    run = copied("policy")
    explain(run)
    sections: list[Section] = report(Material(nas_gym.load(run)))
    names = [name for section in sections for name in section.pictures]
    assert len(names) == len(set(names))
    assert len(names) > 10
    assert all(re.fullmatch(r"[\w-]+\.png", name) for name in names)
