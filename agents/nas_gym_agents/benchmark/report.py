"""The report of a benchmark: Markdown, pictures, one page of HTML, and the best-practice checklist."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas_gym.document import Block, Code, Heading, Picture, Rows, Text, as_markdown
from nas_gym.errors import RunError
from nas_gym.evaluation.tabular import MEAN
from nas_gym.explain.record import write_atomically
from nas_gym.html_page import Image, as_html
from nas_gym.statistics import Estimate
from nas_gym_agents.benchmark.checklist import checklist
from nas_gym_agents.benchmark.figures import DARK, LIGHT, Theme, anytime_figure, final_figure, improvement_figure
from nas_gym_agents.benchmark.plan import ALWAYS, Plan
from nas_gym_agents.benchmark.results import Results
from nas_gym_agents.benchmark.summary import AgentSummary, Summary, TrackSummary, summarise
from nas_gym_agents.settings import IDLE_EPISODES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT, PAGE, CHECKLIST, NUMBERS, FIGURES = "report.md", "report.html", "checklist.md", "summary.json", "figures"
DPI = 110
UNITS = {
    "unique": "different candidates",
    "evaluations": "evaluations, repeats included",
    "simulated_seconds": "simulated seconds, repeats included",
}
_ANYTIME = (
    "Score of the best so far: interquartile mean over seeds, bands are 95 % bootstrap intervals. A search that has "
    "ended keeps its answer. The picture begins at 2 % of the budget."
)
_FINAL = (
    "Answers at the end: every dot is a search, marks are interquartile means, bars their 95 % bootstrap intervals."
)
_IMPROVEMENT = (
    "Probability that a search of the row's agent ends better than one of the column's (ties count half); bold where "
    "the 95 % interval excludes 0.5."
)
_NOISE = (
    "On a noisy track a draw is added to the reward of every row and stays the same within a search, as if every "
    "network had been trained once; it is seeded by the search's seed, so that all agents meet the same noise."
)
_DRAWN: Mapping[str, Callable[[Summary, str, Theme], "Figure"]] = {
    "anytime": anytime_figure,
    "final": final_figure,
    "improvement": improvement_figure,
}


def write_report(results: Results) -> Summary:
    """Write ``report.md``, ``report.html``, ``checklist.md``, ``summary.json`` and pictures beside the results.

    Returns:
        The numbers.

    Raises:
        RunError: They can't be written.
    """
    summary = summarise(results)
    blocks = report(summary)
    light, dark = _pictures(summary, LIGHT), _pictures(summary, DARK)
    checked = checklist(results)
    appended = [Heading(block.text, block.level + 1) if isinstance(block, Heading) else block for block in checked]
    title = "Benchmark of search agents"
    try:
        (results.path / FIGURES).mkdir(exist_ok=True)
        for name, picture in light.items():
            (results.path / FIGURES / name).write_bytes(picture)
        write_atomically(results.path / REPORT, as_markdown(blocks, FIGURES))
        images = {name: Image(light[name], dark[name]) for name in light}
        write_atomically(results.path / PAGE, as_html(title, [*blocks, *appended], images))
        write_atomically(results.path / CHECKLIST, as_markdown(checked))
        write_atomically(results.path / NUMBERS, json.dumps(summary.to_json(), indent=1))
    except OSError as error:
        raise RunError(f"the report can't be written in {str(results.path)!r}: {error.strerror}") from None
    return summary


def report(summary: Summary) -> list[Block]:
    """Return the report as a document."""
    results = summary.results
    plan = results.plan
    names = ", ".join(f"`{env.id}`" for env in plan.envs)
    blocks: list[Block] = [
        Heading("Benchmark of search agents", 1),
        Text(
            f"{len(plan.agents)} agents with {plan.seeds} seeds each on {names}; budget: {plan.amount:,.0f} "
            f"{UNITS[plan.unit]}. A search answers with the candidate of the best reward it has seen, and the answer "
            "is scored by a column that no search sees. Scores are in percent; intervals are 95 % bootstrap intervals "
            "over seeds."
        ),
    ]
    for env in plan.envs:
        blocks += _of_env(summary, env.id)
    if summary.ranks:
        blocks += _overall(summary)
    return [*blocks, *_made(results)]


def _of_env(summary: Summary, env: str) -> list[Block]:
    tracks = [track for (name, _), track in summary.tracks.items() if name == env]
    facts = summary.results.facts(env)
    told = ""
    if "table" in facts:
        told = (
            f"Table `{facts['table']}`, {facts['rows']:,} rows; "
            f"reward: {_reward(summary.results.plan, env)} at fidelity `{facts['fidelity']}`; "
            f"score: `{facts['score']}`. The best score there is: {_percent(facts['optimum'])}; the row with the best "
            f"noise-free reward scores {_percent(facts['score_of_best_reward'])}."
        )
    blocks: list[Block] = [Heading(env), Text(told or "No table: the score is the reward itself.")]
    blocks += [Text(_in_short(track)) for track in tracks]
    blocks.append(Picture(_file(env, "anytime"), _ANYTIME))
    for track in tracks:
        blocks += [Heading(f"At the end, {_named(track.track)}", 3), _final_rows(track)]
    blocks.append(Picture(_file(env, "final"), _FINAL))
    for track in tracks:
        blocks += _at_rows(summary, track)
    blocks.append(Heading("Who is ahead of whom", 3))
    blocks += [_against_rows(track) for track in tracks]
    blocks.append(Picture(_file(env, "improvement"), _IMPROVEMENT))
    return blocks


def _reward(plan: Plan, env: str) -> str:
    """Return in words what a search in an environment over a table is rewarded with."""
    options = next(one.options for one in plan.envs if one.id == env)
    objective, trainings = options.get("objective") or "accuracy", options.get("trainings", MEAN)
    words = "accuracy" if objective == "accuracy" else f"the objective `{objective}`"
    return words if trainings == MEAN else f"{words} of training `{trainings}`"


def _in_short(track: TrackSummary) -> str:
    """Return a sentence on who is ahead, no more than the intervals allow."""
    first, *others = track.ordered
    ahead = [one.agent for one in others if track.difference[first.agent, one.agent].high < 0]
    level = [
        one.agent for one in others if track.difference[first.agent, one.agent].low <= 0 and one.agent not in ahead
    ]
    text = f"**{_capital(_named(track.track))}:** `{first.agent}` has the highest interquartile mean"
    text += f", {_percent(first.iqm.value)} [{_percent(first.iqm.low)}, {_percent(first.iqm.high)}]"
    if ahead:
        text += f", though the mean of {_listed(ahead)} on the same seeds is higher"
    if level:
        listed = _listed(level)
        return f"{text}; the interval of its mean difference on the same seeds does not exclude a tie with {listed}."
    if ahead or not others:
        return f"{text}."
    return f"{text}, and is ahead of every other agent on the same seeds."


def _listed(agents: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in agents)


def final_table(track: TrackSummary) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of what was reached at the end, the highest interquartile mean first."""
    known = all(one.regret is not None for one in track.agents)
    header = ["agent", "IQM [95 %]", "mean ± std", *(["regret [95 %]", "optimum found"] if known else [])]
    header += ["mean rank [95 %]", "evaluations", "different"]
    rows = []
    for one in track.ordered:
        row = [one.agent, _interval(one.iqm), f"{_percent(one.mean)} ± {_percent(one.std)}"]
        if one.regret is not None and known:
            row += [_interval(one.regret), f"{100 * (one.hits or 0):.0f} %"]
        row += [_plain(one.rank), f"{one.evaluations:,.0f}", f"{one.unique:,.0f}"]
        rows.append(row)
    return header, rows


