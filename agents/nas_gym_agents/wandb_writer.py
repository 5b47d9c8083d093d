"""Weights & Biases: what TensorBoard is told, told there too; the extra ``nas-gym[wandb]``.

It is asked for by ``nas-gym search --wandb PROJECT`` and decides nothing of a history, so that it is no setting.
Whether it talks to a server is wandb's own business (``WANDB_MODE=offline``, `docs/report.md`). Whatever goes wrong
there is said once, and the search goes on without it.
"""

import importlib
import importlib.util
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nas_gym.document import Block, Heading, Rows
from nas_gym.errors import ConfigurationError

FACT = "wandb"  # in the run file: project and id, so that a resume goes on with the same run
AXES = {
    "nas": "evaluations",
    "best": "evaluations",
    "curves": "epoch",
}  # of tags by first word
STEPS = "steps"  # of all other tags: the environment's
# Nothing of the terminal, the code, the machine's load; no other wandb run of this process is touched. What a version
# of wandb does not know is left out.
SETTINGS = {
    "console": "off",
    "silent": True,
    "reinit": "create_new",
    "save_code": False,
    "disable_git": True,
    "disable_job_creation": True,
    "x_disable_stats": True,
    "init_timeout": 60.0,
    "finish_timeout": 300.0,
}


def _quiet(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Wandb:
    """What a search is to tell Weights & Biases.

    Attributes:
        project: Name of the project.
        tell: Is given sentences for people: where it is told, what went wrong.
    """

    project: str
    tell: Callable[[str], None] = _quiet


def check_wandb(project: str) -> None:
    """Refuse what can't be told.

    Raises:
        ConfigurationError: The project has no name, or the package is missing.
    """
    if not project.strip():
        raise ConfigurationError("--wandb takes the name of a project, got an empty text")
    if importlib.util.find_spec("wandb") is None:
        raise ConfigurationError('Weights & Biases is an extra: pip install "nas-gym[wandb]"')


def new_fact(project: str, settings_hash: str) -> dict[str, str]:
    """Return what a run file keeps: the project, and an id that no other run has."""
    return {"project": project, "id": f"{settings_hash}-{secrets.token_hex(4)}"}


def of_run(folder: Path, content: Mapping[str, Any], tell: Callable[[str], None] | None = None) -> "WandbWriter | None":
    """Return the writer of a run that is told of; None for one that is not.

    Args:
        folder: The run directory.
        content: Of its run file.
        tell: Is given sentences for people.
    """
    fact = content.get(FACT)
    return None if fact is None else WandbWriter(folder, fact=fact, config=content["settings"], tell=tell or _quiet)


class WandbWriter:
    """Tells Weights & Biases of a search: numbers as they come (`scalars`), the report at its end (`finish`).

    It draws no random number of the global generators. After the first error it says nothing more.

    Args:
        folder: The run directory; files go into ``wandb`` there.
        fact: Project and id (`new_fact`). A run of the same id is gone on with.
        config: Settings of the search.
        tell: Is given sentences for people.
    """

    def __init__(
        self, folder: Path, *, fact: Mapping[str, str], config: Mapping[str, Any], tell: Callable[[str], None] = _quiet
    ) -> None:
        self._folder, self._tell = folder, tell
        self._run: Any = None
        try:
            self._begin(fact, config)
        except Exception as error:  # not logged in, no network, a disk that is full
            self._run = None
            self._say("can't be told", error)

    def _begin(self, fact: Mapping[str, str], config: Mapping[str, Any]) -> None:
        wandb: Any = importlib.import_module("wandb")
        known = getattr(wandb.Settings, "model_fields", SETTINGS)
        settings = wandb.Settings(**{name: value for name, value in SETTINGS.items() if name in known})
        self._run = wandb.init(
            project=fact["project"],
            id=fact["id"],
            name=self._folder.name,
            dir=str(self._folder),
            resume="allow",
            config=dict(config),
            settings=settings,
        )
        for axis in {*AXES.values(), STEPS}:
            self._run.define_metric(axis, hidden=True)
        self._run.define_metric("*", step_metric=STEPS)
        for first, axis in AXES.items():
            self._run.define_metric(f"{first}/*", step_metric=axis)
        offline = bool(getattr(self._run, "offline", False))
        place = f"wandb sync {Path(self._run.dir).parent} uploads it" if offline else self._run.url
        self._tell(f"Weights & Biases is told in the project {fact['project']}: {place}")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers by tag, at a step of the axis that their tags have."""
        by_axis: dict[str, dict[str, float]] = {}
        for tag, value in values.items():
            by_axis.setdefault(AXES.get(tag.partition("/")[0], STEPS), {})[tag] = float(value)
        for axis, told in by_axis.items():
            self._safely("is no longer told", partial(self._log, {**told, axis: step}))

    def _log(self, values: Mapping[str, Any]) -> None:
        self._run.log(values)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Take the summary of a search that has ended, and its report: tables, pictures, the page."""
        self._safely("was not told the end", lambda: self._end(summary))

    def _end(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(_numbers(summary))
        with tempfile.TemporaryDirectory() as folder:
            self._run.log(_report(self._folder, Path(folder)))

    def close(self) -> None:
        """Send what is left; more than once does nothing."""
        run, self._run = self._run, None
        if run is not None:
            try:
                run.finish()
            except Exception as error:
                self._say("was not told everything", error)

    def _safely(self, failed: str, act: Callable[[], object]) -> None:
        if self._run is None:
            return
        try:
            act()
        except Exception as error:  # whatever its client, its server or the disk can raise
            self._run = None
            self._say(failed, error)

    def _say(self, failed: str, error: Exception) -> None:
        first = (str(error).strip().splitlines() or [""])[0]
        self._tell(f"Weights & Biases {failed} ({type(error).__name__}: {first}); the search is not affected")


def _numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float | int | str]:
    """Return the numbers and texts of nested data by their path."""
    found: dict[str, float | int | str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, bool | int | float | str):
            found[f"{prefix}{name}"] = value
    return found


def _report(run_dir: Path, folder: Path) -> dict[str, Any]:
    """Return the tables, the pictures and the page of a run's report as wandb takes them."""
    from nas_gym.report import report, write_report
    from nas_gym.report.material import Material
    from nas_gym.run import Run

    wandb: Any = importlib.import_module("wandb")
    run = Run(run_dir)
    written = write_report(run, folder)
    media: dict[str, Any] = {f"report/{path.stem}": wandb.Image(str(path)) for path in written.pictures}
    for section in report(Material(run)):
        media |= {name: wandb.Table(columns, rows) for name, columns, rows in _tables(section.document)}
    return media | {"report/page": wandb.Html(written.page.read_text(encoding="utf-8"))}


def _tables(blocks: list[Block]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return the tables of a section, each under the heading before it."""
    found: list[tuple[str, list[str], list[list[str]]]] = []
    title = ""
    for block in blocks:
        if isinstance(block, Heading):
            title = block.text
        elif isinstance(block, Rows) and block.rows:
            columns = [name or f"column {place}" for place, name in enumerate(block.header, start=1)]
            name = re.sub(r"\W+", "-", title.lower()).strip("-")
            found.append((f"report/{name}-{len(found) + 1}", columns, [list(row) for row in block.rows]))
    return found
