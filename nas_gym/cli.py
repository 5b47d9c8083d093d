"""The command line: ``nas-gym``.

Heavy packages are imported inside the commands, so that ``nas-gym --help`` answers at once. Results go to standard
output; progress, hints and errors to standard error. Exit codes: 0 done, 2 the user's mistake, 1 ours, 130 interrupted.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nas_gym.bench_commands import bench_app, validate
from nas_gym.commands import JsonOption, errors, reporting
from nas_gym.compress_commands import compress
from nas_gym.errors import ConfigurationError
from nas_gym.explain_commands import explain
from nas_gym.export_commands import export, predict
from nas_gym.finish_commands import finish
from nas_gym.inspect_commands import inspect
from nas_gym.report_commands import report
from nas_gym.table_commands import table_app
from nas_gym.tensorboard.command import tensorboard
from nas_gym.tune_commands import tune
from nas_gym.winner_commands import retrain

app = typer.Typer(
    help="Neural architecture search as a Gymnasium environment, with every decision explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(table_app, name="table")
app.add_typer(bench_app, name="bench")
app.command()(validate)
app.command()(explain)
app.command()(tensorboard)
app.command()(report)
app.command()(tune)
app.command()(retrain)
app.command()(inspect)
app.command()(compress)
app.command()(export)
app.command()(predict)
app.command()(finish)
DEFAULT_RUNS = Path("runs")
SPINS = "10000"  # rounds, some ten microseconds

RunArgument = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]


def main() -> None:
    """Run the command line."""
    _share_processors()
    app()


def _share_processors() -> None:
    """Let threads that wait for each other go to sleep soon; OpenMP reads this when torch is loaded.

    By default GNU OpenMP lets them wait awake for milliseconds. Where another program wants the same processors, each
    step of a training waits for threads that wait (``scripts/bench_sharing.py`` measures it). Whoever has chosen a
    policy keeps it.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


