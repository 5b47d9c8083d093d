"""Comparing runs: what is committed, what TensorBoard shows, and where two runs of one search differ."""

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import nas_gym
from nas_gym.run_directory import REBUILD, RESULTS, TENSORBOARD, WEIGHTS

# What depends on clocks, and on which search of several was first to train a network of a shared store.
WALL_CLOCK = ("xai/overhead_share", "nas/answers_from_store", "nas/cache_hit_rate", "time/")


def committed(path: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return all rows of a run's results, by question: the time of commit and the training's seconds tell a repeat.

    A copy is read: opening a database that a kill left would tidy it up, and that is the resumed search's business.
    """
    with tempfile.TemporaryDirectory() as folder:
        for file in path.glob(f"{RESULTS}*"):
            shutil.copy(file, folder)
        if not (Path(folder) / RESULTS).exists():
            return {}
        connection = sqlite3.connect(Path(folder) / RESULTS)
        try:
            rows = connection.execute("select namespace, key, fidelity, repeat, created, evaluation from evaluations")
            return {row[:4]: row[4:] for row in rows}
        except sqlite3.OperationalError:  # killed before the table was made
            return {}
        finally:
            connection.close()


def events(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return all scalars of a run by tag, and the tags of everything else, without wall-clock ones."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    guidance = dict.fromkeys(("scalars", "tensors", "images"), 0)
    board = EventAccumulator(str(path / TENSORBOARD), size_guidance=guidance)
    board.Reload()
    tags = board.Tags()
    found = {tag: [(e.step, e.value) for e in board.Scalars(tag)] for tag in tags["scalars"]}
    for kind in ("images", "tensors", "histograms"):
        found |= {f"{kind}:{tag}": [] for tag in tags[kind]}
    return {tag: values for tag, values in found.items() if not tag.startswith(WALL_CLOCK)}


def differences(path: Path, reference: Path) -> list[str]:
    """Return in what a finished run differs from another of the same search, in words; empty: in nothing."""
    one, other = nas_gym.load(path), nas_gym.load(reference)
    found = []
    if one.history != other.history:
        found.append("the histories differ")
    try:
        pd.testing.assert_frame_equal(one.decisions, other.decisions)
    except AssertionError as error:
        found.append(f"the decisions differ: {error}")
    shown, wanted = events(path), events(reference)
    if shown != wanted:
        tags = sorted(tag for tag in shown.keys() | wanted.keys() if shown.get(tag) != wanted.get(tag))
        found.append(f"TensorBoard differs in {tags}")
    if one.result is None or other.result is None or one.result["best"] != other.result["best"]:
        found.append("the best networks differ")
    kept = [sorted(file.name for file in (run / WEIGHTS).glob("*")) for run in (path, reference)]
    if kept[0] != kept[1]:
        found.append(f"the kept weights differ: {kept[0]} and {kept[1]}")
    if (path / REBUILD).exists():
        found.append("the rebuilt files were not swapped in")
    return found


def assert_same_run(path: Path, reference: Path) -> None:
    """Assert that two finished runs of one search are the same, element by element."""
    assert differences(path, reference) == []