def _final_rows(track: TrackSummary) -> Rows:
    header, rows = final_table(track)
    rows[0][1] = f"**{rows[0][1]}**"
    known = any(one.regret is not None for one in track.agents)
    note = f"{len(track.agents[0].final)} searches a row. IQM: mean of the middle half of the seeds. "
    note += "Regret: points below the best score of the table. " if known else ""
    return Rows(header, rows, note + "Evaluations and different candidates are medians.")


def _at_rows(summary: Summary, track: TrackSummary) -> list[Block]:
    if not summary.counts:
        return []
    unit = UNITS["unique" if summary.results.plan.unit == "unique" else "evaluations"]
    best = {count: max(one.at[count][0].value for one in track.agents) for count in summary.counts}

    def cell(one: AgentSummary, count: int) -> str:
        iqm = one.at[count][0]
        text = _interval(iqm)
        return f"**{text}**" if iqm.value == best[count] else text

    header = ["agent", *(f"{count:,}" for count in summary.counts)]
    iqms = [[one.agent, *(cell(one, count) for count in summary.counts)] for one in track.ordered]
    means = [
        [one.agent, *(f"{_percent(one.at[c][1])} ± {_percent(one.at[c][2])}" for c in summary.counts)]
        for one in track.ordered
    ]
    return [
        Heading(f"On the way, {_named(track.track)}", 3),
        Rows(header, iqms, f"Score of the best so far after so many {unit}: IQM [95 %]."),
        Rows(header, means, "The same as mean ± standard deviation, as papers print it."),
    ]


