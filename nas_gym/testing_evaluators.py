"""Conformance suites for other people's evaluators and stores: each raises AssertionError with one clear sentence.

`check_evaluator(make)` belongs into the tests of every evaluator, `check_store(make)` into those of every store.
"""

import json
import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.evaluation.evaluation import STATUSES, Evaluation, Evaluator, Fidelity, evaluate
from nas_gym.evaluation.stored import Store


def check_evaluator(
    make: Callable[[], Evaluator], candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None
) -> None:
    """Check that an evaluator keeps the contract of `nas_gym.evaluation.Evaluator`.

    Answers come in order and tell key, fidelity and repeat; failures have a status and a reason; the same question
    has the same answer whatever was asked before, from a second evaluator too; equal networks written differently
    are one; global generators are left alone. Every candidate is evaluated about five times.

    Args:
        make: Makes the evaluator; called twice.
        candidates: At least two with different keys.
        fidelity: Such as a cheap one; by default the evaluator's full one.

    Raises:
        AssertionError: The evaluator breaks the contract; the message says how.
    """
    if len({candidate.key for candidate in candidates}) < 2:
        raise AssertionError("check_evaluator needs at least two candidates with different keys")
    first, second = make(), make()
    _require(bool(first.identity) and first.identity == second.identity, "identity must be stable text, never empty")
    _require(list(first.submit([])) == [], "no candidates must give no futures")
    states = _generators()
    answers = evaluate(first, candidates, fidelity=fidelity)
    _require(_generators() == states, "evaluating must leave Python's, numpy's and torch's global generators alone")
    _require(len(answers) == len(candidates), "every candidate must have one future")
    for candidate, answer in zip(candidates, answers, strict=True):
        _check_answer(candidate, answer, fidelity)
    later = evaluate(second, list(reversed(candidates)), fidelity=fidelity)[::-1]
    _same(answers, later, "a second evaluator, asked in another order,")
    _same(answers, evaluate(first, candidates, fidelity=fidelity), "the same evaluator, asked again,")
    _same(answers, evaluate(first, [_rewritten(c) for c in candidates], fidelity=fidelity), "equal networks")
    repeated = evaluate(first, candidates[:1], fidelity=fidelity, repeat=1)[0]
    _require(repeated.repeat == 1, f"an evaluation must tell its repeat, asked was 1, told {repeated.repeat}")
    _require(evaluate(first, candidates[:1], fidelity=fidelity)[0].repeat == 0, "repeats must be kept apart")
    _require(first.identity == second.identity, "identity must not change by what was evaluated")


def check_store(make: Callable[[], Store], *, reopen: Callable[[], Store] | None = None) -> None:
    """Check that a store keeps the contract of `nas_gym.evaluation.Store`.

    Args:
        make: Makes an empty store.
        reopen: Opens the same store once more, as another process would; None: it can't be.

    Raises:
        AssertionError: The store breaks the contract; the message says how.
    """
    store = make()
    _require(len(store) == 0 and list(store) == [], "a new store must be empty")
    _require(store.get("n", "k", "full", 0) is None, "what was never put must be None")
    rows = _rows()
    for namespace, candidate, evaluation in rows:
        store.put(namespace, candidate, evaluation)
    _check_rows(store, rows, "")
    replaced = Evaluation(key=rows[1][2].key, accuracy=1.0, reason="", curve=(1.0,))
    store.put(rows[1][0], rows[0][1], replaced)
    rows = [rows[0], *rows[2:], (rows[1][0], rows[0][1], replaced)]
    _check_rows(store, rows, " after one was replaced")
    for _, candidate, evaluation in store:  # putting while iterating
        store.put("copy", candidate, evaluation)
        break
    _require(len(store) == len(rows) + 1, "putting while iterating must work")
    _check_threads(store, rows[0][1])
    if reopen is not None:
        other = reopen()
        _require(len(other) == len(store), "what is committed must be seen when the store is opened once more")
        other.put("other", rows[0][1], rows[0][2])
        seen = store.get("other", rows[0][2].key, rows[0][2].fidelity, rows[0][2].repeat)
        _require(seen == rows[0][2], "what somebody else commits must be seen at once")


def _require(kept: bool, sentence: str) -> None:
    if not kept:
        raise AssertionError(sentence)


