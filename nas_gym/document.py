"""A small document: headings, paragraphs, tables, pictures; as Markdown, and in `html_page` as one page of HTML.

Texts understand ``**bold**`` and ```` `code` ````; `of_markdown` reads as much of Markdown as they can say.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; ``**bold**`` and ```` `code` ```` are understood, in tables too."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of short texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Commands."""

    text: str


@dataclass(frozen=True)
class Rows:
    """A table.

    Attributes:
        header: Names of the columns.
        rows: Cells; the first column is text, the others are numbers unless `plain`.
        caption: What is seen.
        plain: Whether all columns are text.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    plain: bool = False


@dataclass(frozen=True)
class Facts:
    """The few numbers that a reader looks for first: pairs of a name and a value."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Badge:
    """A verdict in a few words, coloured by it."""

    text: str
    verdict: Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Picture:
    """A picture by the name of its file.

    Attributes:
        name: Without folder, with its ending.
        caption: What is seen; empty: nothing is written under it.
        alt: The same for those who do not see it; empty: the caption.
    """

    name: str
    caption: str
    alt: str = ""

    @property
    def described(self) -> str:
        """The text that stands for the picture, without marks."""
        return re.sub(r"[*`]", "", self.alt or self.caption)


Block = Heading | Text | Items | Code | Rows | Facts | Badge | Picture


def as_markdown(blocks: Sequence[Block], folder: str = "figures") -> str:
    """Return the document as Markdown; pictures are expected in a folder beside it."""
    return "\n\n".join(_markdown(block, folder) for block in blocks) + "\n"


def of_markdown(text: str, level: int = 0) -> list[Block]:
    """Return a text in Markdown as blocks: headings, paragraphs, lists, tables and code; anything else is a paragraph.

    Args:
        text: The text.
        level: Added to the levels of its headings, which end at 6.
    """
    return [_block(part, level) for part in _parts(text)]


def _markdown(block: Block, folder: str) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Items(items):
            return "\n".join(f"* {item}" for item in items)
        case Code(text):
            return f"```console\n{text}\n```"
        case Picture(name, caption):
            seen = f"\n\n{caption}" if block.alt and caption else ""
            return f"![{block.described}]({folder}/{name}){seen}"
        case Badge(text, verdict):
            return f"{ {'good': '✓', 'bad': '✗', 'open': '○'}[verdict] } **{text}**"
        case Facts(pairs):
            return _markdown(Rows(("", ""), [(f"**{name}**", value) for name, value in pairs], plain=True), folder)
        case Rows(header, rows, caption, plain):
            lines = [markdown_row(header)]
            lines.append("|" + "|".join(" --- " if plain or i == 0 else " ---: " for i in range(len(header))) + "|")
            lines += [markdown_row(row) for row in rows]
            return (f"{caption}\n\n" if caption else "") + "\n".join(lines)


def markdown_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table; what a cell holds stays in it."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def _parts(text: str) -> Iterator[list[str]]:
    """Yield the lines of one block after the other: what blank lines part, a heading by itself, fenced code whole."""
    part: list[str] = []
    fenced = False
    for line in [*text.splitlines(), ""]:
        fence = line.startswith("```")
        fenced = fenced != fence
        heading = not fenced and re.match(r"#{1,6} ", line)
        if part and not fenced and (not line.strip() or heading):
            yield part
            part = []
        if heading:
            yield [line]
        elif fenced or line.strip():
            part.append(line)
        if fence and not fenced:
            yield part
            part = []
    if part:
        yield part


def _block(lines: list[str], level: int) -> Block:
    if heading := re.match(r"(#{1,6}) (.*)", lines[0]):
        return Heading(heading[2].strip(), min(len(heading[1]) + level, 6))
    if lines[0].startswith("```"):
        return Code("\n".join(line for line in lines if not line.startswith("```")))
    if all(line.lstrip().startswith("|") for line in lines) and len(lines) > 1:
        header, _, *rows = [_cells(line) for line in lines]
        right = [rule.strip().endswith(":") for rule in _cells(lines[1])[1:]]
        return Rows(header, [(row + [""] * len(header))[: len(header)] for row in rows], plain=not any(right))
    if re.match(r"\s*[*-] ", lines[0]):
        return Items(_items(lines))
    return Text(" ".join(line.strip() for line in lines))


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def _items(lines: Sequence[str]) -> list[str]:
    items: list[str] = []
    for line in lines:
        if item := re.match(r"\s*[*-] (.*)", line):
            items.append(item[1].strip())
        else:
            items[-1] += f" {line.strip()}"
    return items
