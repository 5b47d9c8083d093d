"""A small document: headings, paragraphs, tables, pictures; written as Markdown, or as one page of HTML."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
class Picture:
    """A picture by the name of its file.

    Attributes:
        name: Without folder, with its ending.
        caption: What is seen.
    """

    name: str
    caption: str


Block = Heading | Text | Code | Rows | Picture


def as_markdown(blocks: Sequence[Block], folder: str = "figures") -> str:
    """Return the document as Markdown; pictures are expected in a folder beside it."""
    return "\n\n".join(_markdown(block, folder) for block in blocks) + "\n"


def as_html(title: str, blocks: Sequence[Block], light: Mapping[str, bytes], dark: Mapping[str, bytes]) -> str:
    """Return the document as one page that asks for nothing else.

    Args:
        title: Of the page.
        blocks: The document.
        light: PNG by the name of the picture.
        dark: The same for readers who prefer dark pages.
    """
    body = "\n".join(_html(block, light, dark) for block in blocks)
    return _PAGE.replace("{title}", html.escape(title)).replace("{style}", _STYLE).replace("{body}", body)


def _markdown(block: Block, folder: str) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Code(text):
            return f"```console\n{text}\n```"
        case Picture(name, caption):
            return f"![{caption}]({folder}/{name})"
        case Rows(header, rows, caption, plain):
            lines = [f"| {' | '.join(header)} |"]
            lines.append("|" + "|".join(" --- " if plain or i == 0 else " ---: " for i in range(len(header))) + "|")
            lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
            return (f"{caption}\n\n" if caption else "") + "\n".join(lines)


def _html(block: Block, light: Mapping[str, bytes], dark: Mapping[str, bytes]) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Code(text):
            return f"<pre><code>{html.escape(text)}</code></pre>"
        case Picture(name, caption):
            shown = html.escape(re.sub(r"[*`]", "", caption), quote=True)
            return (
                f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{_inlined(dark[name])}">'
                f'<img src="{_inlined(light[name])}" alt="{shown}"></picture>'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )
        case Rows(header, rows, caption, plain):
            head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in header)
            lines = []
            for row in rows:
                first, *others = row
                cells = "".join(f"<td>{_inline(cell)}</td>" for cell in others)
                lines.append(f'<tr><th scope="row">{_inline(first)}</th>{cells}</tr>')
            told = f"<caption>{_inline(caption)}</caption>" if caption else ""
            kind = ' class="plain"' if plain else ""
            return (
                f'<div class="wide"><table{kind}>{told}<thead><tr>{head}</tr></thead>'
                f"<tbody>{''.join(lines)}</tbody></table></div>"
            )


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escaped)


def _inlined(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --paper: #ffffff; --line: #e4e7eb; --band: #f5f7fa; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9fb0c0; --paper: #161b22; --line: #30363d; --band: #1d242d; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.6rem; }
h2 { font-size: 1.4rem; margin: 3rem 0 0.6rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2rem 0 0.4rem; }
p { max-width: 74ch; margin: 0.6rem 0; }
code { font: 0.88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--band);
  padding: 0.1em 0.3em; border-radius: 3px; overflow-wrap: anywhere; }
pre { background: var(--band); padding: 0.8rem 1rem; border-radius: 6px; overflow-x: auto; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.wide { overflow-x: auto; margin: 1rem 0 1.4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.88rem; }
caption { text-align: left; color: var(--soft); padding: 0 0 0.5rem; max-width: 80ch; }
th, td { padding: 0.34rem 0.6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line);
  white-space: normal; vertical-align: bottom; }
th[scope=row] { font-weight: 600; }
th:first-child { text-align: left; padding-left: 0.4rem; }
tbody tr:hover { background: var(--band); }
table.plain th, table.plain td { text-align: left; white-space: normal; vertical-align: top; }
table.plain th[scope=row] { font-weight: 400; }
figure { margin: 1.2rem 0 1.8rem; }
img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 0.92rem; margin-top: 0.4rem; max-width: 90ch; }
strong { color: var(--accent); }
"""
