"""``nas-gym table``: import benchmark tables, list and describe them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting
from nas_gym.errors import ConfigurationError

if TYPE_CHECKING:
    from nas_gym.tables.importing import Decision, Layout

table_app = typer.Typer(
    help="Benchmark tables: searches without a training.", no_args_is_help=True, pretty_exceptions_enable=False
)
Many = list[str] | None


@table_app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="A NATS-Bench directory, a .pth of NAS-Bench-201, a .json of NAS-Bench-Macro, a .csv or .parquet.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the table.", show_default="the benchmark's, or the file's")] = "",
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="NAME.parquet among the user's tables")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Of an official file, which has several: cifar10, cifar100, ImageNet16-120.")
    ] = "cifar10",
    decision: Annotated[Many, typer.Option(help="COLUMN or SLOT=COLUMN that decides something; repeatable.")] = None,
    choices: Annotated[
        Many, typer.Option(help="COLUMN=a,b,c: its values in order; COLUMN=0:a,1:b gives them names.")
    ] = None,
    reward: Annotated[
        Many, typer.Option(help="FIDELITY=COLUMN[,COLUMN…]: accuracy at a fidelity such as full or epochs=12.")
    ] = None,
    score: Annotated[Many, typer.Option(help="NAME=EXPR: how an answer is scored, such as test=0.5*a+0.5*b.")] = None,
    cost: Annotated[Many, typer.Option(help="FIDELITY=EXPR: seconds of a query.")] = None,
    device: Annotated[Many, typer.Option(help="NAME=COLUMN: milliseconds on a device.")] = None,
    devices: Annotated[
        Path | None, typer.Option(help="A CSV or Parquet with an index column; every other one is a device.")
    ] = None,
    parameters: Annotated[str, typer.Option(help="Column of trainable parameters.")] = "",
    macs: Annotated[str, typer.Option(help="Column of multiply-accumulates.")] = "",
    kind: Annotated[str, typer.Option(help="Of the space: categorical, or nasbench201 for all its cells.")] = "",
    percent: Annotated[bool, typer.Option("--percent/--fraction", help="Accuracies in percent, or in [0, 1].")] = True,
    as_json: JsonOption = False,
) -> None:
    """Make a table of the files that a benchmark's authors publish, or of any file by naming its columns."""
    with reporting():
        from nas_gym import progress
        from nas_gym.tables.importing import import_table, save_table

        layout = _layout(
            decisions=_decisions(decision or [], choices or []),
            rewards={f: tuple(columns.split(",")) for f, columns in _pairs(reward, "--reward").items()},
            scores=_pairs(score, "--score"),
            costs=_pairs(cost, "--cost"),
            devices=_pairs(device, "--device"),
            parameters=parameters,
            macs=macs,
            kind=kind,
            percent=percent,
        )
        with progress.of_files(errors) as watch:
            table = import_table(source, name=name, dataset=dataset, layout=layout, devices=devices, watch=watch)
        path = save_table(table, out)
        told = {"name": table.name, "path": str(path), "rows": len(table), "kind": table.kind}
        if as_json:
            print(json.dumps(told | {"fidelities": list(table.accuracies), "scores": list(table.scores)}))
            return
        of = table.facts.get("of")
        rows = f"{len(table):,} rows" + (f" of {of:,}, for the others are not there" if of and of > len(table) else "")
        console = Console(highlight=False, emoji=False, soft_wrap=True)
        console.print(f"the table {table.name}: {rows}, {path.stat().st_size / 1e6:.2f} MB in {path}", markup=False)
        # A file elsewhere is named by its path.
        console.print(f"look at it with: nas-gym table describe {path if out else table.name}", markup=False)


@table_app.command()
def describe(
    table: Annotated[str, typer.Argument(help="Name or path of a table.")] = "fashion-chain",
    as_json: JsonOption = False,
) -> None:
    """Describe a table: its size, its optimum, its noise, what goes with what."""
    with reporting():
        from nas_gym.tables import load_benchmark
        from nas_gym.tables.describing import description, print_description

        told = description(load_benchmark(table))
        if as_json:
            print(json.dumps(told))
        else:
            print_description(told, Console(highlight=False, emoji=False))


@table_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the tables there are: the shipped one and the imported ones."""
    with reporting():
        from nas_gym import reports
        from nas_gym.tables.describing import known_tables

        reports.print_rows(known_tables(), Console(highlight=False, emoji=False), as_json, "tables")


def _layout(
    *,
    decisions: "tuple[Decision, ...]",
    rewards: dict[str, tuple[str, ...]],
    scores: dict[str, str],
    costs: dict[str, str],
    devices: dict[str, str],
    parameters: str,
    macs: str,
    kind: str,
    percent: bool,
) -> "Layout | None":
    """Return what the options say of the columns; None where they say nothing."""
    from nas_gym.tables.importing import Layout

    if not (decisions or rewards or scores or costs or devices or parameters or macs or kind) and percent:
        return None
    return Layout(
        decisions=decisions,
        rewards=rewards,
        scores=scores,
        costs=costs,
        devices=devices,
        parameters=parameters,
        macs=macs,
        kind=kind or "categorical",
        percent=percent,
    )


def _decisions(decisions: Sequence[str], choices: Sequence[str]) -> "tuple[Decision, ...]":
    from nas_gym.tables.importing import Decision

    given = _pairs(choices, "--choices")
    found = []
    for text in decisions:
        slot, _, column = text.rpartition("=")
        parts = [part.partition(":") for part in given.pop(column, "").split(",")] if column in given else []
        values = tuple(value for value, _, _ in parts)
        labels = tuple(label or value for value, _, label in parts)
        if len(set(values)) < len(values):
            raise ConfigurationError(f"the choices of {column!r} must differ, got {', '.join(values)}")
        found.append(Decision(column, slot, values, labels))
    if given:
        raise ConfigurationError(f"--choices names {', '.join(given)}, which no --decision does")
    return tuple(found)


def _pairs(pairs: Sequence[str] | None, option: str) -> dict[str, str]:
    """Return ``NAME=VALUE`` pairs; a name may have equals signs of its own, as ``epochs=12`` has."""
    parsed: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.rpartition("=")
        if not equals or not name or not value or name in parsed:
            raise ConfigurationError(f"{option} takes NAME=VALUE, each name once, got {pair!r}")
        parsed[name] = value
    return parsed
