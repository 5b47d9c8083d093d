"""``nas-gym export`` and ``nas-gym predict``: from a run to files that run elsewhere, and what these say of images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas_gym.commands import JsonOption, errors, reporting
from nas_gym.errors import ExportError

if TYPE_CHECKING:
    from nas_gym.winner.exporting import RunExport
    from nas_gym.winner.forms import Format


def export(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    formats: Annotated[
        str, typer.Option("--format", help="onnx, torch or both, parted by a comma; torch is torch.export's .pt2.")
    ] = "onnx,torch",
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="RUN/export")] = None,
    data_licence: Annotated[
        str | None, typer.Option(help="Licence of the data, for the model card.", show_default="that of a known set")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the best network of a run as a model that runs elsewhere, with a model card and predict.py beside it."""
    with reporting():
        from nas_gym.winner.exporting import export_run

        wanted = cast("list[Format]", [name.strip() for name in formats.split(",") if name.strip()])
        written = export_run(run, formats=wanted, out=out, data_licence=data_licence)
        if written.note:
            errors.print(f"note: {written.note}", markup=False)
        if as_json:
            print(json.dumps({"run_dir": str(run), **written.to_json()}))
        else:
            _print(written)


def predict(
    model: Annotated[Path, typer.Argument(help="The .onnx file that nas-gym export wrote.", show_default=False)],
    files: Annotated[
        list[str], typer.Argument(help="PNG, JPEG and .npy files, folders, patterns.", show_default=False)
    ],
    top: Annotated[int, typer.Option(help="Classes to tell for every image.")] = 3,
    resize: Annotated[bool, typer.Option("--resize", help="Scale images of another size instead of refusing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what an exported model sees in images."""
    with reporting():
        from nas_gym.winner import predict as predicting

        try:
            loaded = predicting.Model(model)
            predictions = predicting.predict_files(loaded, files, top=top, resize=resize)
        except predicting.PredictionError as error:
            raise ExportError(str(error)) from None
        told = predicting.as_json(loaded, predictions)
        print(json.dumps(told) if as_json else predicting.as_table(predictions))


def _print(written: "RunExport") -> None:
    table = Table("file", "size", "differs from PyTorch by", "accuracy", "compared on")
    for one in written.exported:
        found = one.comparison
        accuracy = "" if found.accuracy is None else f"{found.accuracy:.4f}"
        table.add_row(
            escape(one.path.name),
            f"{one.size_bytes:,} bytes",
            f"{found.difference:.1e}",
            accuracy,
            escape(found.source),
        )
    console = Console(highlight=False, emoji=False)
    console.print(table)
    beside = ", ".join(file.name for file in written.files if file not in {one.path for one in written.exported})
    console.print(f"in {written.folder}, with {beside}", markup=False, soft_wrap=True)
    if any(one.format == "onnx" for one in written.exported):
        console.print(f"try it: nas-gym predict {written.folder / 'model.onnx'} IMAGES", markup=False, soft_wrap=True)
