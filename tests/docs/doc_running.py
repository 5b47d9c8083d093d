"""How the pages are run: what is made smaller, what is not run and why, what has to be there before."""

import re
from collections.abc import Callable, Mapping

from doc_pages import Command

SMALLER = {
    r"--evaluations \d+": "--evaluations 6",
    r"--unique \d+": "--unique 16",
    r"--seeds \d+": "--seeds 1",
    r"--budget unique=\d+": "--budget unique=10",
    r"^(nas-gym retrain .*)--minutes [\d.]+": r"\1--epochs 2",
    r"--minutes [\d.]+": "--minutes 0.2",
    r"--workers \d+": "--workers 1",
    r"^nas-gym search(?!.*(--evaluations|--unique))": "nas-gym search --evaluations 6",
    # A search that trains: one epoch each, no network trained again at the end; a policy learns from small rollouts.
    r"epochs=\d+": "epochs=1",
    r"n_steps=\d+": "n_steps=16",
    r"^nas-gym search(?!.*(nas_gym/Table|epochs=))": "nas-gym search --env-arg epochs=1",
    r"^nas-gym search(?!.*(nas_gym/Table|--confirm))": "nas-gym search --confirm 0",
    r"^nas-gym search(?!.*(nas_gym/Table|n_steps=|--agent ))": "nas-gym search --agent-arg n_steps=16",
}
"""What a command is made smaller by before it is run, in this order: from a pattern to what replaces it."""

NOT_RUN = {
    r"^(python3 -m venv|\. \.venv|pip install)": "the environment of the tests is one already",
    r"^(nas-gym )?tensorboard ": "serves until it is stopped; tests/tensorboard runs it",
    r"^nas-gym search$": "is run where it has a run directory",
    r"^ray |--workers ray": "needs a cluster; tests/evaluation/test_rays.py starts one",
    r"postgresql\+psycopg://": "needs a server; tests/test_postgresql.py starts one",
    r"^nas-gym table import": "needs what others publish; tests/tables/test_importing.py has it",
    r"nas_gym/NB201|nas_gym/NBMacro": "needs a table that does not ship; tests/benchmark runs tables of the kind",
    r"^(python|bash) scripts/": "a measurement: minutes to hours",
    r"^python -m pytest": "a test",
    r"^make ": "make test runs this test",
    r"^nas-gym validate leaderboard": "tests/benchmark/test_validating.py does",
}
"""Commands that are parsed and not run: from a pattern to the reason."""

ONLY_PARSED = {
    "README.md": "its commands are those of the tutorials, and variations that other tests run",
    "docs/results.md": "measurements: minutes to an hour each",
    "docs/agents/.*": "searches that differ in the agent alone; tests/agents runs every agent",
    "docs/(finish|tuning|compress|inspect|winner).md": "tests/winner runs these commands, and all of them in order",
    "docs/scaling.md": "its commands need eight workers or a cluster; tests/evaluation and tests/faults have workers",
}
"""Pages whose commands are parsed and not run: from a pattern to the reason. Their Python is run."""

ELSEWHERE = {
    "docs/your-own-images.md": "tests/winner/test_own_images_page.py",
    "docs/inspect.md": "tests/winner/inspection/test_inspecting.py",
    "docs/tuning.md": "tests/winner/tuning/test_tuning.py",
    "docs/compress.md": "tests/winner/test_compression.py",
}
"""Pages whose Python is run by tests of their own, since it needs what takes minutes; their commands are parsed."""

PREPARED = {
    "README.md": ("runs/Chain-Digits-v0-maskable-ppo-seed0",),
    "docs/explanations.md": ("runs/Chain-Digits-v0-maskable-ppo-seed0", "runs/digits"),
    "docs/finish.md": ("runs/digits",),
    "docs/winner.md": ("runs/digits",),
    "docs/report.md": ("runs/digits",),
    "docs/tensorboard.md": ("runs/digits",),
}
"""Runs that a page takes to be there: places of copies of one small search on digits."""

TABLES = {
    "docs/environments/nb201.md": "nasbench201-cifar10",
    "docs/environments/nbmacro.md": "nasbenchmacro-cifar10",
}
"""Tables that a page takes to be there; the page is skipped where the data are not."""


def smaller(text: str) -> str:
    """Return a command as it is run."""
    for pattern, replacement in SMALLER.items():
        text = re.sub(pattern, replacement, text)
    return text


def reason_not_to_run(command: Command) -> str | None:
    """Return why a command is parsed and not run; None: it is run."""
    if command.inline:
        return "a sentence speaks of it"
    if command.placeholder:
        return f"the reader's {command.placeholder}"
    for table, what in ((ONLY_PARSED, command.page), (NOT_RUN, command.text)):
        for pattern, reason in table.items():
            if re.search(pattern, what):
                return reason
    return None


def check_readme(printed: str, names: Mapping[str, object]) -> None:
    """What the README's examples print."""
    assert "validation accuracy" in printed or "close to chance" in printed
    assert "'status': 'ok'" in printed


def check_benchmark(printed: str, names: Mapping[str, object]) -> None:
    """What the examples of docs/benchmark.md leave behind."""
    from nas_gym_agents.benchmark import Results

    a2c, mine = Results.read("results/a2c"), Results.read("results/mine")
    assert {len(run.rewards) for run in a2c.searches["nas_gym/Table-v0", "noise-free", "my-a2c"]} == {40}
    for track in mine.plan.tracks:
        assert {run.unique[-1] for run in mine.searches["nas_gym/Table-v0", track, "my-search"]} == {40}


CHECKS: dict[str, Callable[[str, Mapping[str, object]], None]] = {
    "README.md": check_readme,
    "docs/benchmark.md": check_benchmark,
}
"""What must be true after a page was run, from what it printed and the names that its Python has made."""
