"""The plugin: it answers the pages' questions, all of them read-only."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import Request, wrappers

from nas_gym.tensorboard import PLUGIN, TAB
from nas_gym.tensorboard.reading import Memory, Reading, UnknownError

STATIC = Path(__file__).parent / "static"
KINDS = {".js": "text/javascript", ".css": "text/css"}
LARGEST_NUMBER = 2**31 - 1

Answer = Callable[[Reading, Mapping[str, str]], Any]


class _BadRequestError(ValueError):
    """A question that can't be asked; the message says why."""


class DecisionsPlugin(base_plugin.TBPlugin):  # type: ignore[misc]  # untyped
    """The tab; it has no state but what it remembers of event files."""

    plugin_name = PLUGIN

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._provider = context.data_provider
        self._memory = Memory()

    def get_plugin_apps(self) -> dict[str, Any]:
        """Return who answers which route; the pages' files are fixed once TensorBoard has started."""
        files = {f"/{path.name}": _file(path) for path in sorted(STATIC.iterdir()) if path.suffix in KINDS}
        return files | {route: self._answering(answer) for route, answer in ROUTES.items()}

    def is_active(self) -> bool:
        """Return False: TensorBoard itself asks whether a run has data of ours."""
        return False

    def data_plugin_names(self) -> tuple[str, ...]:
        """Return whose data make the tab active."""
        return (PLUGIN,)

    def frontend_metadata(self) -> Any:
        """Return the name of the tab and its module."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name=TAB)

    def _answering(self, answer: Answer) -> Any:
        @wrappers.Request.application
        def serve(request: Request) -> Any:
            if request.method not in ("GET", "HEAD"):
                return _json(request, {"error": "only GET is answered"}, 405)
            context = plugin_util.context(request.environ)
            experiment = plugin_util.experiment_id(request.environ)
            reading = Reading(self._provider, context, experiment, self._memory)
            try:
                return _json(request, answer(reading, request.args))
            except _BadRequestError as error:
                return _json(request, {"error": str(error)}, 400)
            except UnknownError as error:
                return _json(request, {"error": str(error)}, 404)

        return serve


def _json(request: Request, content: Any, code: int = 200) -> Any:
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return http_util.Respond(request, text, "application/json", code=code)


def _file(path: Path) -> Any:
    @wrappers.Request.application
    def serve(request: Request) -> Any:
        return http_util.Respond(request, path.read_text(encoding="utf-8"), KINDS[path.suffix])

    return serve


def _run(arguments: Mapping[str, str]) -> str:
    if "run" not in arguments:
        raise _BadRequestError("name a run: ?run=…")
    return arguments["run"]


def _whole(arguments: Mapping[str, str], name: str, default: int | None, least: int) -> int:
    text = arguments.get(name)
    if text is None and default is not None:
        return default
    try:
        number = int(text or "")
    except ValueError:
        raise _BadRequestError(f"{name} must be a whole number, got {text!r}") from None
    if not least <= number <= LARGEST_NUMBER:
        raise _BadRequestError(f"{name} must be between {least} and {LARGEST_NUMBER}, got {number}")
    return number


ROUTES: dict[str, Answer] = {
    "/runs": lambda reading, _: {"runs": reading.runs()},
    "/run": lambda reading, asked: reading.run(_run(asked)),
    "/episodes": lambda reading, asked: reading.episodes(_run(asked), _whole(asked, "after", -1, -1)),
    "/episode": lambda reading, asked: reading.episode(_run(asked), _whole(asked, "episode", None, 0)),
    "/heat": lambda reading, asked: reading.heat(_run(asked)),
}
