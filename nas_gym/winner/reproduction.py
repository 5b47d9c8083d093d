"""The commands that make a run again, from what the run says of itself."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

_PLAIN = (
    *("evaluations", "unique", "seed", "explain", "explain_share", "store", "warm_start"),
    *("confirm", "confirm_repeats"),
)
_UNSPEAKABLE = {"keep_weights": 5}  # settings without an option, and the value that the command line gives them


def search_command(settings: Mapping[str, Any], run_dir: str = "RUN") -> str | None:
    """Return the ``nas-gym search`` that has these settings, for a shell; None where no command has them.

    Every setting is written out, so that later versions with other defaults do the same.

    Args:
        settings: Of ``run.json``.
        run_dir: Where the new run shall be.
    """
    if any(settings.get(name, usual) != usual for name, usual in _UNSPEAKABLE.items()):
        return None
    words = ["nas-gym", "search", "--env", str(settings["env"]), "--agent", str(settings["agent"])]
    for option, name in (("--env-arg", "env_args"), ("--agent-arg", "agent_args")):
        for key, value in dict(settings.get(name) or {}).items():
            words += [option, f"{key}={_value(value)}"]
    for name in _PLAIN:
        value = settings.get(name)
        if name == "explain" and isinstance(value, bool):  # as it was in older runs
            value = "all" if value else "none"
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--run-dir", run_dir])


def retrain_command(request: Mapping[str, Any], run_dir: str = "RUN") -> str:
    """Return the ``nas-gym retrain`` of a request, as ``winner.json`` holds it, for a shell."""
    words = ["nas-gym", "retrain", run_dir]
    for name, value in request.items():
        if name == "recipe":
            for key, setting in dict(value).items():
                words += ["--recipe-arg", f"{key}={_value(setting)}"]
        elif isinstance(value, list | tuple):
            for one in value:
                words += [f"--{name.replace('_', '-')}", str(one)]
        elif value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _value(value: Any) -> str:
    """Return a value as the command line reads it: JSON, or a text that is not mistaken for JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)
