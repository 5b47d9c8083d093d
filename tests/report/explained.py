"""Explanations as other commands leave them in a run, made up for the tests of the report."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import nas_gym
from nas_gym.run_directory import EXPLANATIONS

MEANINGS = {
    "shapley_table": "The Shapley value of the decision in the whole table.",
    "critic_waterfall": "By how much the decision raised the reward that the critic expected.",
    "regret": "What the decision lost for good.",
}
CHECKS = [
    {"name": "additivity", "value": 3e-16, "limit": 1e-3, "passed": True, "sentence": "They add up."},
    {"name": "infidelity", "value": 0.5, "limit": 0.1, "passed": False, "sentence": "They do not foretell drops."},
    {"name": "baseline agreement", "value": 0.58, "limit": None, "passed": None, "sentence": "It has no rule."},
]


def explain(run_dir: Path, *, mapping: bool = False) -> dict[str, list[float]]:
    """Write explanations of the best network of a run; return the credits by view.

    Args:
        run_dir: The run.
        mapping: Whether the facts of the credit are a mapping by view, not a list of views.
    """
    folder = run_dir / EXPLANATIONS
    folder.mkdir()
    run = nas_gym.load(run_dir)
    best = run.best()[0]
    slots = {episode.number: episode.slots for episode in run.history}[best.episode]
    generator = np.random.default_rng(0)
    credits: dict[str, list[float]] = {}
    rows: list[dict[str, Any]] = []
    for view in MEANINGS:
        credits[view] = generator.normal(0, 0.02, len(slots)).tolist()
        for step, (slot, value) in enumerate(zip(slots, credits[view], strict=True)):
            known = view == "shapley_table"
            rows.append(
                {
                    "episode": best.episode,
                    "step": step,
                    "slot": slot,
                    "view": view,
                    "credit": value,
                    "low": value - 0.01 if known else None,
                    "high": value + 0.01 if known else None,
                }
            )
    pd.DataFrame(rows).astype({"low": float, "high": float}).to_parquet(folder / "credit.parquet")
    views = [
        {"name": name, "meaning": meaning, "trusted": name != "critic_waterfall", "trust": f"told of {name}"}
        for name, meaning in MEANINGS.items()
    ]
    facts: dict[str, Any] = {"unit": "points of accuracy", "factor": 100.0, "views": views}
    facts["missing"] = {"counterfactual": "nothing was replaced"}
    if mapping:
        facts = {view.pop("name"): view for view in views}
    (folder / "credit.json").write_text(json.dumps(facts))
    (folder / "checks.json").write_text(json.dumps(CHECKS))
    (folder / "importance.json").write_text(json.dumps({"method": "permutation", "sentence": "unused where text is"}))
    (folder / "importance.md").write_text(
        "# Importance\n\nWhat mattered most was `layer 1`.\n\n| slot | share |\n| --- | ---: |\n| layer 1 | 0.61 |\n\n"
        "* one\n* two\n"
    )
    for name in ("importance", "beeswarm"):
        (folder / f"{name}.png").write_bytes(picture())
    teach(folder, best.episode)
    return credits


def teach(folder: Path, episode: int) -> None:
    """Write what taught a policy two decisions of an episode."""
    decisions = [
        {"episode": episode, "step": 0, "slot": "activation", "choice": "relu", "untaught": -0.7, "logp": -0.5},
        {"episode": episode, "step": 1, "slot": "layer 1", "choice": "stop", "untaught": -2.0, "logp": -1.0},
    ]
    checks = {"path": {"correlation": 0.97, "residual_share": 0.03}}
    (folder / "influence.json").write_text(json.dumps({"decisions": decisions, "checks": checks}))
    shares = [
        (0, "evaluation", 1, "a", 0.3),
        (0, "evaluation", 2, "b", -0.2),
        (0, "evaluation", 3, "a", 0.3),
        (0, "entropy", -1, None, -0.2),
        (1, "evaluation", 4, None, 0.9),
        (1, "evaluation", 5, "c", 0.05),
        (1, "evaluation", 6, "d", 0.02),
        (1, "evaluation", 7, "e", 0.01),
        (1, "momentum", -1, None, 0.02),
    ]
    rows = pd.DataFrame(shares, columns=("step", "source", "evaluation", "key", "nats"))
    rows.assign(episode=episode, policy_version=1, without=np.nan).to_parquet(folder / "influence.parquet")


def picture() -> bytes:
    """Return a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2))
    figure.add_subplot().plot([0, 1], [0, 1])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
