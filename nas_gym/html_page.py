"""A document as one page of HTML that asks for nothing else: styles and pictures are inside it."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas_gym.document import Badge, Block, Code, Facts, Heading, Items, Picture, Rows, Text

NARROW = 640  # pixels of a screen that gets the narrow pictures


@dataclass(frozen=True)
class Image:
    """The bytes behind a picture, PNG or SVG; what is missing is replaced by ``light``.

    Attributes:
        light: For light pages.
        dark: For dark ones.
        narrow: For light pages on screens of at most `NARROW` pixels.
        narrow_dark: For dark ones.
    """

    light: bytes
    dark: bytes | None = None
    narrow: bytes | None = None
    narrow_dark: bytes | None = None


def as_html(title: str, blocks: Sequence[Block], images: Mapping[str, Image], *, contents: bool = False) -> str:
    """Return a document as one page.

    Args:
        title: Of the page.
        blocks: The document.
        images: By the name of the picture.
        contents: Whether links to the headings of level 2 stand before the first of them (on wide screens beside them).
    """
    anchors = _anchors(blocks)
    first = next((i for i, block in enumerate(blocks) if isinstance(block, Heading) and block.level == 2), len(blocks))
    parts = [_html(block, images, anchors.get(i, "")) for i, block in enumerate(blocks)]
    if contents:
        parts.insert(first, _contents(blocks, anchors))
    page = {"title": html.escape(title), "style": _STYLE, "body": "\n".join(parts)}
    page["kind"] = ' class="listed"' if contents else ""
    return re.sub(r"\{(\w+)\}", lambda name: page[name[1]], _PAGE)


def _anchors(blocks: Sequence[Block]) -> dict[int, str]:
    """Return a name for every heading below the title, none twice."""
    found: dict[int, str] = {}
    for place, block in enumerate(blocks):
        if isinstance(block, Heading) and block.level > 1:
            name = re.sub(r"\W+", "-", block.text.lower()).strip("-") or "part"
            taken = set(found.values())
            found[place] = next(n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)
    return found


def _contents(blocks: Sequence[Block], anchors: Mapping[int, str]) -> str:
    links = [
        f'<li><a href="#{anchors[i]}">{_inline(block.text)}</a></li>'
        for i, block in enumerate(blocks)
        if isinstance(block, Heading) and block.level == 2
    ]
    return f'<nav aria-label="Contents"><ol>{"".join(links)}</ol></nav>'


def _html(block: Block, images: Mapping[str, Image], anchor: str) -> str:
    match block:
        case Heading(text, level):
            name = f' id="{anchor}"' if anchor else ""
            return f"<h{level}{name}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Items(items):
            return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
        case Code(text):
            return f"<pre><code>{html.escape(text)}</code></pre>"
        case Badge(text, verdict):
            return f'<p class="badge {verdict}">{_inline(text)}</p>'
        case Facts(pairs):
            cards = (f"<div><dt>{_inline(name)}</dt><dd>{_inline(value)}</dd></div>" for name, value in pairs)
            return f"<dl>{''.join(cards)}</dl>"
        case Picture(name, caption):
            told = f"<figcaption>{_inline(caption)}</figcaption>" if caption else ""
            return f"<figure>{_picture(block, images[name])}{told}</figure>"
        case Rows():
            return _table(block)


def _picture(block: Picture, image: Image) -> str:
    dark, narrow = "(prefers-color-scheme: dark)", f"(max-width: {NARROW}px)"
    sources = (
        (f"screen and {narrow} and {dark}", image.narrow_dark),
        (f"screen and {narrow}", image.narrow),
        (f"screen and {dark}", image.dark),
    )
    told = "".join(f'<source media="{media}" srcset="{_inlined(data)}">' for media, data in sources if data is not None)
    fixed = "" if image.dark is not None else ' class="paper"'
    alt = html.escape(block.described, quote=True)
    return f'<picture>{told}<img{fixed} src="{_inlined(image.light)}" alt="{alt}"></picture>'


def _table(block: Rows) -> str:
    head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in block.header)
    head = f"<thead><tr>{head}</tr></thead>" if any(block.header) else ""
    lines = []
    for row in block.rows:
        first, *others = row
        cells = "".join(f"<td>{_inline(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{_inline(first)}</th>{cells}</tr>')
    told = f'<p class="told">{_inline(block.caption)}</p>' if block.caption else ""
    kind = ' class="plain"' if block.plain else ""
    return f'{told}<div class="wide" tabindex="0"><table{kind}>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escaped)


def _inlined(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body{kind}>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --paper: #ffffff; --line: #e4e7eb; --band: #f5f7fa; --accent: #0072b2;
  --good: #00704f; --bad: #b3400a; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9fb0c0; --paper: #161b22; --line: #30363d; --band: #1d242d; --accent: #56b4e9;
    --good: #4cc9a0; --bad: #ff9d5c; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; margin: 3rem 0 0.6rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2rem 0 0.4rem; }
h2, h3, h4, h5, h6 { line-height: 1.3; }
p, ul { max-width: 74ch; margin: 0.6rem 0; overflow-wrap: break-word; }
ul { padding-left: 1.3rem; }
a { color: var(--accent); }
code { font: 0.88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--band);
  padding: 0.1em 0.3em; border-radius: 3px; overflow-wrap: anywhere; }
pre { background: var(--band); padding: 0.8rem 1rem; border-radius: 6px; overflow-x: auto; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.wide { overflow-x: auto; margin: 1rem 0 1.4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.88rem; }
.told { color: var(--soft); font-size: 0.92rem; margin: 1rem 0 0; max-width: 80ch; }
.told + .wide { margin-top: 0.4rem; }
th, td { padding: 0.34rem 0.6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line);
  white-space: normal; vertical-align: bottom; }
th[scope=row] { font-weight: 600; }
th:first-child { text-align: left; padding-left: 0.4rem; }
tbody tr:hover { background: var(--band); }
table.plain th, table.plain td { text-align: left; white-space: normal; vertical-align: top; }
table.plain th[scope=row] { font-weight: 400; }
table.plain td { overflow-wrap: anywhere; min-width: 7rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: 0.7rem; margin: 1.4rem 0; }
dl div { border: 1px solid var(--line); border-radius: 8px; padding: 0.6rem 0.8rem; }
dt { color: var(--soft); font-size: 0.82rem; }
dd { margin: 0.15rem 0 0; font-size: 1.12rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.3; }
.badge { display: inline-block; font-weight: 600; border: 2px solid var(--soft); color: var(--soft);
  border-radius: 999px; padding: 0.15rem 0.9rem; }
.badge::before { content: "○ "; }
.badge.good { border-color: var(--good); color: var(--good); }
.badge.good::before { content: "✓ "; }
.badge.bad { border-color: var(--bad); color: var(--bad); }
.badge.bad::before { content: "✗ "; }
figure { margin: 1.2rem 0 1.8rem; }
img { max-width: 100%; height: auto; display: block; }
img.paper { background: #ffffff; border-radius: 6px; }
figcaption { color: var(--soft); font-size: 0.92rem; margin-top: 0.4rem; max-width: 90ch; }
strong { color: var(--accent); }
nav { background: var(--band); border-radius: 8px; padding: 0.7rem 1rem; margin: 1.6rem 0 0; font-size: 0.92rem; }
nav ol { margin: 0; padding-left: 1.5rem; columns: 15rem; }
nav li { margin: 0.2rem 0; break-inside: avoid; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
@media (max-width: 640px) {
  main { padding: 1.4rem 1rem 3rem; }
  h1 { font-size: 1.45rem; }
  h2 { font-size: 1.22rem; margin-top: 2.2rem; }
  dl { grid-template-columns: 1fr 1fr; gap: 0.5rem; }
  dd { font-size: 1rem; }
  figure { overflow-x: auto; }
  img.paper { max-width: 640px; }
}
@media screen and (min-width: 1200px) {
  .listed main { max-width: 1220px; padding-left: 17rem; }
  .listed nav { position: fixed; top: 2.5rem; left: max(1.2rem, calc(50vw - 600px)); width: 14rem; margin: 0;
    max-height: calc(100vh - 4rem); overflow-y: auto; }
  .listed nav ol { columns: auto; }
}
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3, h4 { break-after: avoid; }
  figure, tr, dl div { break-inside: avoid; }
  .wide { overflow: visible; }
  th, td { white-space: normal; }
  pre { white-space: pre-wrap; }
  a { color: inherit; text-decoration: none; }
}
"""
