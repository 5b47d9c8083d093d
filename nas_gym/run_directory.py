"""The run directory: settings that can't change, one owner at a time, and files that a kill can't tear."""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas_gym.errors import RunError
from nas_gym.explain.record import write_atomically

RUN_FILE = "run.json"
RESULTS = "results.sqlite"
HISTORY = "history.jsonl"
DECISIONS = "decisions"
TENSORBOARD = "tensorboard"
WEIGHTS = "weights"
POLICY = "policy.zip"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
CHECKS = "checks.json"  # in the next folder
EXPLANATIONS = "explanations"  # what `nas-gym explain` and the end of a search computed: checks, credit, importance
# What a resume rebuilds: everything in them follows from the settings and the stored results.
DERIVED = (HISTORY, DECISIONS, TENSORBOARD, POLICY)
REBUILD = ".rebuild"
COMPLETE = "COMPLETE"
LOCK = ".lock"
SCHEMA = 1

_LEFT_BY_A_KILL = (LOCK, f"{RUN_FILE}.tmp")  # before there was a run
_PACKAGES = ("nas-gym", "torch", "gymnasium", "stable-baselines3", "sb3-contrib", "deap", "numpy")


def read_run_file(path: Path) -> dict[str, Any]:
    """Return the content of a run's ``run.json``.

    Raises:
        RunError: The directory is no run, or its ``run.json`` is damaged.
    """
    if not (path / RUN_FILE).is_file():
        raise RunError(f"{str(path)!r} is no run directory: it holds no {RUN_FILE}; nas-gym search makes one")
    try:
        content = json.loads((path / RUN_FILE).read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA or not isinstance(content["settings"], dict):
            raise ValueError(f"schema {content['schema']}")
        if content["settings_hash"] != settings_hash(content["settings"]):
            raise RunError(
                f"the settings in {str(path / RUN_FILE)!r} were changed by hand; undo that or start a new run"
            )
        for name in ("namespace", "slots", "state", "result"):
            content[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(path / RUN_FILE)!r} is damaged ({error!r}); restore it or start a new run") from None
    return dict(content)


def memory_limit_of(content: Mapping[str, Any]) -> float | None:
    """Return what one training of a run could take, in MB, from its run file; None: there was no limit."""
    limit = content.get("workers", {}).get("memory_limit_mb")
    return None if limit is None else float(limit)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return a digest of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class RunDirectory:
    """A run's directory, owned by this process until `close`.

    Use `create` or `open`. ``run.json`` is replaced whole on every change.

    Attributes:
        path: The directory.
        content: What ``run.json`` holds.
    """

    def __init__(self, path: Path, content: dict[str, Any], lock: FileLock) -> None:
        self.path = path
        self.content = content
        self._lock = lock

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> "RunDirectory":
        """Make a run directory, or open the one that is there if its settings are the same.

        Args:
            path: New, empty, or a run of the same settings.
            settings: Everything that decides the history; JSON-ready.
            facts: What else the run file says from the start, such as the space's name.

        Raises:
            RunError: The place can't be used; nothing was written.
        """
        cls.check(path, settings)
        if (path / RUN_FILE).exists():
            return cls.open(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path)
        except OSError as error:
            raise RunError(f"the run directory {str(path)!r} can't be made: {error.strerror}; name another") from None
        if (path / RUN_FILE).exists():  # another process was faster, and is done
            lock.release()
            cls.check(path, settings)
            return cls.open(path)
        content = {
            "schema": SCHEMA,
            "settings": dict(settings),
            "settings_hash": settings_hash(settings),
            "state": "running",
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(),
            "hardware": hardware(),
            "result": None,
            **facts,
        }
        run = cls(path, content, lock)
        try:
            run.update()
        except BaseException:
            lock.release()
            raise
        return run

    @staticmethod
    def check(path: Path, settings: Mapping[str, Any]) -> None:
        """Refuse a place that `create` could not use; nothing is written.

        Raises:
            RunError: The place is taken by something else, by a run with other settings, or can't be written.
        """
        try:
            if (path / RUN_FILE).exists():
                known = read_run_file(path)["settings"]
                if known != settings:
                    names = sorted(n for n in {*known, *settings} if known.get(n) != settings.get(n))
                    shown = ", ".join(f"{n} {known.get(n)!r} there, {settings.get(n)!r} asked" for n in names)
                    raise RunError(f"{str(path)!r} holds a run with other settings ({shown}); name another --run-dir")
                return
            if path.exists() and (
                not path.is_dir() or any(child.name not in _LEFT_BY_A_KILL for child in path.iterdir())
            ):
                raise RunError(f"{str(path)!r} exists and is neither an empty folder nor a run; name another --run-dir")
            nearest = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), path)
            if not nearest.is_dir() or not os.access(nearest, os.W_OK):
                raise RunError(f"the run directory {str(path)!r} can't be made: {str(nearest)!r} can't be written to")
        except OSError as error:
            raise RunError(f"the run directory {str(path)!r} can't be used: {error.strerror}; name another") from None

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Open a run directory to go on with it.

        Raises:
            RunError: It is no run, damaged, or another process holds it.
        """
        read_run_file(path)
        lock = _locked(path)
        return cls(path, read_run_file(path), lock)

    def update(self, **fields: Any) -> None:
        """Replace fields of ``run.json``.

        Raises:
            RunError: It can't be written; it stays as it was.
        """
        self.content.update(fields)
        try:
            write_atomically(self.path / RUN_FILE, json.dumps(self.content, indent=1, ensure_ascii=False))
        except OSError as error:
            raise RunError(
                f"{str(self.path / RUN_FILE)!r} can't be written: {error.strerror}; make room there"
            ) from None

    def close(self) -> None:
        """Give the directory up."""
        self._lock.release()

    def place_for_rebuilding(self) -> Path:
        """Return an empty folder inside the run, for the derived files of a resumed run."""
        place = self.path / REBUILD
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def finish_swap(self) -> None:
        """Finish a `swap_in` that a kill cut short; call it before reading the derived files."""
        if (self.path / REBUILD / COMPLETE).exists():
            self.swap_in()

    def swap_in(self) -> None:
        """Put the rebuilt derived files in place of the old ones; no file of either may be open."""
        place = self.path / REBUILD
        (place / COMPLETE).touch()
        for name in DERIVED:
            old, new = self.path / name, place / name
            if new.exists():
                if old.exists():
                    old.rename(place / f"old-{name}")
                new.rename(old)
        shutil.rmtree(place, ignore_errors=True)


def _locked(path: Path) -> FileLock:
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"another process is working in {str(path)!r}; wait for it or name another --run-dir") from None
    except OSError as error:
        raise RunError(f"the run directory {str(path)!r} can't be locked: {error.strerror}") from None
    return lock


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a history."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """Return what machine this is."""
    return {"machine": platform.machine(), "system": platform.system(), "processors": os.cpu_count()}
