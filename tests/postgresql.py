"""A PostgreSQL server for tests, made from the machine's own packages and gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "quite-secret"
NEEDED = ("initdb", "pg_ctl", "postgres")


def programs() -> Path | None:
    """Return the folder of the server's programs: where PATH leads, or where Debian puts the newest version."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return next((folder for folder in folders if all((folder / name).exists() for name in NEEDED)), None)


def missing(what: str) -> None:
    """Skip the test, or fail it where NAS_GYM_REQUIRE says that PostgreSQL is there, as in CI."""
    if "postgresql" in os.environ.get("NAS_GYM_REQUIRE", "").split(","):
        pytest.fail(f"NAS_GYM_REQUIRE asks for postgresql, but {what}")
    pytest.skip(f"needs PostgreSQL, but {what}")


class Server:
    """A cluster in a temporary folder; it refuses to run as root, so that then it runs as somebody else.

    Args:
        bin_: The folder of `NEEDED`.
        folder: Where the cluster is made.
    """

    def __init__(self, bin_: Path, folder: Path) -> None:
        self._bin, self._folder = bin_, folder
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        options = ("--username=nas", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
        self._call("initdb", *options)

    def start(self) -> None:
        settings = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories=''"
        self._call("pg_ctl", "start", "-w", "-t", "60", "-l", str(self._folder / "log"), "-o", settings)

    def stop(self, how: str = "fast") -> None:
        """Stop it: ``"fast"`` breaks connections, ``"immediate"`` is a crash."""
        self._call("pg_ctl", "stop", "-w", "-t", "60", "-m", how)

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://nas:{password}@127.0.0.1:{self.port}/{database}"

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), "-D", str(self._folder / "cluster"), *arguments]
        with (self._folder / f"{program}.out").open("wb") as output:  # no pipe, which the server would keep open
            done = subprocess.run(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **self._as
            )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(self._folder / f'{program}.out').read_text()}")


@contextmanager
def running_server() -> Iterator[Server]:
    """A server with an empty cluster; skips where there is none on this machine."""
    if find_spec("psycopg") is None:
        missing("its driver psycopg is not installed")
    bin_ = programs()
    if bin_ is None:
        missing("its programs are neither on PATH nor in /usr/lib/postgresql (Debian: apt-get install postgresql)")
        return
    with tempfile.TemporaryDirectory(prefix="nas-gym-postgresql-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = Server(bin_, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
