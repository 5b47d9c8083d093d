"""Checking claims: every claimed candidate is replayed from its decisions, and what is said of it recomputed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError, NasGymError, OutOfSpaceError, RunError
from nas_gym.evaluation import TabularEvaluator, evaluate
from nas_gym_agents.benchmark.facts import table_digest
from nas_gym_agents.benchmark.plan import EnvPlan, Plan
from nas_gym_agents.benchmark.recording import unique_so_far
from nas_gym_agents.benchmark.results import PLAN_FILE, Results
from nas_gym_agents.benchmark.submission import TEMPLATE, Submission, over_seeds, read_submission
from nas_gym_envs import ArchitectureEnv

TOLERANCE = 1e-6
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Checked:
    """A claim that was checked.

    Attributes:
        claim: What is claimed, in words.
        holds: Whether it does; None: it can't be checked here.
        detail: What was found, where it does not.
    """

    claim: str
    holds: bool | None
    detail: str = ""


def validate(path: str | Path) -> list[Checked]:
    """Return the claims of results or submissions, checked.

    Args:
        path: A results directory of ``nas-gym bench``, a submission (``.json``), or a folder of submissions.

    Raises:
        NasGymError: There is nothing to check, or it is damaged.
    """
    place = Path(path)
    if (place / PLAN_FILE).is_file():
        return list(check_results(Results.read(place)))
    if place.is_file() and place.suffix == ".json":
        return list(check_submission(read_submission(place), place.name))
    if place.is_dir():
        files = sorted(file for file in place.rglob("*.json") if file.name != TEMPLATE)
        if files or (place / TEMPLATE).is_file():
            return [checked for file in files for checked in _checked_if_possible(file)]
    raise RunError(
        f"{str(place)!r} holds nothing to validate: expected a results directory of nas-gym bench, a submission "
        "(.json) or a folder of submissions"
    )


def _checked_if_possible(file: Path) -> list[Checked]:
    submission = read_submission(file)
    try:
        return list(check_submission(submission, file.name))
    except ConfigurationError as error:  # such as a table that is not on this machine
        return [Checked(f"{file.name}: {submission.agent} in {submission.env.id}", None, str(error))]


def check_results(results: Results) -> Iterator[Checked]:
    """Yield the claims of a benchmark: tables, and for every agent its evaluations, totals and budget.

    Raises:
        NasGymError: An environment can't be made here.
    """
    plan = results.plan
    for env_plan in plan.envs:
        env, facts = env_plan.make(), results.facts(env_plan.id)
        if isinstance(env.evaluator, TabularEvaluator):
            digest = table_digest(env.evaluator.table)
            told = "" if digest == facts.get("digest") else f"the digest here is {digest}, not {facts.get('digest')}"
            yield Checked(f"{env_plan.id}: the table is the same", not told, told)
        for track, noise in plan.tracks.items():
            replay = _Replay(env_plan, noise)
            for agent in plan.agents:
                yield _check_agent(results, replay, env_plan.id, track, agent)


def check_submission(submission: Submission, name: str) -> Iterator[Checked]:
    """Yield the claims of a submission: every seed's answer, and the numbers over the seeds.

    Raises:
        NasGymError: The environment can't be made here.
    """
    env_plan, noise = submission.env, submission.noise
    where = f"{name}: {submission.agent} in {env_plan.id}"
    scores = []
    for row in submission.seeds:
        env = env_plan.make(noise, row.seed if noise else 0)
        claim = f"{where}, seed {row.seed}: score {100 * row.score:.2f}"
        try:
            candidate = env.space.candidate(row.actions)
        except OutOfSpaceError as error:
            yield Checked(claim, False, str(error))
            continue
        reward, score = _replayed(env, env_plan.score, candidate)
        scores.append(score)
        wrong = [
            f"the {what} is {found:.6f}, not {claimed:.6f}"
            for what, found, claimed in (("reward", reward, row.reward), ("score", score, row.score))
            if not abs(found - claimed) <= TOLERANCE  # so that NaN does not hold
        ]
        yield Checked(claim, not wrong, "; ".join(wrong))
    truth = over_seeds(np.array(scores)) if scores else dict.fromkeys(submission.claim, float("nan"))
    for name, claimed in submission.claim.items():
        told = "" if abs(truth[name] - claimed) <= TOLERANCE else f"it is {truth[name]:.6f}, not {claimed:.6f}"
        yield Checked(f"{where}: {name} of the scores {100 * claimed:.2f}", not told, told)


def _replayed(env: ArchitectureEnv, score: str | None, candidate: Candidate) -> tuple[float, float]:
    (evaluation,) = evaluate(env.evaluator, [candidate])
    reward = float(env.objective(evaluation))
    if isinstance(env.evaluator, TabularEvaluator):
        return reward, env.evaluator.score(candidate, score)
    return reward, reward


class _Replay:
    """Answers to decisions, remembered; with noise they depend on the seed."""

    def __init__(self, env_plan: EnvPlan, noise: float) -> None:
        self._plan, self._noise = env_plan, noise
        self._env = env_plan.make(noise)
        self._seed = 0
        self.timed = not isinstance(self._env.evaluator, TabularEvaluator)  # costs are measured, other ones each time
        self._candidates: dict[tuple[int, ...], Candidate | str] = {}
        self._answers: dict[str, tuple[float, float, float]] = {}

    def candidate(self, actions: tuple[int, ...]) -> Candidate | str:
        """Return the candidate of decisions, or what is wrong with them."""
        known = self._candidates.get(actions)
        if known is None:
            try:
                known = self._env.space.candidate(actions)
            except OutOfSpaceError as error:
                known = str(error)
            self._candidates[actions] = known
        return known

    def answer(self, candidate: Candidate, seed: int) -> tuple[float, float, float]:
        """Return reward, score and cost."""
        if self._noise and seed != self._seed:
            self._env, self._seed = self._plan.make(self._noise, seed), seed
            self._answers.clear()
        known = self._answers.get(candidate.key)
        if known is None:
            (evaluation,) = evaluate(self._env.evaluator, [candidate])
            reward, score = _replayed(self._env, self._plan.score, candidate)
            known = self._answers[candidate.key] = reward, score, evaluation.cost_seconds
        return known


def _check_agent(results: Results, replay: _Replay, env: str, track: str, agent: str) -> Checked:
    import pyarrow.compute as pc

    table = results.table
    mine = table.filter(
        pc.and_(pc.equal(table["env"], env), pc.and_(pc.equal(table["track"], track), pc.equal(table["agent"], agent)))
    )
    claim = f"{env}, {track}, {agent}: {mine.num_rows:,} evaluations of {results.plan.seeds} searches"
    try:
        _check_rows(replay, mine, results.plan)
    except _WrongError as wrong:
        return Checked(claim, False, str(wrong))
    return Checked(claim, True)


class _WrongError(NasGymError):
    """A claim that does not hold."""


def _check_rows(replay: _Replay, rows: Any, plan: Plan) -> None:
    columns = {name: rows[name].to_pylist() for name in ("seed", "evaluation", "actions", "key")}
    numbers = {name: rows[name].to_numpy() for name in ("reward", "score", "unique", "cost_seconds")}
    seeds = np.array(columns["seed"], dtype=np.int64)
    starts = np.flatnonzero(np.diff(seeds, prepend=-1))
    if seeds[starts].tolist() != list(range(plan.seeds)):
        raise _WrongError(f"expected the seeds 0 to {plan.seeds - 1}, once each and in order")
    for start, end in zip(starts, [*starts[1:], len(seeds)], strict=True):
        seed = int(seeds[start])
        if columns["evaluation"][start:end] != list(range(1, end - start + 1)):
            raise _WrongError(f"seed {seed}: evaluations are not numbered from 1")
        found = [_check_row(replay, columns, i, seed) for i in range(start, end)]
        claimed = {name: values[start:end] for name, values in numbers.items()}
        _check_search(plan, seed, columns["key"][start:end], np.array(found), claimed, timed=replay.timed)


def _check_row(replay: _Replay, columns: dict[str, list[Any]], i: int, seed: int) -> tuple[float, float, float]:
    candidate = replay.candidate(tuple(columns["actions"][i]))
    where = f"seed {seed}, evaluation {columns['evaluation'][i]}"
    if isinstance(candidate, str):
        raise _WrongError(f"{where}: {candidate}")
    if candidate.key != columns["key"][i]:
        raise _WrongError(f"{where}: the decisions give the row {candidate.key}, not {columns['key'][i]}")
    return replay.answer(candidate, seed)


def _check_search(
    plan: Plan, seed: int, keys: Sequence[str], found: Values, claimed: dict[str, Values], *, timed: bool
) -> None:
    """Check the numbers of one search; ``found`` has reward, score and cost in its columns.

    Seconds of trainings that were timed can't be made again: they only have to be seconds.
    """
    unique, costs = unique_so_far(keys), np.cumsum(found[:, 2])
    if timed:
        costs = np.maximum.accumulate(np.nan_to_num(np.maximum(claimed["cost_seconds"], 0.0)))
    told = (
        ("reward", found[:, 0], TOLERANCE),
        ("score", found[:, 1], TOLERANCE),
        ("unique", unique.astype(np.float64), 0.0),
        ("cost_seconds", costs, TOLERANCE * max(1.0, float(costs[-1]))),
    )
    for name, values, tolerance in told:
        wrong = np.flatnonzero(~(np.abs(values - claimed[name]) <= tolerance))
        if len(wrong):
            i = int(wrong[0])
            raise _WrongError(
                f"seed {seed}, evaluation {i + 1}: {name} is {values[i]:.6f}, not {claimed[name][i]:.6f} "
                f"({len(wrong)} of {len(values)} evaluations of this search are wrong)"
            )
    counted: dict[str, NDArray[Any]] = {"evaluations": np.arange(1, len(keys) + 1), "unique": unique}
    spent = counted.get(plan.unit, costs)
    if len(spent) > 1 and spent[-2] >= plan.amount:
        raise _WrongError(f"seed {seed}: the search went on after its budget was spent")
