"""The best practices of NAS research, answered by what a benchmark knows of itself.

Lindauer and Hutter 2020, "Best Practices for Scientific Research on Neural Architecture Search", JMLR 21(243), arXiv
1909.02453; numbers are those of the paper's best practices.
"""

from collections.abc import Mapping
from typing import Any

from nas_gym.document import Block, Heading, Rows, Text
from nas_gym_agents.benchmark.results import Results

AUTHORS = "**for the authors**"
_OWN = "nas-gym"


def checklist(results: Results) -> list[Block]:
    """Return the checklist as a document."""
    return [
        Heading("NAS best-practice checklist", 1),
        Text(
            "After Lindauer and Hutter 2020 (JMLR 21(243), arXiv 1909.02453), numbered as the best practices there. "
            f"Answers are taken from the run; what a run cannot know is marked {AUTHORS}."
        ),
        Heading("Releasing code"),
        _rows(_releasing(results)),
        Heading("Comparing methods"),
        _rows(_comparing(results)),
        Heading("Reporting details"),
        _rows(_reporting(results)),
    ]


def _rows(answers: list[tuple[str, str, str]]) -> Rows:
    return Rows(("", "Question", "Answer"), answers, plain=True)


def _releasing(results: Results) -> list[tuple[str, str, str]]:
    plan, content = results.plan, results.content
    external = {name: told["from"] for name, told in content["agents"].items() if told["from"] != _OWN}
    tables = {env.id: results.facts(env.id) for env in plan.envs}
    trained = "; ".join(f"{env_id}: {_trained(facts)}" for env_id, facts in tables.items())
    code = f"nas-gym {content['versions'].get('nas-gym', '?')} has the code of its agents."
    if external:
        named = ", ".join(f"{name} ({place})" for name, place in external.items())
        code += f" Not part of it: {named}: {AUTHORS}."
    settings = "; ".join(f"{name}: {_settings(told['settings'])}" for name, told in content["agents"].items())
    return [
        ("1", "Is the code of the training pipeline, with its hyper-parameters and seeds, released?", trained),
        (
            "1",
            "Is the code of the search space released?",
            f"Yes, in nas-gym: {', '.join(str(facts['space']) for facts in tables.values())}.",
        ),
        ("2", "Is the code of the search methods released?", code),
        (
            "2",
            "Are hyper-parameters and seeds of the search methods released?",
            f"Yes, in plan.json. Seeds {_seeds(plan.seeds)}. Settings: {settings}.",
        ),
        ("3", "Was the code released with the results, whatever its state?", AUTHORS),
    ]


def _comparing(results: Results) -> list[tuple[str, str, str]]:
    plan, content = results.plan, results.content
    versions, hardware = content["versions"], content["hardware"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    digests = ", ".join(
        f"{results.facts(env.id)['table']} (digest {results.facts(env.id)['digest']})"
        for env in plan.envs
        if "table" in results.facts(env.id)
    )
    has_random = "random" in plan.agents
    tabular = _tabular(results)
    return [
        (
            "4",
            "Did all methods use the same benchmark: data, split, space, training and its hyper-parameters?",
            f"Yes: every method searched the same environments{f', whose tables are {digests}' if digests else ''}.",
        ),
        ("5", "Were ablation studies run?", f"{AUTHORS}; settings are varied with `--agent-arg`."),
        (
            "6",
            "Was the same evaluation protocol used for all methods?",
            f"Yes: one budget, which belongs to the environment ({plan.unit} = {plan.amount:,.0f}); the answer is the "
            "candidate with the best observed reward, scored by the same column.",
        ),
        (
            "7",
            "Was performance compared as a function of compute?",
            "Yes: anytime curves against evaluations"
            + (", and against simulated seconds where the table tells them." if tabular else "."),
        ),
        (
            "8",
            "Were methods compared to random search?",
            "Yes: `random`." if has_random else "No: add `random` to `--agents`.",
        ),
        (
            "9",
            "Were there several runs with different seeds, and are they reported?",
            f"Yes: {plan.seeds} of every method, environment and track, seeds {_seeds(plan.seeds)}. Interquartile "
            "means with 95 % bootstrap intervals over seeds, and means with standard deviations.",
        ),
        (
            "10",
            "Were tabular or surrogate benchmarks used for evaluations in depth?",
            f"Yes: {digests}." if tabular else f"Only in part ({digests or 'none'}).",
        ),
        (
            "11",
            "Were confounding factors controlled: hardware, versions, parallel runs?",
            f"Yes: one machine ({hardware.get('processor')}, {hardware.get('processors')} processors, "
            f"{hardware.get('system')}), one thread a search, {content.get('workers')} worker processes, {listed}. "
            + (
                "No reward, score or cost depends on times measured here."
                if _tabular(results)
                else "Costs are seconds measured here, in part."
            ),
        ),
    ]


def _reporting(results: Results) -> list[tuple[str, str, str]]:
    plan, content = results.plan, results.content
    took = "; ".join(f"{name} {_per_search(results, told):.3g} s" for name, told in content.get("took", {}).items())
    return [
        (
            "12",
            "Is it reported how hyper-parameters of the methods were tuned, and what that cost?",
            f"{AUTHORS}; how nas-gym's defaults were chosen is in docs/agents.",
        ),
        (
            "13",
            "Is the time of the whole method reported, not of the search alone?",
            f"Processor time of a search{' without any training' if _tabular(results) else ''}: {took}. "
            "Simulated seconds of the queries are in the results (cost_seconds) where the table tells them. "
            f"What retraining the answers would take: {AUTHORS}.",
        ),
        (
            "14",
            "Are all details of the experimental setup reported?",
            f"Yes, in plan.json and results.parquet: noise {plan.noise:g}, environments with their options, every "
            "evaluation with its decisions; `nas-gym validate` replays them.",
        ),
    ]


def _tabular(results: Results) -> bool:
    return all("table" in results.facts(env.id) for env in results.plan.envs)


def _per_search(results: Results, told: Mapping[str, float]) -> float:
    plan = results.plan
    return told["cpu_seconds"] / (plan.seeds * len(plan.envs) * len(plan.tracks))


def _trained(facts: Mapping[str, Any]) -> str:
    if "table" not in facts:
        return f"trained here ({facts['evaluator']})"
    source = facts.get("facts", {})
    told = source.get("source") or source.get("title") or source.get("citation")
    if told:
        return f"the table {facts['table']}, from {told}; its training is its authors'"
    if "recipe" in source:
        return f"the table {facts['table']}; data, recipe and seeds are in its manifest: {source['recipe']}"
    return f"the table {facts['table']}; its source: {AUTHORS}"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "none"


def _seeds(n: int) -> str:
    return "0" if n == 1 else f"0 to {n - 1}"
