"""A submission to the leaderboard: the answer of every seed with what it is claimed to be worth, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym import statistics
from nas_gym.errors import ConfigurationError, RunError
from nas_gym_agents.benchmark.plan import NOISE_FREE, EnvPlan, parse_budget
from nas_gym_agents.benchmark.results import Results

TEMPLATE = "TEMPLATE.json"
SCHEMA = 1
CLAIMED = ("mean", "std", "iqm")
"""What `over_seeds` tells, and a submission claims."""


@dataclass(frozen=True)
class Answer:
    """What a search answered with.

    Attributes:
        seed: Of the search.
        actions: The decisions of the answer.
        reward: That the search saw.
        score: That is claimed.
    """

    seed: int
    actions: tuple[int, ...]
    reward: float
    score: float


@dataclass(frozen=True)
class Submission:
    """A row of the leaderboard.

    Attributes:
        agent: Its name.
        env: The environment.
        budget: Such as ``"unique=100"``.
        noise: Of the rewards.
        seeds: The answers.
        claim: ``mean``, ``std`` and ``iqm`` of their scores, as claimed.
    """

    agent: str
    env: EnvPlan
    budget: str
    noise: float
    seeds: tuple[Answer, ...]
    claim: Mapping[str, float]


def read_submission(path: Path) -> Submission:
    """Return a submission.

    Raises:
        RunError: It can't be read, or something is missing in it.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']}")
        protocol = data["protocol"]
        parse_budget(protocol["budget"])
        answers = tuple(
            Answer(int(one["seed"]), tuple(map(int, one["actions"])), float(one["reward"]), float(one["score"]))
            for one in data["seeds"]
        )
        numbers = [one.seed for one in answers]
        if not answers or len(set(numbers)) < len(numbers):
            raise ValueError("seeds: at least one, each once")
        return Submission(
            agent=str(data["agent"]),
            env=EnvPlan(id=str(data["env"]), options=dict(data.get("options", {})), score=data.get("score")),
            budget=str(protocol["budget"]),
            noise=float(protocol.get("noise", 0.0)),
            seeds=answers,
            claim={name: float(data["claim"][name]) for name in CLAIMED},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise RunError(
            f"{str(path)!r} is no submission ({reason}); leaderboard/{TEMPLATE} shows what is in one"
        ) from None


def over_seeds(scores: NDArray[np.float64]) -> dict[str, float]:
    """Return what is claimed over the seeds: mean, standard deviation and interquartile mean of the scores."""
    return {
        "mean": float(scores.mean()),
        "std": float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
        "iqm": float(statistics.interquartile_mean(scores)),
    }


def submission(results: Results, agent: str, env: str | None = None, track: str | None = None) -> dict[str, Any]:
    """Return the submission of an agent of a benchmark, JSON-ready; authors and code are left to fill in.

    Args:
        results: A finished benchmark.
        agent: Of its plan.
        env: Of its plan; None: the only one.
        track: Of its plan; None: the noise-free one.

    Raises:
        ConfigurationError: There is no such agent, environment or track, or several environments.
    """
    plan = results.plan
    envs: Mapping[str, EnvPlan] = {one.id: one for one in plan.envs}
    chosen, track = env or next(iter(envs)), track or NOISE_FREE
    for what, name, known in (
        ("agent", agent, plan.agents),
        ("environment", chosen, envs),
        ("track", track, plan.tracks),
    ):
        if name not in known:
            raise ConfigurationError(f"the results have no {what} {name!r}; known are {', '.join(known)}")
    if env is None and len(envs) > 1:
        raise ConfigurationError(f"the results have several environments; name one of {', '.join(envs)}")
    frame = results.frame
    mine = frame[(frame["env"] == chosen) & (frame["track"] == track) & (frame["agent"] == agent)]
    answers = []
    for seed, rows in mine.groupby("seed", sort=True):
        best = rows.iloc[int(rows["reward"].to_numpy().argmax())]
        actions = [int(action) for action in best["actions"]]
        answers.append(
            {"seed": int(seed), "actions": actions, "reward": float(best["reward"]), "score": float(best["score"])}
        )
    scores = np.array([one["score"] for one in answers])
    return {
        "schema": SCHEMA,
        "agent": agent,
        "authors": "",
        "code": "",
        "settings": results.content["agents"][agent],
        "env": chosen,
        "options": dict(envs[chosen].options),
        "score": envs[chosen].score,
        "protocol": {"budget": plan.budget, "noise": plan.tracks[track]},
        "versions": results.content["versions"],
        "claim": over_seeds(scores),
        "seeds": answers,
    }
