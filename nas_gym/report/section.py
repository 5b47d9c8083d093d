"""A section of a report: what every function of this package that tells of a run returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas_gym.document import Block, Heading, Picture, Text
from nas_gym.report.canvas import Drawing

Source = Drawing | Path
"""Where a picture comes from: it is drawn, or is there as a PNG."""


@dataclass(frozen=True)
class Section:
    """Part of a report.

    Attributes:
        title: Its heading.
        blocks: What is under it.
        pictures: Where the pictures in the blocks come from, by name.
        told: Whether the run had something to tell; if not, the blocks say why.
    """

    title: str
    blocks: Sequence[Block]
    pictures: Mapping[str, Source] = field(default_factory=dict)
    told: bool = True

    @property
    def document(self) -> list[Block]:
        """The section with its heading."""
        return [Heading(self.title), *self.blocks]


def silent(title: str, reason: str) -> Section:
    """Return a section that says in a sentence why there is nothing to tell."""
    return Section(title, [Text(reason)], told=False)


@dataclass
class Page:
    """Collects the blocks of a section and their pictures, under names that no other section uses.

    Attributes:
        title: Of the section.
        prefix: Of the names of its pictures.
        blocks: So far.
        pictures: So far.
    """

    title: str
    prefix: str
    blocks: list[Block] = field(default_factory=list)
    pictures: dict[str, Source] = field(default_factory=dict)

    def say(self, *texts: str) -> None:
        """Add paragraphs; empty ones are left out."""
        self.blocks += [Text(text) for text in texts if text]

    def show(self, name: str, source: Source, caption: str, alt: str = "") -> None:
        """Add a picture."""
        file = f"{self.prefix}-{name}.png"
        self.pictures[file] = source
        self.blocks.append(Picture(file, caption, alt))

    def section(self) -> Section:
        """Return the section."""
        return Section(self.title, self.blocks, self.pictures)
