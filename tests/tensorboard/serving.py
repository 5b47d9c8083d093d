"""TensorBoard as users start it: another process, asked over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0  # seconds, of a busy machine


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator["Server"]:
    """Start ``nas-gym tensorboard`` on a free port; it is interrupted at the end, and must end cleanly then."""
    command = [sys.executable, "-m", "nas_gym", "tensorboard", str(folder), "--port", "0", "--json"]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "agents")))
    process = subprocess.Popen(
        [*command, "--", "--reload_interval", "1", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    try:
        yield Server(json.loads(line)["url"])
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors


class Server:
    """A TensorBoard that answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.base = url.split("/#")[0]

    def ask(self, route: str, **parameters: Any) -> Any:
        """Return what the plugin answers."""
        with urlopen(
            f"{self.base}/data/plugin/nas_decisions/{route}?{urlencode(parameters)}", timeout=PATIENCE
        ) as answer:
            return json.load(answer)

    def status(self, route: str, **parameters: Any) -> int:
        """Return the status of an answer."""
        try:
            self.ask(route, **parameters)
        except HTTPError as error:
            return error.code
        return 200

    def wait(self, run: str, episodes: int) -> None:
        """Wait until TensorBoard has read so many episodes of a run."""
        self.until(lambda: {one["run"]: one["episodes"] for one in self.ask("runs")["runs"]}.get(run, 0) >= episodes)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true."""
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"waited {PATIENCE} s in vain"
            time.sleep(0.2)
