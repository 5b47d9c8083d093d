"""Documents: Markdown that reads back, and HTML whose links lead somewhere."""

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_gym.document import (
    Badge,
    Block,
    Code,
    Facts,
    Heading,
    Items,
    Picture,
    Rows,
    Text,
    as_markdown,
    of_markdown,
)
from nas_gym.html_page import Image, as_html

PNG, SVG = b"\x89PNG rest", b"<svg/>"
WORDS = st.text(st.sampled_from("ab1|&<>*`-#é "), min_size=1, max_size=9).map(
    lambda text: " ".join(("x" + text).split())
)
LINES = st.lists(st.lists(WORDS, min_size=3, max_size=3), max_size=4)
BLOCKS = st.one_of(
    st.builds(Heading, WORDS, st.integers(1, 6)),
    st.builds(Text, WORDS),
    st.builds(Items, st.lists(WORDS, min_size=1, max_size=3)),
    st.builds(Code, WORDS),
    st.builds(Rows, st.just(["a", "b", "c"]), LINES, st.just(""), st.booleans()),
)


@settings(deadline=None)
@given(blocks=st.lists(BLOCKS, max_size=5))
def test_markdown_reads_back(blocks: list[Block]) -> None:
    assert of_markdown(as_markdown(blocks)) == blocks


def test_markdown_of_others_is_read_as_far_as_it_can_be_said() -> None:
    begin = "Title\nof two lines\n\n####### no heading\n\n* one\n  more\n- two\n\n|a|b|\n|:--|--:|\n|1|\n\n"
    assert of_markdown(f"{begin}```sh\n\nx\n```\nend", level=2) == [
        Text("Title of two lines"),
        Text("####### no heading"),
        Items(["one more", "two"]),
        Rows(["a", "b"], [["1", ""]]),
        Code("\nx"),
        Text("end"),
    ]
    assert of_markdown("# a\n##### b", level=2) == [Heading("a", 3), Heading("b", 6)]


def test_line_breaks_do_not_break_a_table() -> None:
    markdown = as_markdown([Rows(("a", "b"), [("x\ny", "|")])])
    assert "| x y | \\| |" in markdown


def test_pictures_are_told_in_words() -> None:
    assert Picture("p.png", "A **b**").described == "A b"
    assert as_markdown([Picture("p.png", "c", "alt `x`")], "f") == "![alt x](f/p.png)\n\nc\n"
    assert as_markdown([Picture("p.png", "", "alt")], "f") == "![alt](f/p.png)\n"


@settings(deadline=None)
@given(titles=st.lists(WORDS | st.sampled_from(["a", "A", "a-2", "-", "…"]), max_size=8))
def test_contents_lead_to_every_heading(titles: list[str]) -> None:
    blocks: list[Block] = [Heading("title", 1), *(Heading(title) for title in titles)]
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    tree = parser.parse(as_html("t", blocks, {}, contents=True))
    links = [link.attrib["href"] for link in tree.iter("a")]
    assert links == [f"#{heading.attrib['id']}" for heading in tree.iter("h2")]
    assert len(set(links)) == len(titles)


def test_a_page_has_pictures_for_dark_pages_and_narrow_screens() -> None:
    whole = Image(SVG, b"<svg>dark</svg>", b"<svg>narrow</svg>", b"<svg>both</svg>")
    blocks = [Picture("a.png", 'seen "so"'), Picture("b.png", "", "alt")]
    page = as_html("t", blocks, {"a.png": whole, "b.png": Image(PNG)})
    assert page.count("<source") == 3
    assert page.count("data:image/svg+xml") == 4
    assert page.count("data:image/png") == 1
    assert page.count("<figcaption>") == 1
    assert 'alt="seen &quot;so&quot;"' in page
    assert 'class="paper"' in page.split("<figure>")[2], "a picture without a dark form stays on white"


@pytest.mark.parametrize(("verdict", "sign"), [("good", "✓"), ("bad", "✗"), ("open", "○")])
def test_a_verdict_has_a_sign_and_a_class(verdict: str, sign: str) -> None:
    badge = Badge("3 of 3", verdict)  # type: ignore[arg-type]
    assert as_markdown([badge]) == f"{sign} **3 of 3**\n"
    assert f'<p class="badge {verdict}">3 of 3</p>' in as_html("t", [badge], {})


def test_facts_are_cards_and_a_table() -> None:
    facts = Facts([("accuracy", "0.9 ± 0.1")])
    assert "| **accuracy** | 0.9 ± 0.1 |" in as_markdown([facts])
    assert "<dt>accuracy</dt><dd>0.9 ± 0.1</dd>" in as_html("t", [facts], {})