def _check_answer(candidate: Candidate, answer: Evaluation, fidelity: Fidelity | None) -> None:
    told = (answer.key, answer.fidelity, answer.repeat)
    asked = (candidate.key, str(fidelity or Fidelity()), 0)
    _require(told == asked, f"answers must come in order and tell the question: asked was {asked}, told {told}")
    _require(answer.status in STATUSES, f"a status must be one of {STATUSES}, got {answer.status!r}")
    _require(answer.ok == (answer.reason == ""), f"failures and only they must have a reason: {answer}")
    _require(answer.loss is None or math.isfinite(answer.loss), f"a loss must be finite, got {answer.loss}")
    _require(answer.cost_seconds >= 0, f"a cost must not be negative, got {answer.cost_seconds}")
    again = Evaluation.from_json(json.loads(json.dumps(answer.to_json())))
    _require(again == answer, f"an evaluation must survive JSON: {answer} became {again}")


def _same(answers: Sequence[Evaluation], others: Sequence[Evaluation], who: str) -> None:
    for answer, other in zip(answers, others, strict=True):
        one, two = answer.deterministic(), other.deterministic()
        _require(one == two, f"{who} must get the same answer, bit for bit: {one} became {two}")


def _rewritten(candidate: Candidate) -> Candidate:
    """Return an equal candidate that is written differently: with an idle operation at its end."""
    architecture = candidate.architecture
    idle = Operation("identity", (), (len(architecture.operations) - 1,))
    longer = Architecture(architecture.input_shape, (*architecture.operations, idle))
    return Candidate(longer, candidate.hyperparameters, candidate.row)


def _generators() -> tuple[object, ...]:
    import torch

    numpy_state = [np.asarray(part).tolist() for part in np.random.get_state()]  # noqa: NPY002
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


def _check_threads(store: Store, candidate: Candidate) -> None:
    """Check puts of several threads at once: each thread's own answers, and one question that all of them answer."""
    before = len(store)

    def put(thread: int) -> bool:
        for number in range(8):
            answer = Evaluation(key=f"{thread} {number}", accuracy=number / 8)
            store.put("threads", candidate, answer)
            if store.get("threads", answer.key, "full", 0) != answer:
                return False
            store.put("threads", candidate, Evaluation(key="all", accuracy=thread / 4))
        return True

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(put, range(4)))
    _require(all(seen), "what a thread has put must be there at once, whatever others put at the same time")
    _require(len(store) == before + 33, f"4 threads put 33 questions, {len(store) - before} are there")
    found = [evaluation.key for namespace, _, evaluation in store if namespace == "threads" and evaluation.key != "all"]
    for thread in range(4):
        own = [key for key in found if key.startswith(f"{thread} ")]
        _require(own == [f"{thread} {number}" for number in range(8)], f"a thread's puts must stay in order, got {own}")


Row = tuple[str, Candidate, Evaluation]


def _rows() -> list[Row]:
    """Return answers that differ in one part of the question each, with everything that is hard to keep."""
    architecture = Architecture((2,), (Operation("linear", (("units", 2),)),))
    plain = Candidate(architecture)
    tuned = Candidate(architecture, (("learning_rate", 0.1), ("epochs", 3))[::-1])
    good = Evaluation(key="k", accuracy=0.1 + 0.2, loss=1e-300, curve=(0.1, 1 / 3), parameters=2**40, cost_seconds=1.5)
    failed = Evaluation(key="k2", status="diverged", reason="naïve “quotes” ' \" \\ 🙂\n, and more " + "x" * 5000)
    return [
        ("space ü 'quoted'; --", plain, good),
        ("space", plain, good),
        ("space", tuned, failed),
        ("space", plain, Evaluation(key="k", accuracy=0.5, fidelity="epochs=3")),
        ("space", plain, Evaluation(key="k", accuracy=0.25, repeat=1)),
        ("space" * 200, plain, Evaluation(key="k", accuracy=0.0, repeat=2)),
    ]


def _check_rows(store: Store, rows: Sequence[Row], when: str) -> None:
    _require(len(store) == len(rows), f"len must be {len(rows)}{when}, got {len(store)}")
    found = list(store)
    _require(found == list(rows), f"iterating must give what was put, in the order of the commits{when}: {found}")
    for namespace, _, evaluation in rows:
        got = store.get(namespace, evaluation.key, evaluation.fidelity, evaluation.repeat)
        _require(got == evaluation, f"get must give what was put{when}: {evaluation} became {got}")
