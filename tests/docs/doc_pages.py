"""The blocks and the commands of every page of the documentation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "console", "sh", "shell")
PYTHON = ("python", "py")
SHOWN = ("text", "json", "{toctree}")  # shown, not to be run
PROGRAMS = ("nas-gym", "python", "python3", "pip", "make", "bash", "tensorboard", "ray", "wandb", "pre-commit")
INLINE = re.compile(rf"({'|'.join(map(re.escape, PROGRAMS))}) \S")
ENVIRONMENT = re.compile(r"([A-Z_]+)=(\S*)\s+")
PLACEHOLDER = re.compile(r"(?<![\w$.+-])[A-Z]{2,}(_[A-Z]+)*(?![\w.])|…")


@dataclass(frozen=True)
class Block:
    """A piece of code of a page.

    Attributes:
        page: Relative to the project.
        line: From 1.
        kind: ``"python"``, ``"commands"``, ``"text"``, ``"inline"`` (in a sentence), else what the fence says.
        text: What stands in it.
    """

    page: str
    line: int
    kind: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a page, without prompts, comments and variables before it."""

    page: str
    line: int
    text: str
    inline: bool = False

    @property
    def placeholder(self) -> str | None:
        """A word in capitals that stands for the reader's own; a command with one can't be run."""
        found = PLACEHOLDER.search(self.text)
        return found.group() if found else None


@cache
def pages() -> tuple[str, ...]:
    """Return every page, as the site has them."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "leaderboard/README.md")]
    found += sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
    return tuple(str(path.relative_to(ROOT)) for path in found)


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """Return the blocks of a page, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))
    return tuple(_blocks(page, tokens))


def _blocks(page: str, tokens: list[Token]) -> Iterator[Block]:
    for token in tokens:
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            yield Block(page, line, "commands", token.content)
        elif token.type == "fence":
            info = token.info.strip()
            kind = "commands" if info in SHELL else "python" if info in PYTHON else "text" if info in SHOWN else info
            yield Block(page, line, kind, token.content)
        for child in token.children or ():
            text = child.content.replace("\n", " ")
            if child.type == "code_inline" and INLINE.match(text):
                yield Block(page, line, "inline", text)


def commands(page: str) -> list[Command]:
    """Return the commands of a page, in order: of blocks, and of sentences."""
    found = []
    for block in blocks(page):
        if block.kind in ("commands", "inline"):
            lines = block.text.replace("\\\n", " ").splitlines()
            parts = [part for line in lines for part in re.sub(r"(^|\s)#.*", "", line).split("&&")]
            texts = [_bare(part) for part in parts]
            found += [Command(page, block.line, text, block.kind == "inline") for text in texts if text]
    return found


def _bare(line: str) -> str:
    text = line.strip().removeprefix("$ ")
    while given := ENVIRONMENT.match(text):
        text = text[given.end() :]
    return re.sub(r"\s+", " ", text)
