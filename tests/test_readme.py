"""The README's Python runs as it stands there."""

import re
from pathlib import Path

import pytest

from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_readmes_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reading, ten_lines, any_agent, many = re.findall(
        r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL
    )
    place = re.search(r'load\("(.*?)"\)', reading)
    assert place is not None
    runner.search(SearchSettings(evaluations=4, env_args={"epochs": 1}), Path(place.group(1)))
    names: dict[str, object] = {}
    exec(reading, names)
    exec(ten_lines, names)
    exec(any_agent, names)
    exec(many, {})
    printed = capsys.readouterr().out
    assert "validation accuracy" in printed or "close to chance" in printed
    assert "'status': 'ok'" in printed


def test_the_readmes_links_lead_somewhere() -> None:
    for text in [README, *README.parent.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text.read_text(encoding="utf-8")):
            assert (text.parent / target).exists(), f"{text.name} links to {target}"