def _against_rows(track: TrackSummary) -> Rows:
    baselines = [name for name in ALWAYS if name in {one.agent for one in track.agents}]
    header = ["agent"]
    for name in baselines:
        header += [f"mean − {name}", f"P(better than {name})"]
    rows = []
    for one in track.ordered:
        row = [one.agent]
        for name in baselines:
            if name == one.agent:
                row += ["–", "–"]
            else:
                row += [_signed(track.difference[one.agent, name]), _plain(track.improvement[one.agent, name])]
        rows.append(row)
    note = f"{_capital(_named(track.track))}: differences of means in points on the same seeds (paired), and "
    return Rows(header, rows, note + "probabilities of improvement, with 95 % intervals.")


def _overall(summary: Summary) -> list[Block]:
    tracks = list(summary.ranks)
    agents = sorted(summary.ranks[tracks[0]], key=lambda name: summary.ranks[tracks[0]][name].value)
    header = ["agent", *(_named(track) for track in tracks)]
    rows = [[name, *(_plain(summary.ranks[track][name]) for track in tracks)] for name in agents]
    note = "Mean rank over environments and seeds, 1 is the best [95 %, seeds resampled within environments]."
    return [Heading("All environments"), Rows(header, rows, note)]


def _made(results: Results) -> list[Block]:
    content, plan = results.content, results.plan
    hardware = content["hardware"]
    took = [
        [
            name,
            f"{told['evaluations']:,.0f}",
            f"{told['cpu_seconds']:,.1f}",
            f"{1000 * told['cpu_seconds'] / max(told['evaluations'], 1):.2f}",
        ]
        for name, told in content.get("took", {}).items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return [
        Heading("How this was made"),
        Text(
            f"{content.get('created', '')} on {hardware.get('processor')}, {hardware.get('processors')} processors, "
            f"{content.get('workers')} worker processes with one thread each. {versions}."
        ),
        Code("\n".join([_command(results), "nas-gym bench report DIR", "nas-gym validate DIR"])),
        Rows(
            ["agent", "evaluations", "processor seconds", "ms an evaluation"],
            took,
            "What the searches took here, all environments and tracks together.",
        ),
        Text(
            f"Seeds: {plan.seeds}, from 0. {_NOISE if plan.noise else ''} Statistics follow Agarwal et al. 2021 (arXiv "
            "2108.13264)."
        ),
    ]


def _command(results: Results) -> str:
    """Return the command that makes these results."""
    plan = results.plan
    words = ["nas-gym bench", *(f"--env {env.id}" for env in plan.envs)]
    options: dict[str, Any] = dict(plan.envs[0].options)
    if plan.envs[0].score is not None:
        options["score"] = plan.envs[0].score
    words += [f"--env-arg {_pair(name, value)}" for name, value in options.items()]
    words.append(f"--agents {','.join(plan.agents)}")
    words += [f"--agent-arg {_pair(f'{a}.{n}', v)}" for a, told in plan.agents.items() for n, v in told.items()]
    words.append(f"--seeds {plan.seeds} --budget {plan.budget}")
    words += [f"--idle-episodes {plan.idle_episodes}"] if plan.idle_episodes != IDLE_EPISODES else []
    words += [f"--noise {plan.noise:g}"] if plan.noise else []
    return " ".join([*words, f"--workers {results.content.get('workers', 1)} --out DIR"])


def _pair(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{name}={text}'" if " " in text or '"' in text else f"{name}={text}"


def _pictures(summary: Summary, theme: Theme) -> dict[str, bytes]:
    found = {}
    for env in summary.results.plan.envs:
        for kind, draw in _DRAWN.items():
            buffer = io.BytesIO()
            draw(summary, env.id, theme).savefig(buffer, dpi=DPI, format="png")
            found[_file(env.id, kind)] = buffer.getvalue()
    return found


def _file(env: str, kind: str) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in env.split(":")[-1])
    return f"{plain}-{kind}.png"


def _named(track: str) -> str:
    return "noise-free" if not track.startswith("noise ") else f"noise {100 * float(track.split()[1]):g} points"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _interval(one: Estimate) -> str:
    return f"{_percent(one.value)} [{_percent(one.low)}, {_percent(one.high)}]"


def _signed(one: Estimate) -> str:
    return f"{100 * one.value:+.2f} [{100 * one.low:+.2f}, {100 * one.high:+.2f}]"


def _plain(one: Estimate) -> str:
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"
