"""The links of the README and of the pages lead somewhere; what the pages run and print is tested in tests/docs."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_links_lead_somewhere() -> None:
    for text in [README, *(page for page in README.parent.glob("docs/**/*.md") if "_build" not in page.parts)]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text.read_text(encoding="utf-8")):
            assert (text.parent / target).exists(), f"{text.name} links to {target}"
