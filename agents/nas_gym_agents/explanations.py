"""What is explained of a run once its search has ended: its checks, and what its decisions earned."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nas_gym.errors import NasGymError
from nas_gym.explain.record import write_atomically
from nas_gym.run import Run
from nas_gym.run_directory import CHECKS, EXPLANATIONS, TENSORBOARD, RunDirectory

if TYPE_CHECKING:
    from nas_gym.explain.credit_file import CreditTable
    from nas_gym_agents.explaining_credit import Trainings
    from nas_gym_agents.explanation_checks import Check


@dataclass
class Explanations:
    """What was computed of a run.

    Attributes:
        checks: Of the attributions; empty for an agent without a policy.
        credit: What decisions earned; None: it could not be computed.
        missing: What is not there, with one sentence that says why.
    """

    checks: Sequence["Check"] = ()
    credit: "CreditTable | None" = None
    missing: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a summary as JSON-ready data."""
        judged = [check.passed for check in self.checks if check.passed is not None]
        return {
            "checks_passed": sum(judged),
            "checks_failed": len(judged) - sum(judged),
            "credit": [] if self.credit is None else [view.name for view in self.credit.views],
            "missing": self.missing | ({} if self.credit is None else dict(self.credit.missing)),
        }


def explain(run: Run, checks: Sequence["Check"]) -> Explanations:
    """Return what can be told of a run without a training, and write it into its folder of explanations.

    What can't be told is left out, with the reason: it never ends a search.

    Args:
        run: The run.
        checks: Of its attributions, as the recorder made them.
    """
    found = Explanations(checks)
    if checks:
        write_checks(run, checks)

    def credit() -> None:
        from nas_gym_agents.explaining_credit import explain_credit

        found.credit = explain_credit(run)

    _attempt("credit", credit, found)
    return found


def explain_afterwards(run: Run, *, every: bool = False, trainings: "Trainings | None" = None) -> dict[str, Any]:
    """Explain a run that nobody is writing to, and return what came of it as JSON-ready data.

    Args:
        run: The run.
        every: Whether to explain again what has attributions.
        trainings: Which networks to train for counterfactual credit; None: none.

    Raises:
        NasGymError: Another process is searching in it, or it is damaged.
    """
    from nas_gym_agents.explaining_credit import explain_credit
    from nas_gym_agents.explaining_offline import checks_of, extend

    directory = RunDirectory.open(run.path)
    found, told = Explanations(), dict[str, Any]()
    try:
        _attempt("attributions", lambda: told.update(attributions=asdict(extend(run, every=every))), found)
        if told and (every or run.checks is None):
            found.checks = checks_of(Run(run.path))
            if found.checks:
                write_checks(run, found.checks)
        found.credit = explain_credit(run, trainings=trainings)
        _attempt("importance", lambda: told.update(importance=_importance(run)), found)
        _attempt("influence", lambda: told.update(influence=_influence(Run(run.path))), found)
        again = bool(told.get("attributions", {}).get("explained"))
        _tell(Run(run.path), found.credit, found.checks, again=again)
    finally:
        directory.close()
    return {
        **told,
        "checks": run.checks or [],
        "views": found.credit.facts()["views"],
        "missing": found.missing | dict(found.credit.missing),
    }


def _importance(run: Run) -> list[str]:
    """Write what mattered in the whole search, and return it in words (Markdown)."""
    from nas_gym.explain.importance import write
    from nas_gym.explain.importance_words import importance_words
    from nas_gym_agents.explaining_credit import ground_of

    ground = ground_of(run)
    space = ground.space if ground.table is None else None  # a table is found by itself, and says more than its space
    words = importance_words(write(run.path, space=space))
    write_atomically(run.path / EXPLANATIONS / "importance.md", "\n\n".join(words) + "\n")
    return words


def _influence(run: Run) -> list[str]:
    """Write what taught the policy the decisions of the best network, and return it in words."""
    from nas_gym_agents.influence.of_run import influence_of_run
    from nas_gym_agents.influence.words import account_of_influence

    found = influence_of_run(run)
    found.write(run.path / EXPLANATIONS)
    return account_of_influence(found)


def _tell(run: Run, credit: "CreditTable", checks: Sequence["Check"], *, again: bool) -> None:
    """Add to the run's events what is known now; its decisions only if more of them are explained."""
    from nas_gym.explain.rewriting import decision_of
    from nas_gym_agents.tensorboard_later import tell_checks, tell_credit, tell_decisions, tell_words

    folder = run.path / TENSORBOARD
    if not folder.is_dir():
        return
    if again:
        header = run.header
        tell_decisions(folder, [decision_of(row, header) for row in run.decisions.to_dict("records")], header)
        for best in run.best(1):
            tell_words(folder, best.episode, run.explanation())
    if checks:
        tell_checks(folder, [check.to_json() for check in checks])
    tell_credit(folder, credit.frame(), {view["name"]: view for view in credit.facts()["views"]})


def write_checks(run: Run, checks: Sequence["Check"]) -> None:
    """Write the checks of a run, whole or not at all."""
    folder = run.path / EXPLANATIONS
    folder.mkdir(exist_ok=True)
    content = json.dumps([check.to_json() for check in checks], ensure_ascii=False, indent=1)
    write_atomically(folder / CHECKS, content)


def _attempt(name: str, compute: Callable[[], None], found: Explanations) -> None:
    try:
        compute()
    except NasGymError as error:
        found.missing[name] = str(error)
