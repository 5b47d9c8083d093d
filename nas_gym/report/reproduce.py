"""How to get the same run again: the command, the versions, the files."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_gym.document import Code, Heading, Rows
from nas_gym.report.material import Material
from nas_gym.report.section import Page, Section
from nas_gym.run_directory import (
    CHECKPOINTS,
    DECISIONS,
    EXPLANATIONS,
    FIGURES,
    HISTORY,
    POLICY,
    RESULTS,
    RUN_FILE,
    TENSORBOARD,
    WEIGHTS,
)

TITLE = "How to reproduce it"
FILES = {
    RUN_FILE: "settings and their hash, versions, hardware, result",
    RESULTS: "every evaluation with its candidate (SQLite)",
    HISTORY: "one line per episode: decisions, key, status, reward",
    DECISIONS: "every decision, with probabilities and attributions (Parquet)",
    EXPLANATIONS: "what was computed afterwards: checks, credit, importance",
    TENSORBOARD: "event files: `tensorboard --logdir`",
    WEIGHTS: "the best networks: candidate, evaluation, weights",
    POLICY: "the controller, as stable-baselines3 saves it",
    CHECKPOINTS: "trainings that successive halving may go on with",
    FIGURES: "pictures of the best network",
    "wandb": "what Weights & Biases was told",
}
_WORKERS = {
    "workers": ("--workers", "1"),
    "trainings_per_gpu": ("--trainings-per-gpu", 1),
    "memory_limit_mb": ("--memory-limit", None),
    "ray_address": ("--ray-address", "auto"),
    "cpus_per_training": ("--cpus-per-training", 1.0),
    "gpus_per_training": ("--gpus-per-training", 0.0),
}
# Settings of a search by their option; the rest of `search_command` are those that need more than their value.
_OPTIONS = {
    "evaluations": "--evaluations",
    "unique": "--unique",
    "seed": "--seed",
    "explain_share": "--explain-share",
    "store": "--store",
    "warm_start": "--warm-start",
    "confirm": "--confirm",
    "confirm_repeats": "--confirm-repeats",
}
_OTHERS = {"env", "env_args", "agent", "agent_args", "explain", "keep_weights"}
_KEPT = 5  # networks whose weights a search from the command line keeps


def reproduce(material: Material) -> Section:
    """Return the command that makes this run again, the versions it was made with, and what its files hold."""
    content, settings = material.run.content, material.settings
    page = Page(TITLE, "reproduce")
    page.say(
        "This command asks the same question again. On one kind of CPU with the same versions it gives the same "
        "history, number for number; where trainings run on a GPU, numbers may differ in the last digits."
    )
    page.blocks.append(Code(_broken(search_command(settings, content.get("workers") or {}))))
    page.say(_beyond(settings))
    page.blocks.append(Rows(("fact", ""), _facts(content), plain=True))
    page.blocks.append(Heading("What the run holds", 3))
    path = material.run.path
    found = [(name, told) for name, told in FILES.items() if (path / name).exists()]
    rows = [[f"`{name}`", told, _size(path / name)] for name, told in found]
    page.blocks.append(Rows(("in the run directory", "what it holds", "size"), rows, plain=True))
    page.blocks.append(Heading("How to go on", 3))
    page.blocks.append(Code(_next(material)))
    return page.section()


def search_command(settings: Mapping[str, Any], workers: Mapping[str, Any], run_dir: str = "runs/again") -> list[str]:
    """Return the words of the command whose search has the same settings.

    Args:
        settings: Of a run (`nas_gym_agents.settings.SearchSettings.to_json`).
        workers: Where its trainings happened; does not change a result.
        run_dir: For the new run.
    """
    words = ["nas-gym", "search", "--env", str(settings["env"]), "--agent", str(settings["agent"])]
    for option, name in (("--env-arg", "env_args"), ("--agent-arg", "agent_args")):
        for key, value in settings.get(name, {}).items():
            words += [option, f"{key}={_value(value)}"]
    known = {"confirm": 0, **settings}  # runs from before there was this setting confirm nothing
    for name, option in _OPTIONS.items():
        if known.get(name) is not None:
            words += [option, str(known[name])]
    if "explain" in settings:
        explain = settings["explain"]
        words += ["--explain", {True: "all", False: "none"}.get(explain, explain)]
    for name, (option, default) in _WORKERS.items():
        if workers.get(name, default) != default:
            words += [option, str(workers[name])]
    return [*words, "--run-dir", run_dir]


def _value(value: Any) -> str:
    """Return a value as the command line reads it: JSON, or a text that is none."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value, ensure_ascii=False)


def _broken(words: list[str]) -> str:
    """Return a command with one option per line, quoted for a shell."""
    options = [f"  {shlex.join(words[place : place + 2])}" for place in range(2, len(words), 2)]
    return " \\\n".join([shlex.join(words[:2]), *options])


def _beyond(settings: Mapping[str, Any]) -> str:
    """Return a sentence on settings that the command line can't say."""
    others = [name for name in settings if name not in {*_OPTIONS, *_OTHERS}]
    if settings.get("keep_weights", _KEPT) != _KEPT:
        others.append("keep_weights")
    if not others:
        return ""
    told = ", ".join(f"`{name}={settings[name]}`" for name in others)
    return f"The command line has no option for {told}; `nas_gym_agents.settings.SearchSettings` has."


def _facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in (content.get("versions") or {}).items())
    return [
        ("hash of the settings", f"`{content['settings_hash']}`"),
        ("what decides an evaluation", f"`{content['namespace']}`"),
        ("versions", versions),
        ("begun", str(content.get("created", ""))),
    ]


def _next(material: Material) -> str:
    path = shlex.quote(str(material.run.path))
    lines = [f"nas-gym show {path}", f"tensorboard --logdir {shlex.quote(str(material.run.path / TENSORBOARD))}"]
    if material.run.content["state"] != "finished":
        lines.insert(0, f"nas-gym resume {path}")
    if (material.run.path / POLICY).exists():
        lines.append(f"nas-gym sample {path}")
    return "\n".join(lines)


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = float(sum(file.stat().st_size for file in files))
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
