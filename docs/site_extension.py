"""What the site does beyond Sphinx: where names of other modules lead, and a first page at its root."""

import importlib
from pathlib import Path
from typing import Any

from docutils import nodes
from nbclient import NotebookClient
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

HERE = Path(__file__).parent
API = HERE / "api"
KERNEL_SECONDS = 600  # in which a notebook's process must have begun, on a busy machine too; nbclient's own limit is 60
FIRST_PAGE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=docs/index.html">'


def documented_modules() -> list[str]:
    """Return the modules that have an API page: the pages are named after them."""
    return sorted(page.stem for page in API.glob("nas_gym*.rst"))


def public_names() -> dict[str, str]:
    """Return where every public class and function is documented, by the place that it is defined in.

    ``nas_gym.evaluation.evaluation.Evaluation`` is on the page of ``nas_gym.evaluation``. Names that a module imports
    when they are asked for are asked for here, so that autodoc sees them.
    """
    places = {}
    for module_name in documented_modules():
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            setattr(module, name, thing)
            defined = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
            if all(isinstance(part, str) for part in defined):
                places.setdefault(".".join(map(str, defined)), f"{module_name}.{name}")
    return places


def lead_somewhere(app: Sphinx, env: BuildEnvironment, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Return a link for a name that is not documented under the name it was called by.

    Names of other projects and of our own inner modules have no page: they stay as code. What is left, and so a
    warning, is a name that looks like ours and exists nowhere.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    found = _documented(app, env, target)
    if found is not None:
        domain = env.get_domain("py")
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found, node, content)
    if node["reftype"] == "obj" or not target.startswith("nas_gym") or _exists(target):
        return content
    return None


def _documented(app: Sphinx, env: BuildEnvironment, target: str) -> str | None:
    objects = env.get_domain("py").objects  # type: ignore[attr-defined]
    owner, _, member = target.rpartition(".")
    places = app.config.site_places
    for name in (places.get(target), f"{places.get(owner, owner)}.{member}"):
        if name in objects:
            return str(name)
    ours = [name for name in objects if name.startswith("nas_gym") and name.rpartition(".")[2] == target]
    return ours[0] if len(ours) == 1 else None


def _exists(target: str) -> bool:
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        try:
            for name in parts[length:]:
                thing = getattr(thing, name)
        except AttributeError:
            return False
        return True
    return False


def leave_out_pages_to_come(app: Sphinx, name: str, source: list[str]) -> None:
    """Drop the index's lines that name no page yet: it has an order for pages whether or not they are written."""
    if name == app.config.root_doc:
        lines = source[0].splitlines(keepends=True)
        source[0] = "".join(line for line in lines if not _to_come(line.strip()))


def _to_come(line: str) -> bool:
    return line.endswith("*") and not line.startswith(("!", "*")) and not any(HERE.glob(f"{line}.*"))


def write_first_page(app: Sphinx, failure: Exception | None) -> None:
    """Lead from the root of the site to its index."""
    if failure is None and app.builder.format == "html":
        (Path(app.outdir) / "index.html").write_text(FIRST_PAGE, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of all of it."""
    NotebookClient.startup_timeout.default_value = KERNEL_SECONDS
    app.add_config_value("site_places", public_names(), "", dict)
    app.connect("source-read", leave_out_pages_to_come)
    app.connect("missing-reference", lead_somewhere)
    app.connect("build-finished", write_first_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
