"""The numbers of a report: what every agent reached, how sure that is, and who is ahead of whom."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym import statistics
from nas_gym.statistics import Estimate, Values
from nas_gym_agents.benchmark.results import Results, SearchedSeed

COUNTS = (10, 25, 50, 100, 200, 300, 500, 1_000, 2_000, 5_000)
POINTS = 120  # of a curve
CURVE_RESAMPLES = 300
PAIR_RESAMPLES = 1_000


@dataclass(frozen=True)
class Curve:
    """The score of the best observed reward while a budget is spent: interquartile mean over seeds, with its band.

    Attributes:
        spent: Evaluations (unique ones under such a budget) or simulated seconds, (m,).
        middle: Interquartile mean, (m,); NaN before all searches have begun.
        low: Lower end of the pointwise interval.
        high: Upper end.
    """

    spent: Values
    middle: Values
    low: Values
    high: Values


@dataclass(frozen=True)
class AgentSummary:
    """What an agent reached in an environment, on a track; scores are shares in [0, 1].

    Attributes:
        agent: Its name.
        final: Score of the best observed reward at the end of every search, (seeds,).
        iqm: Interquartile mean of that.
        mean: Mean of that.
        std: Standard deviation of that over the seeds (divisor n - 1, as a sample's).
        regret: Interquartile mean of the distance to the known optimum; None where it is not known.
        hits: Share of the searches whose answer scores the optimum; None where it is not known.
        rank: Mean rank over the seeds.
        at: At some counts of evaluations: the interquartile mean, and mean and standard deviation.
        evaluations: Median number of evaluations of a search, repeats included.
        unique: Median number of different candidates of a search.
        by_evaluations: The anytime curve.
        by_cost: The anytime curve against simulated seconds; None where there are none.
    """

    agent: str
    final: Values
    iqm: Estimate
    mean: float
    std: float
    regret: Estimate | None
    hits: float | None
    rank: Estimate
    at: Mapping[int, tuple[Estimate, float, float]]
    evaluations: float
    unique: float
    by_evaluations: Curve
    by_cost: Curve | None


@dataclass(frozen=True)
class TrackSummary:
    """A track of an environment.

    Attributes:
        env: Its id.
        track: Its name.
        agents: In the order of the plan.
        improvement: Probability that a search of the first agent ends better than one of the second.
        difference: Mean difference of the two on the same seeds, first minus second.
    """

    env: str
    track: str
    agents: Sequence[AgentSummary]
    improvement: Mapping[tuple[str, str], Estimate]
    difference: Mapping[tuple[str, str], Estimate]

    @property
    def ordered(self) -> list[AgentSummary]:
        """The agents, the highest interquartile mean first."""
        return sorted(self.agents, key=lambda one: -one.iqm.value)


@dataclass(frozen=True)
class Summary:
    """All numbers of a report.

    Attributes:
        results: What they were made of.
        tracks: By environment and track.
        ranks: By track, over all environments, for every agent; empty with a single environment.
        counts: Numbers of evaluations at which scores are told.
    """

    results: Results
    tracks: Mapping[tuple[str, str], TrackSummary]
    ranks: Mapping[str, Mapping[str, Estimate]]
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready data."""
        return {
            "plan": self.results.content["plan"],
            "tracks": [_track_json(one) for one in self.tracks.values()],
            "ranks": {
                track: {agent: _estimate_json(one) for agent, one in ranks.items()}
                for track, ranks in self.ranks.items()
            },
        }


def summarise(results: Results, counts: Sequence[int] = COUNTS) -> Summary:
    """Return the numbers of a report.

    Args:
        results: A finished benchmark.
        counts: Numbers of evaluations at which scores are told, as far as the budget goes.
    """
    plan, searches = results.plan, results.searches
    reached = _reached(results)
    told = tuple(count for count in counts if count <= reached)
    tracks = {}
    for env in plan.envs:
        for track in plan.tracks:
            of_agents = {agent: searches[env.id, track, agent] for agent in plan.agents}
            tracks[env.id, track] = _track(results, env.id, track, of_agents, told)
    ranks: dict[str, dict[str, Estimate]] = {}
    if len(plan.envs) > 1:
        for track in plan.tracks:
            finals = [np.stack([one.final for one in tracks[env.id, track].agents]) for env in plan.envs]
            ranks[track] = dict(zip(plan.agents, statistics.rank_estimates(finals), strict=True))
    return Summary(results, tracks, ranks, told)


def _reached(results: Results) -> float:
    """Return up to which count of evaluations scores are told: the budget, or what the median search came to."""
    plan = results.plan
    if plan.unit != "simulated_seconds":
        return plan.amount
    return min(float(np.median([len(one.rewards) for one in runs])) for runs in results.searches.values())


def _track(
    results: Results, env: str, track: str, searches: Mapping[str, list[SearchedSeed]], counts: tuple[int, ...]
) -> TrackSummary:
    finals = {agent: np.array([_anytime(one)[-1] for one in runs]) for agent, runs in searches.items()}
    ranks = statistics.rank_estimates([np.stack(list(finals.values()))])
    most = _axes(results, searches)
    agents = [
        _agent(results, env, agent, searches[agent], rank, counts, most)
        for agent, rank in zip(searches, ranks, strict=True)
    ]
    improvement: dict[tuple[str, str], Estimate] = {}
    difference: dict[tuple[str, str], Estimate] = {}
    names = list(finals)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            one, other = finals[first], finals[second]
            found = statistics.probability_of_improvement(one, other, resamples=PAIR_RESAMPLES)
            improvement[first, second] = found
            improvement[second, first] = Estimate(1 - found.value, 1 - found.high, 1 - found.low)
            apart = statistics.paired_difference(one, other)
            difference[first, second] = apart
            difference[second, first] = Estimate(-apart.value, -apart.high, -apart.low)
    return TrackSummary(env, track, agents, improvement, difference)


def _agent(
    results: Results,
    env: str,
    agent: str,
    runs: list[SearchedSeed],
    rank: Estimate,
    counts: tuple[int, ...],
    grids: tuple[Values, Values | None],
) -> AgentSummary:
    optimum = results.facts(env).get("optimum")
    curves = [_anytime(run) for run in runs]
    final = np.array([curve[-1] for curve in curves])
    progress = [_progress(results, run) for run in runs]
    at = {}
    for count in counts:
        held = np.array(
            [statistics.on_grid(p, c, [count])[0] for p, c in zip(progress, curves, strict=True)], dtype=np.float64
        )
        at[count] = (statistics.bootstrap_interval(held), float(held.mean()), _std(held))
    by_evaluations, by_cost = grids
    return AgentSummary(
        agent=agent,
        final=final,
        iqm=statistics.bootstrap_interval(final),
        mean=float(final.mean()),
        std=_std(final),
        regret=None if optimum is None else statistics.bootstrap_interval(statistics.regret(final, optimum)),
        hits=None if optimum is None else float((final >= optimum).mean()),
        rank=rank,
        at=at,
        evaluations=float(np.median([len(run.rewards) for run in runs])),
        unique=float(np.median([run.unique[-1] for run in runs])),
        by_evaluations=_curve(progress, curves, by_evaluations),
        by_cost=None if by_cost is None else _curve([run.costs for run in runs], curves, by_cost),
    )


def _axes(results: Results, searches: Mapping[str, list[SearchedSeed]]) -> tuple[Values, Values | None]:
    """Return where curves are told, the same for all agents: evaluations, and simulated seconds if there are any.

    They reach as far as the budget, or as the median search of the agent that went furthest.
    """
    plan = results.plan

    def furthest(spent: Callable[[SearchedSeed], float]) -> float:
        return max(float(np.median([spent(run) for run in runs])) for runs in searches.values())

    evaluations = plan.amount if plan.unit != "simulated_seconds" else furthest(lambda run: len(run.rewards))
    grid = np.unique(np.round(np.geomspace(1, max(evaluations, 1), POINTS)))
    every = [run for runs in searches.values() for run in runs]
    if not all(run.costs[-1] > 0 for run in every):
        return grid, None
    seconds = plan.amount if plan.unit == "simulated_seconds" else furthest(lambda run: float(run.costs[-1]))
    first = max(float(run.costs[0]) for run in every)
    return grid, np.geomspace(min(first, seconds), seconds, POINTS)


def _curve(spent: Sequence[NDArray[Any]], curves: Sequence[Values], grid: Values) -> Curve:
    rows = [statistics.on_grid(s, c, grid) for s, c in zip(spent, curves, strict=True)]
    return Curve(grid, *statistics.curve_band(np.stack(rows), resamples=CURVE_RESAMPLES))


def _anytime(run: SearchedSeed) -> Values:
    return statistics.anytime(run.rewards, run.scores)


def _progress(results: Results, run: SearchedSeed) -> NDArray[Any]:
    """Return what was spent up to every evaluation: unique candidates under such a budget, else evaluations."""
    return run.unique if results.plan.unit == "unique" else np.arange(1, len(run.rewards) + 1)


def _std(values: Values) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _estimate_json(one: Estimate | None) -> list[float] | None:
    return None if one is None else [one.value, one.low, one.high]


def _track_json(track: TrackSummary) -> dict[str, Any]:
    return {
        "env": track.env,
        "track": track.track,
        "agents": [
            {
                "agent": one.agent,
                "searches": len(one.final),
                "iqm": _estimate_json(one.iqm),
                "mean": one.mean,
                "std": one.std,
                "regret": _estimate_json(one.regret),
                "optimum_found": one.hits,
                "rank": _estimate_json(one.rank),
                "evaluations": one.evaluations,
                "unique": one.unique,
                "at": {
                    str(count): {"iqm": _estimate_json(iqm), "mean": mean, "std": std}
                    for count, (iqm, mean, std) in one.at.items()
                },
            }
            for one in track.agents
        ],
        "probability_of_improvement": [
            {"agent": a, "over": b, "estimate": _estimate_json(one)} for (a, b), one in track.improvement.items()
        ],
        "paired_difference": [
            {"agent": a, "minus": b, "estimate": _estimate_json(one)} for (a, b), one in track.difference.items()
        ],
    }
