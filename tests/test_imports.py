"""Imports point one way, `import nas_gym` is light, and heavy packages are imported where they are used."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = {"nas_gym": ROOT / "nas_gym", "nas_gym_envs": ROOT / "envs" / "nas_gym_envs"}
ROOTS["nas_gym_agents"] = ROOT / "agents" / "nas_gym_agents"
FILES = [(package, path) for package, folder in ROOTS.items() for path in sorted(folder.rglob("*.py"))]

FORBIDDEN = {
    "nas_gym": {"nas_gym_envs", "nas_gym_agents", "nas_gym.envs", "nas_gym.agents"},
    "nas_gym_envs": {"nas_gym_agents", "nas_gym.agents", "nas_gym.envs"},
    "nas_gym_agents": set(),
}
# The front doors, and what is behind them may import upward, inside functions.
FRONT_DOORS = {
    "__init__.py",
    "__main__.py",
    "envs.py",
    "agents.py",
    "cli.py",
    "bench_commands.py",
    "compress_commands.py",
    "export_commands.py",
    "finish_commands.py",
    "inspect_commands.py",
    "tune_commands.py",
    "winner_commands.py",
    "explain_commands.py",
}
LIGHT = [
    *("__init__.py", "registration.py", "operations.py", "canonical.py", "architecture.py", "errors.py"),
    *("objective.py", "drawing.py", "envs.py", "cli.py"),
    *(str(path.relative_to(ROOTS["nas_gym"])) for path in sorted((ROOTS["nas_gym"] / "spaces").glob("*.py"))),
]
HEAVY = ["torch", "torchvision", "stable_baselines3", "sb3_contrib", "shap", "matplotlib", "tensorboard", "sqlalchemy"]
HEAVY += ["sklearn", "deap", "pandas", "pyarrow"]


def imports(nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
    """Yield the dotted names of all imports, ``a.b.c`` for ``from a.b import c``, with their line."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{'.' * node.level}{node.module or ''}.{alias.name}", node.lineno) for alias in node.names)


def on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported: no function bodies, nothing for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield child
        yield from on_import(child)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def within(name: str, packages: set[str] | list[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(("package", "path"), FILES, ids=lambda part: str(getattr(part, "name", part)))
def test_imports_point_one_way(package: str, path: Path) -> None:
    door = package == "nas_gym" and path.parent == ROOTS[package] and path.name in FRONT_DOORS
    forbidden = {"tests", "scripts", *(() if door else FORBIDDEN[package])}
    wrong = [f"{path}:{line} {name}" for name, line in imports(ast.walk(parse(path))) if within(name, forbidden)]
    assert wrong == []
    assert not any(name.startswith(".") for name, _ in imports(ast.walk(parse(path)))), "imports are absolute"


@pytest.mark.parametrize(
    "door",
    ["__init__.py", "cli.py", *(door for door in sorted(FRONT_DOORS) if door.endswith("_commands.py"))],
)
def test_front_doors_import_upward_only_when_asked(door: str) -> None:
    names = [name for name, _ in imports(on_import(parse(ROOTS["nas_gym"] / door)))]
    assert not [name for name in names if within(name, FORBIDDEN["nas_gym"])]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    names = [name for name, _ in imports(on_import(parse(ROOTS["nas_gym"] / module)))]
    assert not [name for name in names if within(name, HEAVY)]


def test_the_import_tests_see_what_they_look_for() -> None:
    source = """
import torch.nn as nn
from nas_gym_agents import ppo
if TYPE_CHECKING:
    import shap
def f():
    import sklearn
class A:
    import matplotlib
try:
    import sqlalchemy
except ImportError:
    pass
"""
    names = [name for name, _ in imports(on_import(ast.parse(source)))]
    assert names == ["torch.nn", "nas_gym_agents.ppo", "matplotlib", "sqlalchemy"]
    assert within("nas_gym_agents.ppo", FORBIDDEN["nas_gym"])
    assert not within("nas_gym_agents_of_others", FORBIDDEN["nas_gym"])


@pytest.mark.parametrize(
    ("statement", "banned"),
    [
        (
            "import nas_gym",
            ["torch", "stable_baselines3", "sqlalchemy", "matplotlib", "nas_gym_envs", "nas_gym_agents"],
        ),
        (
            "from nas_gym.spaces import ChainSpace; ChainSpace((1, 8, 8), 10).candidate((0, 0, 21)).key",
            ["torch", "sklearn"],
        ),
        ("import nas_gym.drawing", ["torch", "matplotlib"]),
    ],
)
def test_what_a_fresh_interpreter_loads(statement: str, banned: list[str]) -> None:
    script = f"{statement}; import sys; print([name for name in {banned} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=_path())
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_importing_registers_the_ids() -> None:
    script = "import gymnasium, nas_gym; assert all(env_id in gymnasium.registry for env_id in nas_gym.IDS)"
    subprocess.run([sys.executable, "-c", script], check=True, env=_path())


def _path() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "agents")))}
