"""The report: its numbers against the table, its files, its page that asks for nothing else."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from entries import TABLE

from nas_gym import statistics
from nas_gym.document import Code, Heading, Picture, Rows, Text, as_markdown
from nas_gym.html_page import Image, as_html
from nas_gym.tables import load_benchmark
from nas_gym_agents.benchmark import ALWAYS, Plan, Results, benchmark
from nas_gym_agents.benchmark.report import write_report
from nas_gym_agents.benchmark.summary import Summary, summarise


@pytest.fixture(scope="module")
def reported(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("report") / "out"
    shutil.copytree(results.path, folder)
    found = Results.read(folder)
    write_report(found)
    return found


@pytest.fixture(scope="module")
def summary(results: Results) -> Summary:
    return summarise(results)


def answers(results: Results, track: str, agent: str, unique: int | None = None) -> np.ndarray:
    """Return the score of the best reward of every seed, by plain pandas; of the first so many different rows."""
    frame = results.frame
    mine = frame[(frame["track"] == track) & (frame["agent"] == agent)]
    if unique is not None:
        mine = mine[mine["unique"] <= unique]
    return mine.loc[mine.groupby("seed")["reward"].idxmax()]["score"].to_numpy()


def test_numbers_are_those_of_the_table(results: Results, summary: Summary) -> None:
    for track in results.plan.tracks:
        told = summary.tracks[TABLE, track]
        for one in told.agents:
            wanted = answers(results, track, one.agent)
            np.testing.assert_array_equal(one.final, wanted)
            assert one.iqm.value == statistics.interquartile_mean(wanted)
            assert (one.mean, one.std) == pytest.approx((wanted.mean(), wanted.std(ddof=1)))
            assert one.regret is not None
            assert one.regret.value == pytest.approx(results.facts(TABLE)["optimum"] - one.iqm.value)
            assert one.unique == 30
            assert sorted(one.at) == [10, 25]
            for count, (_, mean, _) in one.at.items():
                assert mean == pytest.approx(answers(results, track, one.agent, count).mean())
            assert one.by_evaluations.spent[-1] == 30
            assert one.by_evaluations.middle[-1] == pytest.approx(one.iqm.value)
            assert one.by_cost is not None
        first, second = (answers(results, track, agent) for agent in ("random", ALWAYS[0]))
        assert told.difference["random", ALWAYS[0]].value == pytest.approx((first - second).mean())
        pairs = told.improvement["random", ALWAYS[0]].value, told.improvement[ALWAYS[0], "random"].value
        assert sum(pairs) == pytest.approx(1)
        assert sum(one.rank.value for one in told.agents) == pytest.approx(1 + 2 + 3)


def test_files(reported: Results) -> None:
    names = {str(file.relative_to(reported.path)) for file in reported.path.rglob("*") if file.is_file()}
    kinds = {f"figures/nas-gym-Table-v0-{kind}.png" for kind in ("anytime", "final", "improvement")}
    assert names >= {"report.md", "report.html", "checklist.md", "summary.json", *kinds}
    text = (reported.path / "report.md").read_text()
    for file in re.findall(r"\]\((.*?)\)", text):
        assert (reported.path / file).read_bytes().startswith(b"\x89PNG")
    told = json.loads((reported.path / "summary.json").read_text())
    assert len(told["tracks"]) == 2
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(agent in text for agent in reported.plan.agents)
    assert len(lines) > 20


@pytest.mark.slow
def test_reports_are_the_same_every_time(reported: Results) -> None:
    before = (reported.path / "report.md").read_bytes()
    write_report(reported)
    assert (reported.path / "report.md").read_bytes() == before


def test_the_page_asks_for_nothing_else(reported: Results) -> None:
    page = (reported.path / "report.html").read_text()
    addresses: list[str] = []
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            addresses.extend(value or "" for name, value in attrs if name in ("src", "srcset", "href", "data"))
            if tag not in ("meta", "img", "source"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Reader().feed(page)
    assert open_tags == []
    assert len(addresses) == 2 * 3
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert "<script" not in page
    assert "NAS best-practice checklist" in page


def test_the_checklist_answers_what_it_can(reported: Results) -> None:
    text = (reported.path / "checklist.md").read_text()
    assert {int(n) for n in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == set(range(1, 15))
    assert text.count("**for the authors**") >= 4
    for told in ("seeds 0 to 4", "unique = 30", reported.facts(TABLE)["digest"], reported.content["versions"]["torch"]):
        assert told in text


@pytest.mark.slow
def test_a_report_of_one_seed_of_one_track(tmp_path: Path) -> None:
    plan = Plan.of(env=TABLE, seeds=1, budget="evaluations=3")
    summary = write_report(benchmark(plan, tmp_path))
    assert summary.counts == ()
    assert "At the end, noise-free" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_several_environments_have_ranks_over_all(tmp_path: Path) -> None:
    import gymnasium as gym

    if "nas_gym/Again-v0" not in gym.registry:
        gym.register("nas_gym/Again-v0", "nas_gym_envs.tabular:make_table", kwargs={"trainings": 0})
    plan = Plan.of(env=[TABLE, "nas_gym/Again-v0"], seeds=3, budget="simulated_seconds=30")
    summary = write_report(benchmark(plan, tmp_path))
    assert sum(one.value for one in summary.ranks["noise-free"].values()) == pytest.approx(3)
    assert "## All environments" in (tmp_path / "report.md").read_text()


def test_documents() -> None:
    blocks = [
        Heading("A <b>", 1),
        Text("**bold** & `a<b`"),
        Code("x < y"),
        Rows(("a", "b"), [("x|y", "1")], "told"),
        Picture("p.png", 'a "picture"'),
    ]
    text = as_markdown(blocks)
    assert text.startswith("# A <b>\n\n**bold** & `a<b`")
    assert "| x\\|y | 1 |" in text
    assert '![a "picture"](figures/p.png)' in text
    page = as_html("T", blocks, {"p.png": Image(b"light", b"dark")})
    assert "<h1>A &lt;b&gt;</h1>" in page
    assert "<strong>bold</strong> &amp; <code>a&lt;b</code>" in page
    assert 'alt="a &quot;picture&quot;"' in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "reward: accuracy at fidelity `full`"),
        ({"trainings": 0}, "reward: accuracy of training `0` at fidelity `full`"),
        ({"objective": "soft-macs:20000:-1:-1"}, "reward: the objective `soft-macs:20000:-1:-1` at fidelity `full`"),
    ],
)
def test_the_row_of_the_best_reward_is_that_of_the_reward_there_was(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    plan = Plan.of(env=TABLE, agents="random", seeds=2, budget="unique=5", noise=0.1, env_args=options)
    found = benchmark(plan, tmp_path / "out")
    table = load_benchmark()
    rewards = table.accuracies["full"].astype(np.float64)
    rewards = rewards[:, options["trainings"]] if "trainings" in options else rewards.mean(axis=1)
    if "objective" in options:
        assert table.macs is not None
        rewards = rewards * 20_000 / np.maximum(table.macs, 0.02)
    assert found.facts(TABLE)["score_of_best_reward"] == pytest.approx(table.scores["test"][rewards.argmax()])
    write_report(found)
    assert words in (tmp_path / "out" / "report.md").read_text()
