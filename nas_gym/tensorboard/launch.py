"""TensorBoard in this process, with the tab: whatever is installed elsewhere does not matter."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from nas_gym.errors import ConfigurationError, RunError
from nas_gym.tensorboard import PLUGIN, TAB

PATIENCE = 60.0  # seconds for an answer of a server that has just begun
EVENTS = "events.out.tfevents.*"


@dataclass(frozen=True)
class Board:
    """A TensorBoard that serves, from threads that end with this process.

    Attributes:
        url: Of the tab.
        everywhere: Whether the command ``tensorboard`` of this environment shows the tab too.
    """

    url: str
    everywhere: bool


def launch(
    logdir: Path, *, host: str = "localhost", port: int | None = None, flags: Sequence[str] = (), check: bool = True
) -> Board:
    """Start TensorBoard and make sure that the tab is there.

    Args:
        logdir: A run directory, or a folder of them.
        host: To listen at; ``0.0.0.0``: at all.
        port: To listen at; 0: any that is free; None: the first free one from 6006.
        flags: More of TensorBoard's own, such as ``--load_fast=false``.
        check: Whether to ask the server for the tab.

    Raises:
        RunError: There is nothing to show.
        ConfigurationError: TensorBoard or the tab is missing, or a flag or the place to listen at is of no use.
    """
    if not logdir.is_dir():
        raise RunError(f"{str(logdir)!r} is no folder; name a run directory, or a folder of them")
    if next(logdir.rglob(EVENTS), None) is None:
        raise RunError(f"{str(logdir)!r} holds no event files; nas-gym search writes them into its run directory")
    try:
        from tensorboard import default, program
    except ImportError as error:
        raise ConfigurationError(f'TensorBoard can\'t be imported ({error}); pip install "tensorboard>=2.18"') from None
    plugins, everywhere = with_ours(default.get_plugins())
    arguments = ["nas-gym tensorboard", "--logdir", str(logdir), "--host", host, *flags]
    if port is not None:
        arguments[3:3] = ["--port", str(port)]
    board: Any = program.TensorBoard(plugins=plugins)
    try:
        board.configure(argv=arguments)
        url = board.launch().rstrip("/")
    except program.TensorBoardServerException as error:
        raise ConfigurationError(f"{error.msg.strip().rstrip('.')}; name another --host or --port") from None
    except SystemExit:
        raise ConfigurationError(f"TensorBoard refuses {' '.join(flags)!r}; see tensorboard --help") from None
    if check:
        _check(url)
    return Board(f"{url}/#{PLUGIN}", everywhere)


def with_ours(plugins: Sequence[Any]) -> tuple[list[Any], bool]:
    """Return TensorBoard's plugins with ours among them once, and whether it was there."""
    from nas_gym.tensorboard.loader import DecisionsLoader

    names = [entry.value for entry in metadata.entry_points(group="tensorboard_plugins") if entry.name == PLUGIN]
    there = bool(names) and any(plugin is DecisionsLoader for plugin in plugins)
    return [plugin for plugin in plugins if plugin is not DecisionsLoader] + [DecisionsLoader], there


def _check(url: str) -> None:
    """Ask the server for its plugins and for our pages.

    Raises:
        ConfigurationError: The tab is not there.
    """
    try:
        with urlopen(f"{url}/data/plugins_listing", timeout=PATIENCE) as answer:
            listed = PLUGIN in json.load(answer)
        with urlopen(f"{url}/data/plugin/{PLUGIN}/index.js", timeout=PATIENCE) as answer:
            served = answer.status == 200
    except (URLError, ValueError) as error:
        raise ConfigurationError(f"TensorBoard at {url} does not serve the tab {TAB!r} ({error})") from None
    if not (listed and served):
        raise ConfigurationError(f"TensorBoard at {url} has no tab {TAB!r}; reinstall nas-gym")
