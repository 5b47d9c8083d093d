"""``nas-gym bench`` and ``nas-gym validate``: compare agents, report, check claims."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting
from nas_gym.errors import ConfigurationError

bench_app = typer.Typer(
    help="Compare agents: agents times seeds times environments, under one budget.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
Many = list[str] | None
_SHOWN = 3  # columns that fit a terminal; the report has all
ResultsArgument = Annotated[Path, typer.Argument(help="A results directory of nas-gym bench.", show_default=False)]


@bench_app.callback()
def bench(
    context: typer.Context,
    env: Annotated[Many, typer.Option(help="Environment id; repeatable.")] = None,
    env_arg: Annotated[
        Many, typer.Option(help="Argument of the environments, NAME=VALUE; score=NAME scores answers; repeatable.")
    ] = None,
    agents: Annotated[
        str, typer.Option(help="Agents, parted by commas: see nas-gym agents, or my_package.my_module:MyAgent.")
    ] = "random,maskable-ppo",
    agent_arg: Annotated[Many, typer.Option(help="Setting of an agent, AGENT.NAME=VALUE; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(help="Searches of every agent; seeds 0, 1, ….")] = 10,
    budget: Annotated[
        str, typer.Option(help="unique=200, evaluations=500 or simulated_seconds=20000.")
    ] = "evaluations=100",
    noise: Annotated[
        float, typer.Option(help="Also a noisy track: standard deviation, such as 0.003 for 0.3 points.")
    ] = 0.0,
    idle_episodes: Annotated[
        int, typer.Option(help="A search ends after so many episodes in a row that spend nothing.", min=1)
    ] = 1_000,
    workers: Annotated[int, typer.Option(help="Worker processes; the table does not depend on them.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="Results directory.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Run agents on environments over seeds; the same command goes on where it was stopped."""
    if context.invoked_subcommand is not None:
        return
    with reporting():
        from nas_gym_agents.benchmark import ALWAYS, Plan, benchmark
        from nas_gym_agents.benchmark.summary import summarise

        if not env or out is None:
            raise ConfigurationError("nas-gym bench needs at least --env ID and --out DIR; see nas-gym bench --help")
        plan = Plan.of(
            env=env,
            agents=agents,
            seeds=seeds,
            budget=budget,
            noise=noise,
            env_args=_pairs(env_arg or [], "--env-arg"),
            agent_args=_settings(agent_arg or []),
            idle_episodes=idle_episodes,
        )
        asked = {name.strip() for name in agents.split(",")}
        if added := [name for name in ALWAYS if name not in asked]:
            errors.print(f"{' and '.join(added)} always take part, and were added", markup=False)
        try:
            with _bar() as watch:
                results = benchmark(plan, out, workers=workers, watch=watch)
        except KeyboardInterrupt:
            errors.print("interrupted; finished pieces are kept, and the same command goes on")
            raise typer.Exit(130) from None
        summary = summarise(results)
        if as_json:
            print(json.dumps({"results": str(out), **summary.to_json()}))
        else:
            _print(summary, out)


@bench_app.command("report")
def report(results: ResultsArgument, as_json: JsonOption = False) -> None:
    """Write report.md, report.html, checklist.md and pictures beside the results."""
    with reporting():
        from nas_gym_agents.benchmark.report import CHECKLIST, PAGE, REPORT, write_report
        from nas_gym_agents.benchmark.results import Results

        summary = write_report(Results.read(results))
        if as_json:
            print(json.dumps({"results": str(results), **summary.to_json()}))
            return
        for name in (REPORT, PAGE, CHECKLIST):
            print(results / name)


@bench_app.command("submit")
def submit(
    results: ResultsArgument,
    agent: Annotated[str, typer.Option(help="Whose answers.", show_default=False)],
    env: Annotated[str | None, typer.Option(help="In which environment.", show_default="the only one")] = None,
    track: Annotated[str | None, typer.Option(help="On which track.", show_default="noise-free")] = None,
) -> None:
    """Print a submission to the leaderboard; redirect it into leaderboard/results/NAME.json."""
    with reporting():
        from nas_gym_agents.benchmark.results import Results
        from nas_gym_agents.benchmark.submission import submission

        made = submission(Results.read(results), agent, env, track)
        answers = ",\n  ".join(json.dumps(answer) for answer in made.pop("seeds"))
        print(json.dumps(made, indent=1)[:-2] + f',\n "seeds": [\n  {answers}\n ]\n}}')


def validate(
    results: Annotated[
        Path,
        typer.Argument(help="A results directory, a submission (.json) or a folder of them.", show_default=False),
    ],
    every: Annotated[bool, typer.Option("--all", help="Also list the answer of every seed that holds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Replay every claimed architecture from its decisions and say which claims hold; exit code 1 if some do not."""
    with reporting():
        from nas_gym_agents.benchmark.validating import validate as check

        checked = check(results)
        failed = [one for one in checked if one.holds is False]
        if as_json:
            claims = [{"claim": one.claim, "holds": one.holds, "detail": one.detail} for one in checked]
            print(json.dumps({"results": str(results), "holds": not failed, "claims": claims}))
        else:
            words = {True: "holds        ", False: "DOES NOT HOLD", None: "not checked  "}
            for one in checked:
                if one.holds and not every and ", seed " in one.claim:
                    continue  # counted below
                print(f"{words[one.holds]}  {one.claim}{f': {one.detail}' if one.detail else ''}")
            unchecked = sum(one.holds is None for one in checked)
            told = f", {unchecked} not checked" if unchecked else ""
            print(f"{len(checked) - len(failed) - unchecked} of {len(checked)} claims hold{told}")
        if failed:
            raise typer.Exit(1)


def _print(summary: Any, out: Path) -> None:
    from rich.table import Table

    from nas_gym_agents.benchmark.report import final_table

    console = Console(highlight=False, emoji=False)
    for track in summary.tracks.values():
        header, rows = final_table(track)
        table = Table(title=f"{track.env}, {track.track}: score at the end, %", title_justify="left")
        for name in header[:_SHOWN]:
            table.add_column(name, no_wrap=True)
        for row in rows:
            table.add_row(*row[:_SHOWN])
        console.print(table)
    console.print(f"results: {out}; a report with curves: nas-gym bench report {out}", markup=False, soft_wrap=True)


def _pairs(pairs: list[str], option: str) -> dict[str, Any]:
    from nas_gym.cli import parse_pairs

    return parse_pairs(pairs, option)


def _settings(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """Return ``AGENT.NAME=VALUE`` pairs as settings by agent."""
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        agent, dot, rest = pair.partition("=")[0].rpartition(".")
        if not dot or not agent or not rest:
            raise ConfigurationError(f"--agent-arg takes AGENT.NAME=VALUE, got {pair!r}")
        new = _pairs([pair[len(agent) + 1 :]], "--agent-arg")
        mine = found.setdefault(agent, {})
        if set(mine) & set(new):
            raise ConfigurationError(f"--agent-arg takes every setting of an agent once, got {pair!r} again")
        mine.update(new)
    return found


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar while a benchmark runs; yields a function of pieces done and pieces in all, or None."""
    if not errors.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.completed} of {task.total} pieces"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=errors) as progress:
        bar = progress.add_task("bench", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
