"""Whether a command of the documentation is one: it is parsed by the real command line, and not run."""

import argparse
import os
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer
from doc_pages import ROOT, Command

from nas_gym import IDS
from nas_gym.agents import make_agent
from nas_gym.cli import app, parse_pairs
from nas_gym.errors import NasGymError

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class NotACommandError(Exception):
    """What the documentation prints can't be given to a computer."""


def parse(command: Command) -> None:
    """Parse a command by its program's own parser.

    Raises:
        NotACommandError: The program is unknown, has no such option, or there is no such file.
    """
    program, *words = shlex.split(command.text)
    while ">" in words:
        del words[words.index(">") :]
    if program not in PARSERS:
        raise NotACommandError(f"no parser for {program!r}; fence what is no command as ```text")
    try:
        PARSERS[program](words, command.inline)
    except NotACommandError as error:
        raise NotACommandError(f"{command.page}:{command.line}: {command.text!r}: {error}") from None


def nas_gym(words: list[str], inline: bool) -> None:
    """Parse for ``nas-gym``, and look at what only the command itself checks: ids, agents and their settings."""
    given = click_command(typer.main.get_command(app), "nas-gym", words, inline)
    try:
        if given.get("env") and isinstance(given["env"], str) and given["env"] not in IDS:
            raise NotACommandError(f"there is no environment {given['env']}")
        if isinstance(given.get("agent"), str) and given.get("agent_arg") is not None and ":" not in given["agent"]:
            make_agent(given["agent"], parse_pairs(given["agent_arg"], "--agent-arg"))
        parse_pairs(given.get("env_arg") or [], "--env-arg")
    except NasGymError as error:
        raise NotACommandError(str(error)) from None


def click_command(command: Any, name: str, words: list[str], inline: bool) -> dict[str, Any]:
    """Parse words by a click command, through its groups; return the arguments of the last command.

    A sentence may name a command without what it needs.
    """
    context = None
    try:
        while True:
            context = command.make_context(name, list(words), parent=context)
            rest = [*getattr(context, "_protected_args", ()), *context.args]
            if not hasattr(command, "resolve_command") or not rest:
                return dict(context.params)
            name, command, words = command.resolve_command(context, rest)
    except Exception as error:
        missing = "Missing" in type(error).__name__ or "NoArgs" in type(error).__name__
        if inline and missing:
            return {}
        if not hasattr(error, "format_message"):
            raise
        raise NotACommandError(error.format_message()) from None


def python(words: list[str], inline: bool) -> None:
    """Parse for a script of ours, which is loaded up to where it has read its arguments."""
    if words[0] == "-m":
        modules: dict[str, Callable[[list[str]], None]] = {"venv": lambda _: None, "pytest": pytest, "nas_gym": _ours}
        if words[1] not in modules:
            raise NotACommandError(f"python -m {words[1]} is not known here")
        modules[words[1]](words[2:])
        return
    copied = words[0].endswith("/export/predict.py")
    script = ROOT / ("nas_gym/winner/predict.py" if copied else words[0])
    if not script.is_file():
        raise NotACommandError(f"there is no {words[0]}")
    _script(str(script), words[1:])


class _Parsed(Exception):  # noqa: N818  it is none
    pass


def _script(script: str, words: list[str]) -> None:
    parse_args = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        parse_args(parser, words)
        raise _Parsed

    path = [str(Path(script).parent), *sys.path]  # as Python has it for a script
    with (
        patch.object(argparse.ArgumentParser, "parse_args", stop),
        patch.object(sys, "argv", [script, *words]),
        patch.object(sys, "path", path),
        patch.dict(os.environ),
    ):
        try:
            runpy.run_path(script, run_name="__main__")
        except _Parsed:
            return
        except SystemExit:
            raise NotACommandError("the script refuses these arguments") from None
    raise NotACommandError("the script read no arguments")


def _ours(words: list[str]) -> None:
    nas_gym(words, False)


def pytest(words: list[str]) -> None:
    """Look for the file, and for the name after ``-k`` in it."""
    file = ROOT / words[0]
    if not file.is_file():
        raise NotACommandError(f"there is no {words[0]}")
    if "-k" in words and words[words.index("-k") + 1] not in file.read_text(encoding="utf-8"):
        raise NotACommandError(f"{words[0]} has no {words[-1]}")


def pip(words: list[str], _: bool) -> None:
    """Look for what is installed among our extras and requirements."""
    required = PROJECT["dependencies"] + [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    names = {re.split(r"[\[<>=]", line)[0] for line in required}
    if words[0] != "install" or not words[1:]:
        raise NotACommandError("pip install WHAT")
    for word in words[1:]:
        name, _, extras = word.partition("[")
        if name not in (".", "nas-gym", *names):
            raise NotACommandError(f"{name} is no requirement of ours")
        if unknown := set(extras.strip("]").split(",")) - {"", *PROJECT["optional-dependencies"]}:
            raise NotACommandError(f"there is no extra {unknown}")


def make(words: list[str], _: bool) -> None:
    """Look for the target."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    if len(words) != 1 or words[0] not in targets:
        raise NotACommandError(f"the Makefile has {', '.join(targets)}")


def bash(words: list[str], _: bool) -> None:
    """Look for the script."""
    if not (ROOT / words[0]).is_file():
        raise NotACommandError(f"there is no {words[0]}")


def ray(words: list[str], inline: bool) -> None:
    """Parse for ``ray``."""
    from ray.scripts.scripts import cli

    click_command(cli, "ray", words, inline)


def tensorboard(words: list[str], inline: bool) -> None:
    """Parse for TensorBoard."""
    from tensorboard import default, program

    try:
        program.TensorBoard(default.get_static_plugins()).configure(["tensorboard", *words])
    except SystemExit:
        if not inline:
            raise NotACommandError("TensorBoard refuses these options") from None


def wandb(words: list[str], inline: bool) -> None:
    """Parse for ``wandb``, which looks whether paths are there: RUN is not."""
    from wandb.cli.cli import cli

    click_command(cli, "wandb", ["." if "RUN" in word else word for word in words], inline)


def activate(words: list[str], _: bool) -> None:
    """Source the environment that the command before made."""
    if words != [".venv/bin/activate"]:
        raise NotACommandError("only .venv/bin/activate is sourced here")


def pre_commit(words: list[str], _: bool) -> None:
    """Look for the configuration."""
    if words != ["install"] or not (ROOT / ".pre-commit-config.yaml").is_file():
        raise NotACommandError("pre-commit install, beside .pre-commit-config.yaml")


PARSERS: dict[str, Callable[[list[str], bool], None]] = {
    "nas-gym": nas_gym,
    "python": python,
    "python3": python,
    "pip": pip,
    "make": make,
    "bash": bash,
    "ray": ray,
    "tensorboard": tensorboard,
    "wandb": wandb,
    ".": activate,
    "pre-commit": pre_commit,
}
