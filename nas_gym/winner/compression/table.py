"""The variants as a table: Markdown, CSV, and on a terminal."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Content = Mapping[str, Any]
_SHORT = (
    "variant",
    "test accuracy (95 %)",
    "lost",
    "size",
    "× smaller",
    "parameters",
    "MACs",
    "batch 1",
    "× faster",
    "batch 64",
)
_CSV = (
    *("name", "kind", "numbers", "ratio", "parameters", "macs", "size_bytes", "times_smaller"),
    *("validation_accuracy", "validation_images", "points_expected_to_lose"),
    *("test_accuracy", "test_low", "test_high", "test_images", "points_lost_test"),
    *("batch_1_median_ms", "batch_1_q1_ms", "batch_1_q3_ms", "batch_1_passes", "batch_1_times_faster"),
    *("batch_64_median_ms", "batch_64_q1_ms", "batch_64_q3_ms", "batch_64_passes", "batch_64_times_faster"),
    *("difference", "tolerance", "same_class", "epochs", "seconds", "chosen"),
)

_SEEN = (
    ", on which the winner was trained and the others were not: these are compared with what its retraining told of "
    "unseen images"
)


def markdown(content: Content) -> str:
    """Return the variants as a page of Markdown, with what the numbers are and which variants were chosen."""
    rows = [_cells(row) for row in content["variants"]]
    lines = ["# Compressed forms of the winner", ""]
    lines += [f"| {' | '.join(cells)} |" for cells in (_SHORT, ["---", *["---:"] * (len(_SHORT) - 1)], *rows)]
    lines += ["", *(f"{sentence}\n" for sentence in sentences(content))]
    return "\n".join(lines).rstrip() + "\n"


def as_csv(content: Content) -> str:
    """Return the variants as CSV, a line each, with all digits."""
    file = io.StringIO()
    writer = csv.DictWriter(file, _CSV, lineterminator="\n")
    writer.writeheader()
    for row in content["variants"]:
        flat = {name: row[name] for name in _CSV if name in row}
        flat |= {"test_low": row["test_interval"][0], "test_high": row["test_interval"][1]}
        for batch, one in row["latency"].items():
            numbers = (one["median_ms"], one["low_ms"], one["high_ms"], one["passes"], row["times_faster"][batch])
            names = ("median_ms", "q1_ms", "q3_ms", "passes", "times_faster")
            flat |= {f"batch_{batch}_{name}": number for name, number in zip(names, numbers, strict=True)}
        flat["chosen"] = " ".join(name for name, best in content["chosen"].items() if best == row["name"])
        writer.writerow(flat)
    return file.getvalue()


def terminal(content: Content) -> "Table":
    """Return the variants as a table for a terminal of 80 columns; quartiles and all digits are in the files."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, collapse_padding=True)
    for name in ("variant", "test %", "95 %", "kB", "params", "MACs", "ms (1)", "faster", "ms (64)"):
        table.add_column(name, justify="left" if name == "variant" else "right", no_wrap=True)
    for row in content["variants"]:
        best = row["name"] in content["chosen"].values()
        (low, high), latency = row["test_interval"], row["latency"]
        cells = (
            *(row["name"], f"{100 * row['test_accuracy']:.2f}", f"{100 * low:.1f}–{100 * high:.1f}"),
            *(f"{row['size_bytes'] / 1000:,.0f}", _brief(row["parameters"]), _brief(row["macs"])),
            *(f"{latency['1']['median_ms']:.3f}", f"{row['times_faster']['1']:.2f}×"),
            f"{latency['64']['median_ms']:.2f}",
        )
        table.add_row(*cells, style="bold" if best else "")
    return table


def sentences(content: Content) -> list[str]:
    """Return what was chosen and what the numbers are, in words."""
    rows = {row["name"]: row for row in content["variants"]}
    first, request = content["variants"][0], content["request"]
    told = [_choice(name, rows[best], request["points"]) for name, best in content["chosen"].items()]
    threads = f"{request['threads']} thread" + ("s" if request["threads"] > 1 else "")
    return [
        *told,
        f"Chosen by {first['validation_images']:,} validation images"
        + (_SEEN if content["winner"]["retrained"] else "")
        + f"; the {first['test_images']:,} test images were measured once, for all variants, and chose none.",
        "Intervals are Wilson's, 95 %. Lost: points of test accuracy. Times are milliseconds of one pass in ONNX "
        f"Runtime {content['versions']['onnxruntime']} on the CPU ({threads}), median and quartiles, "
        "all variants in turns.",
        *(f"Left out: {one['name']}: {one['why']}." for one in content["refused"]),
        *(f"Note: {note}." for note in content["plan"]["notes"]),
        *_advice(content["plan"]["advice"]),
    ]


def _choice(what: str, row: Mapping[str, Any], points: float) -> str:
    faster = row["times_faster"]["1"]
    return (
        f"The {what} one that is expected to lose at most {points:g} point{'' if points == 1 else 's'} is "
        f"{row['name']}: {row['times_smaller']:.1f} times smaller, {faster:.2f} times as fast at batch 1, test "
        f"accuracy {row['test_accuracy']:.4f} ({signed(-row['points_lost_test'])} points)."
    )


def _advice(advice: Mapping[str, Any] | None) -> list[str]:
    if advice is None:
        return []
    worth = [
        f"{'+'.join(map(str, group['layers']))}: {100 * lost:.1f}"
        for group, lost in zip(advice["groups"], advice["lost"], strict=True)
    ]
    return [f"Layers were pruned less the more they matter, in points of {advice['source']}: {'; '.join(worth)}."]


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    low, high = row["test_interval"]
    one, many = row["latency"]["1"], row["latency"]["64"]
    return (
        row["name"],
        f"{row['test_accuracy']:.4f} ({low:.4f}–{high:.4f})",
        f"{row['points_lost_test']:.2f}",
        f"{row['size_bytes']:,}",
        f"{row['times_smaller']:.1f}",
        f"{row['parameters']:,}",
        f"{row['macs']:,}",
        f"{one['median_ms']:.3f} ({one['low_ms']:.3f}–{one['high_ms']:.3f})",
        f"{row['times_faster']['1']:.2f}",
        f"{many['median_ms']:.2f} ({many['low_ms']:.2f}–{many['high_ms']:.2f})",
    )


def signed(value: float, digits: int = 2) -> str:
    """Return a change with its sign, such as ``+0.12``, ``−0.30`` or ``±0.00``."""
    text = f"{value:+.{digits}f}"
    return f"±{text[1:]}" if float(text) == 0 else text.replace("-", "−")


def _brief(value: int) -> str:
    """Return a number in three digits, such as ``86.9k``."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}" if value < 999.5 * unit else f"{value / unit:,.0f}{name}"
    return str(value)
