"""The model card beside an exported model: what it is, how good, what it must not be trusted with, how it was made.

Its headings follow Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993), as far as a search knows
the answers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_gym import standard_error
from nas_gym.drawing import architecture_table
from nas_gym.statistics import Estimate
from nas_gym.winner.facts import Facts
from nas_gym.winner.intervals import macro_f1_interval, wilson_interval
from nas_gym.winner.licences import licence_in_words
from nas_gym.winner.reproduction import retrain_command, search_command

if TYPE_CHECKING:
    from nas_gym.winner.export import Exported
    from nas_gym.winner.result import Winner

PICTURE = "network.png"
_MOST_CLASSES = 100  # that are named
Row = tuple[str, str, str, str]

_READING = (
    "`predict.py` reads PNG, JPEG, BMP, WebP and `.npy` (uint8, or floats in 0..255 or 0..1). Colours become grey "
    "by the weights 0.299, 0.587 and 0.114, grey becomes colour by repetition, transparency is dropped. An image of "
    "another size is refused, or with `--resize` scaled bilinearly, whatever its proportions. The rotation that "
    "cameras note beside the pixels (EXIF) is not applied."
)
_INTERVALS = (
    "Intervals of accuracies are Wilson's (1927; Brown, Cai and DasGupta 2001), those of macro-F1 percentile "
    "bootstrap intervals over the images (Efron and Tibshirani 1993). They say how far a number may lie from that "
    "on all images of the same kind. They do not cover another training of the same network, nor images of another "
    "kind."
)


@dataclass(frozen=True, eq=False)
class Card:
    """All that a model card is written from.

    Attributes:
        facts: As the exported files hold them.
        winner: The network.
        exported: What was exported.
        split_sizes: Images of the search's training, validation and test split; None where they can't be had.
        test_images: Images of the test split that the test accuracy was measured on; None where that is not known.
        account: What moved the controller to the network, in words.
        run: Content of ``run.json``.
        data_licence: As the user states it; None: not at all.
    """

    facts: Facts
    winner: "Winner"
    exported: Sequence["Exported"]
    split_sizes: Mapping[str, int] | None
    test_images: int | None
    account: Sequence[str]
    run: Mapping[str, Any]
    data_licence: str | None = None


def model_card(card: Card) -> str:
    """Return the card as Markdown."""
    parts = (_head(card), _use(card), _data(card), _metrics(card), _network(card), _policy(card))
    lines = [line for part in (*parts, _limits(card), _reproduction(card)) for line in (*part, "")]
    return "\n".join(lines)


def _head(card: Card) -> list[str]:
    facts, names = card.facts, card.facts.class_names
    shown = ", ".join(map(_code, names[:_MOST_CLASSES])) + (", …" if len(names) > _MOST_CLASSES else "")
    trained = "trained for long after it" if card.winner.retrained else "trained as shortly as a search trains"
    lines = [
        f"# Model card: {facts.dataset or 'an image classifier'}, {len(names)} classes",
        "",
        f"An image classifier, designed by a search and {trained}. It takes one image ({facts.size}) and "
        f"tells a probability for each of {len(names)} classes: {shown}.",
        "",
        "| file | size | largest difference from PyTorch (logits; probabilities) | compared on |",
        "| --- | --: | --: | --- |",
    ]
    for one in card.exported:
        found = one.comparison
        numbers = f"{found.logits:.1e}; {found.probabilities:.1e}"
        lines.append(f"| `{one.path.name}` | {one.size_bytes:,} bytes | {numbers} | {found.source} |")
    return lines


def _use(card: Card) -> list[str]:
    (channels, height, width), n_classes = card.facts.input_shape, len(card.facts.class_names)
    made = {one.format: one.path.name for one in card.exported}
    lines = ["## Use", ""]
    if "onnx" in made:
        lines += ["With numpy, pillow and onnxruntime, and nothing of nas-gym:", ""]
        lines += [f"    python predict.py {made['onnx']} photo.jpg folder/ arrays.npy", ""]
    if "torch" in made:
        lines += ["With torch, in Python:", "", f'    torch.export.load("{made["torch"]}").module()(pixels)', ""]
    lines += [
        f"The input `pixels` is float32 in 0..255 of shape (n, {channels}, {height}, {width}), the outputs `logits` "
        f"and `probabilities` are (n, {n_classes}). Normalisation happens inside the model; class names and all else "
        "that is known of it are in the file, as JSON: in ONNX's metadata under `nas_gym`, in the .pt2 as "
        "`nas_gym.json`.",
    ]
    return lines + (["", _READING] if "onnx" in made else [])


def _data(card: Card) -> list[str]:
    sizes, more = card.split_sizes, card.winner.content.get("data") or {}
    lines = ["## Data", "", f"* Name: {_code(card.facts.dataset) if card.facts.dataset else 'not known'}"]
    if sizes:
        told = ", ".join(f"{n:,} {name}" for name, n in sizes.items())
        lines.append(f"* Images of the search: {told}")
    if more.get("training_images"):
        lines.append(
            f"* Images of the final training: {more['training_images']:,}; test images: {more['test_images']:,}"
        )
    lines += [f"* More images from {_code(source['source'])}" for source in more.get("also") or ()]
    lines.append(f"* Licence of the data: {licence_in_words(card.facts.dataset, card.data_licence)}")
    return lines


def _metrics(card: Card) -> list[str]:
    rows: list[Row] = [*_of_training(card), *(row for one in card.exported for row in _of_file(one))]
    lines = ["## How good it is", "", "| what | value | 95 % interval | measured on |", "| --- | --: | --: | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    if not rows:
        return ["## How good it is", "", "Nothing has been measured."]
    return [*lines, "", _INTERVALS, *_touches(card.winner.content)]


def _of_training(card: Card) -> list[Row]:
    found, n = card.winner.metrics, card.test_images
    rows: list[Row] = []
    names = (("test_accuracy", "accuracy"), ("plain_accuracy", "accuracy, without mirrored images"))
    for name, words in names:
        value = found.get(name)
        if value is None or (name == "plain_accuracy" and value == found.get("test_accuracy")):
            continue
        if name == "test_accuracy" and found.get("plain_accuracy", value) != value:
            words += ", mean with mirrored images (not what these files compute)"
        measured = f"{n:,} test images" if n else "test images"
        rows.append((words, f"{value:.4f}", _interval(wilson_interval(value, n)) if n else "not known", measured))
    rows += _over_seeds(card.winner.content)
    confusion = found.get("confusion_matrix") or card.winner.content.get("confusion_matrix")
    if found.get("macro_f1") is not None:
        interval = _interval(macro_f1_interval(confusion)) if confusion else "not known"
        rows.append(("macro-F1", f"{found['macro_f1']:.4f}", interval, "the same"))
    if found.get("calibration_error") is not None:
        rows.append(("expected calibration error", f"{found['calibration_error']:.4f}", "none", "the same"))
    if found.get("validation_accuracy") is not None:
        shown = standard_error.shown(found["validation_accuracy"], found.get("validation_standard_error"))
        what = "accuracy by which it was chosen (± standard error; optimistic: it is the best of many)"
        rows.append((what, shown, "see ±", "validation images, as searched"))
    return rows


def _over_seeds(content: Mapping[str, Any]) -> list[Row]:
    """Return what several trainings of the network reached; nothing of a single one."""
    spread = (content.get("over_seeds") or {}).get("test_accuracy") or {}
    if spread.get("n", 1) < 2 or spread.get("sd") is None:
        return []
    shown = f"{spread['mean']:.4f} ± {spread['sd']:.4f}"
    return [
        (f"accuracy of {spread['n']} trainings (± standard deviation; this is the first)", shown, "see ±", "the same")
    ]


def _touches(content: Mapping[str, Any]) -> list[str]:
    """Return how often test images were measured: every choice made after it makes the numbers optimistic."""
    touched = content.get("test_touches")
    if not touched:
        return []
    by_search = "once by the search and " if touched.get("by_the_search") else ""
    n = touched.get("by_retrainings", 1)
    times = "once by the final training" if n == 1 else f"by {n} final trainings, one after the other"
    return ["", f"Test images were measured {by_search}{times}; nothing was chosen by them within a training."]


def _of_file(one: "Exported") -> Iterable[Row]:
    found = one.comparison
    if found.accuracy is None:
        return
    interval = _interval(wilson_interval(found.accuracy, found.samples))
    yield f"accuracy of `{one.path.name}` itself", f"{found.accuracy:.4f}", interval, found.source
    if found.confusion is not None:
        score = macro_f1_interval(found.confusion)
        yield f"macro-F1 of `{one.path.name}` itself", f"{score.value:.4f}", _interval(score), found.source


def _interval(found: Estimate) -> str:
    return f"{found.low:.4f} to {found.high:.4f}"


def _network(card: Card) -> list[str]:
    architecture = card.winner.candidate.trained
    return [
        "## The network",
        "",
        f"![The network, block by block]({PICTURE})",
        "",
        f"{architecture.parameters:,} parameters, {architecture.macs:,} multiply-accumulates for one image. Key: "
        f"`{card.facts.key}`.",
        "",
        "<details><summary>All operations</summary>",
        "",
        architecture_table(architecture),
        "",
        "</details>",
    ]


def _policy(card: Card) -> list[str]:
    settings = card.run["settings"]
    return [
        "## What the policy computed",
        "",
        f"The network was decided by the agent {_code(settings['agent'])} in {_code(settings['env'])}, seed "
        f"{settings['seed']}. What follows tells what its policy, where it has one, computed at each decision, from "
        "what was recorded when it decided. It does not say why the network is good.",
        "",
        *(f"* {paragraph}" for paragraph in card.account),
    ]


def _limits(card: Card) -> list[str]:
    facts = card.facts
    lines = [
        "## Limits",
        "",
        f"* It knows {len(facts.class_names)} classes and always names one of them, whatever the image shows.",
        "* It was measured on images that were drawn like its training images. Other cameras, light, backgrounds or "
        "people were not tried, and neither were noise, attacks, or differences between groups of people.",
        f"* It sees {facts.size}. Larger images are scaled to that first, and what is then too small to see is lost.",
    ]
    if card.winner.metrics.get("calibration_error") is None:
        lines.append("* Its probabilities were not checked for calibration: 0.9 need not mean right nine times in ten.")
    if not card.winner.retrained:
        lines.append(
            "* Its training was the short one by which the search compares networks; `nas-gym retrain` trains it for "
            "long."
        )
    lines.append("* Nothing about it was tested for use where a mistake can hurt somebody.")
    return lines


def _reproduction(card: Card) -> list[str]:
    run = card.run
    command = search_command(run["settings"])
    commands = [command] if command else []
    request = card.winner.content.get("request")
    if request:
        commands.append(retrain_command(request))
    commands.append(f"nas-gym export RUN --format {','.join(one.format for one in card.exported)}")
    versions = ", ".join(f"{name} {version}" for name, version in (run.get("versions") or {}).items())
    hardware = ", ".join(f"{name} {value}" for name, value in (run.get("hardware") or {}).items())
    lines = ["## How to reproduce it", ""]
    if not command:
        lines += ["No command has all settings of this search; `nas_gym_agents.runner.search` takes them:", ""]
        lines += [f"    {json.dumps(run['settings'])}", ""]
    lines += [f"    {line}" for line in commands]
    lines += [
        "",
        f"Versions of the search: {versions or 'not known'}. Hardware: {hardware or 'not known'}. Settings: "
        f"`{run['settings_hash']}`. On one kind of CPU with these versions the same commands give the same network and "
        "the same weights, unless a time limit or a time budget decided something.",
    ]
    return lines


def _code(text: object) -> str:
    """Return a text as Markdown's code, whatever letters it has; on one line and without bars, for tables."""
    plain = str(text).replace("`", "'").replace("|", "¦").replace("\n", " ")
    return f"`{plain}`"