@app.command()
def search(
    env: Annotated[str, typer.Option(help="Environment id; see nas-gym envs.")] = "nas_gym/Chain-Digits-v0",
    env_arg: Annotated[
        list[str] | None, typer.Option(help="Argument of the environment, NAME=VALUE; repeatable.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets are.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torchvision download the data set.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    agent: Annotated[str, typer.Option(help="Agent; see nas-gym agents.")] = "maskable-ppo",
    agent_arg: Annotated[list[str] | None, typer.Option(help="Setting of the agent, NAME=VALUE; repeatable.")] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Budget in evaluations, repeats included; 256 without any budget.")
    ] = None,
    unique: Annotated[int | None, typer.Option(help="Budget in distinct candidates.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the agent.")] = 0,
    run_dir: Annotated[
        Path | None, typer.Option(help="Run directory; by default a new one under runs/.", show_default=False)
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Database URL or SQLite file of results that searches share.")
    ] = None,
    warm_start: Annotated[
        Path | None,
        typer.Option(help="A run whose policy (ppo, maskable-ppo) or evaluations (model-ppo) to begin with."),
    ] = None,
    explain: Annotated[
        str, typer.Option(help="Which decisions get attributions: all, none, or as many as fit: budget.")
    ] = "budget",
    explain_share: Annotated[float, typer.Option(help="Share of the search's time that budget may take.")] = 0.05,
    workers: Annotated[
        str, typer.Option(help="Trainings at once: a number of worker processes, or ray; 1 trains in this process.")
    ] = "1",
    threads_per_worker: Annotated[
        int | None, typer.Option(help="CPU threads of one training; part of its recipe.", show_default="by its size")
    ] = None,
    trainings_per_gpu: Annotated[int, typer.Option(help="Worker processes that share one GPU.")] = 1,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds one training may take.", show_default="no limit")
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option(help="MB of memory one training may take.", show_default="no limit")
    ] = None,
    ray_address: Annotated[str, typer.Option(help="Of the Ray cluster, with --workers ray.")] = "auto",
    cpus_per_training: Annotated[float, typer.Option(help="What a training asks of Ray.")] = 1.0,
    gpus_per_training: Annotated[float, typer.Option(help="What a training asks of Ray, such as 0.25.")] = 0.0,
    confirm: Annotated[
        int, typer.Option(help="Best networks to train again before one is named; beyond the budget.")
    ] = 3,
    confirm_repeats: Annotated[int, typer.Option(help="How often each of them.")] = 2,
    wandb: Annotated[
        str | None, typer.Option(help="Also tell Weights & Biases, in this project; the extra nas-gym[wandb].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search: build, train and explain networks until the budget is spent."""
    with reporting():
        from nas_gym_agents.explanation_budget import check_explain
        from nas_gym_agents.settings import SearchSettings, absolute_paths
        from nas_gym_agents.workers import Workers, hang_limit

        env_args = parse_pairs(env_arg or [], "--env-arg")
        if data_root is not None:
            env_args["data_root"] = str(data_root)
        if download:
            env_args["download"] = True
        if device != "auto":
            env_args["device"] = device
        if threads_per_worker is not None:
            env_args["threads"] = threads_per_worker
        if time_limit is not None:
            env_args["time_limit_seconds"] = time_limit
        placed = Workers(
            workers=workers,
            trainings_per_gpu=trainings_per_gpu,
            memory_limit_mb=memory_limit,
            time_limit_seconds=hang_limit(time_limit) if workers not in ("1", "ray") else None,
            ray_address=ray_address,
            cpus_per_training=cpus_per_training,
            gpus_per_training=gpus_per_training,
        )
        if evaluations is None and unique is None:
            evaluations = 256
        settings = SearchSettings(
            env=env,
            env_args=absolute_paths(env_args),
            agent=agent,
            agent_args=parse_pairs(agent_arg or [], "--agent-arg"),
            evaluations=evaluations,
            unique=unique,
            seed=seed,
            explain=check_explain(explain),
            explain_share=explain_share,
            store=store,
            confirm=confirm,
            confirm_repeats=confirm_repeats,
            warm_start=None if warm_start is None else str(warm_start),
        )
        place = run_dir if run_dir is not None else _free_place(f"{env.split('/')[-1]}-{agent}-seed{seed}")
    with reporting(resume=place):
        from nas_gym import progress
        from nas_gym_agents import runner
        from nas_gym_agents.wandb_writer import Wandb

        def begun(advice: str) -> None:
            errors.print(f"searching {env} with {agent}; run directory {place}", markup=False)
            if advice:
                errors.print(advice, markup=False)

        with progress.shown(errors) as watch:
            told = None if wandb is None else Wandb(wandb, _tell)
            summary = runner.search(settings, place, workers=placed, watch=watch, begun=begun, wandb=told)
        _report(place, summary, as_json)


@app.command()
def resume(
    run: RunArgument,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed trainings again.")] = False,
    workers: Annotated[
        str | None, typer.Option(help="Trainings at once, as in search.", show_default="as before")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a search that was stopped or killed, to the same result."""
    with reporting(resume=run):
        from nas_gym import progress
        from nas_gym_agents import runner

        with progress.shown(errors) as watch:
            placed = None if workers is None else runner.placed_again(run, workers)
            summary = runner.resume(run, workers=placed, watch=watch, retry_failed=retry_failed, tell=_tell)
        _report(run, summary, as_json)


@app.command()
def show(
    run: RunArgument,
    top: Annotated[int, typer.Option(help="How many networks.", min=1)] = 5,
    pareto: Annotated[
        str | None,
        typer.Option(help="Also the Pareto front of accuracy and this: parameters, macs or latency_ms."),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw that front into a file (.png, .svg, .pdf).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the best networks of a run, and what moved the controller at each decision of the best one."""
    with reporting():
        import nas_gym
        from nas_gym import reports

        loaded = nas_gym.load(run)
        if figure is not None:
            reports.draw_front(loaded, pareto, figure)
        if as_json:
            print(json.dumps(reports.run_as_json(loaded, top, pareto)))
        else:
            reports.print_run(loaded, top, Console(highlight=False, emoji=False), pareto)


@app.command()
def sample(
    run: RunArgument,
    n: Annotated[int, typer.Option("-n", "--number", help="How many architectures.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw architectures from the saved policy of a run, without training them."""
    with reporting():
        from nas_gym import reports
        from nas_gym_agents.sampling import sample_policy

        drawn = sample_policy(run, n, seed=seed)
        if as_json:
            print(json.dumps({"run_dir": str(run), "seed": seed, "architectures": drawn}))
        else:
            reports.print_samples(drawn, Console(highlight=False, emoji=False))


@app.command()
def envs(as_json: JsonOption = False) -> None:
    """List the environment ids."""
    with reporting():
        from nas_gym import reports
        from nas_gym_envs.presets import described

        reports.print_rows(described(), Console(highlight=False, emoji=False), as_json, "environments")


@app.command()
def agents(as_json: JsonOption = False) -> None:
    """List the agents and their settings."""
    with reporting():
        from nas_gym import reports
        from nas_gym_agents.registry import described

        reports.print_rows(described(), Console(highlight=False, emoji=False), as_json, "agents")


@app.command()
def doctor(
    data_root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets are.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, devices and the data found on this machine."""
    with reporting():
        from nas_gym import reports

        reports.print_doctor(Console(highlight=False, emoji=False), data_root, as_json)


def parse_pairs(pairs: list[str], option: str) -> dict[str, Any]:
    """Return ``NAME=VALUE`` pairs as a dict; a value that is JSON (a number, true, a list) becomes what it says.

    Raises:
        ConfigurationError: A pair has no ``=`` or no name, or a name comes twice.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or name in parsed:
            raise ConfigurationError(f"{option} takes NAME=VALUE, each name once, got {pair!r}")
        try:
            parsed[name] = json.loads(text)
        except ValueError:
            parsed[name] = text
    return parsed


def _tell(sentence: str) -> None:
    errors.print(sentence, markup=False)


def _free_place(name: str) -> Path:
    place, number = DEFAULT_RUNS / name, 1
    while place.exists():
        number += 1
        place = DEFAULT_RUNS / f"{name}-{number}"
    return place


def _report(run_dir: Path, summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    import nas_gym
    from nas_gym import reports

    reports.print_end(nas_gym.load(run_dir), summary, Console(highlight=False, emoji=False))
