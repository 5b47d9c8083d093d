"""Successive halving against its definition, in every order in which answers can come."""

import random
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

import pytest
from networks import SHORT, convnet, perceptron, trainer

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError, StoreError
from nas_gym.evaluation import Evaluation, Fidelity, StoredEvaluator, evaluate, resolved
from nas_gym.evaluation.halving import SuccessiveHalving
from nas_gym.evaluation.loop import Training
from nas_gym.randomness import derived_seed
from nas_gym.store import ResultStore

STOPS = (1, 3, 9)
CANDIDATES = [perceptron(n) for n in range(1, 31)]


class Curves:
    """Answers at once with accuracies that depend on key and stop; the keys of ``failing`` fail at their stop."""

    identity = "curves"
    capacity = 4

    def __init__(self, levels: int = 7, failing: dict[str, int] | None = None) -> None:
        self.levels = levels  # few, so that there are ties
        self.failing = failing or {}
        self.asked: list[tuple[str, str]] = []

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        assert fidelity is not None and fidelity.stop is not None
        self.asked += [(candidate.key, str(fidelity)) for candidate in candidates]
        return [self._future(self.answer(candidate.key, fidelity, repeat)) for candidate in candidates]

    def answer(self, key: str, fidelity: Fidelity, repeat: int = 0) -> Evaluation:
        told: dict[str, Any] = {"key": key, "fidelity": str(fidelity), "repeat": repeat}
        told |= {"cost_seconds": float(fidelity.stop or 0), "train_seconds": 0.5}
        if self.failing.get(key) == fidelity.stop:
            return Evaluation(**told, status="diverged", reason="it did")
        return Evaluation(**told, accuracy=derived_seed(key, fidelity.stop, repeat) % self.levels / self.levels)

    def _future(self, evaluation: Evaluation) -> Future[Evaluation]:
        return resolved(evaluation)


class Later(Curves):
    """Answers when told to, in any order."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.waiting: list[tuple[Future[Evaluation], Evaluation]] = []

    def _future(self, evaluation: Evaluation) -> Future[Evaluation]:
        future: Future[Evaluation] = Future()
        self.waiting.append((future, evaluation))
        return future

    def resolve(self, generator: random.Random) -> None:
        future, evaluation = self.waiting.pop(generator.randrange(len(self.waiting)))
        future.set_result(evaluation)


def defined(curves: Curves, keys: Sequence[str], stops: Sequence[int], fraction: float) -> dict[str, Evaluation]:
    """Return the answers by the definition, with nothing remembered between decisions."""
    answers: dict[str, Evaluation] = {}
    seen = list(dict.fromkeys(keys))
    for rung, stop in enumerate(stops):
        found = [curves.answer(key, Fidelity(stop=stop)) for key in seen]
        marks = [-1.0 if answer.accuracy is None else answer.accuracy for answer in found]
        on = []
        for i, key in enumerate(seen):
            before = sorted(range(i + 1), key=lambda j: (-marks[j], j))
            best = before.index(i) < max(1, floor(fraction * (i + 1) + 1e-9))
            cost = float(sum(stops[: rung + 1]))
            answers[key] = replace(found[i], cost_seconds=cost, train_seconds=0.5 * (rung + 1))
            if best and found[i].ok:
                on.append(key)
        seen = on
    return answers


@pytest.mark.parametrize("fraction", [1 / 3, 0.5, 0.05, 1.0])
@pytest.mark.parametrize("at_once", [1, 4, 30])
def test_equals_the_definition_in_any_order(fraction: float, at_once: int) -> None:
    keys = [candidate.key for candidate in CANDIDATES]
    failing = {keys[0]: 1, keys[7]: 3, keys[11]: 9, keys[20]: 1}
    expected = defined(Curves(7, failing), keys, STOPS, fraction)
    assert len({answer.fidelity for answer in expected.values()}) == 3 or fraction == 0.05
    at_once_evaluator = SuccessiveHalving(Curves(7, failing), STOPS, fraction)
    groups = [CANDIDATES[i : i + at_once] for i in range(0, len(CANDIDATES), at_once)]
    assert [a for group in groups for a in evaluate(at_once_evaluator, group)] == list(map(expected.get, keys))
    for seed in range(5):
        generator, later = random.Random(seed), Later(7, failing)
        halving = SuccessiveHalving(later, STOPS, fraction)
        futures: list[Future[Evaluation]] = []
        while len(futures) < len(CANDIDATES) or later.waiting:
            if len(futures) < len(CANDIDATES) and (not later.waiting or generator.random() < 0.4):
                futures += halving.submit(CANDIDATES[len(futures) : len(futures) + at_once])
            else:
                later.resolve(generator)
        assert [future.result(timeout=0) for future in futures] == list(map(expected.get, keys))
        assert sorted(later.asked) == sorted(at_once_evaluator.evaluator.asked)  # type: ignore[attr-defined]
        assert max(Counter(later.asked).values()) == 1


def test_the_first_is_promoted_and_only_who_beats_it_follows() -> None:
    class Given(Curves):
        def answer(self, key: str, fidelity: Fidelity, repeat: int = 0) -> Evaluation:
            return replace(super().answer(key, fidelity, repeat), accuracy=accuracies[key])

    first, worse, equal, better, last = CANDIDATES[:5]
    accuracies = {first.key: 0.5, worse.key: 0.4, equal.key: 0.5, better.key: 0.6, last.key: 0.55}
    found = evaluate(SuccessiveHalving(Given(), (1, 2)), [first, worse, equal, better, last])
    assert [answer.fidelity for answer in found] == ["stop=2", "stop=1", "stop=1", "stop=2", "stop=1"]
    assert [answer.cost_seconds for answer in found] == [3.0, 1.0, 1.0, 3.0, 1.0]


def test_all_of_one_submission_are_asked_at_once_and_nothing_waits() -> None:
    later = Later()
    halving = SuccessiveHalving(later, STOPS)
    futures = halving.submit(CANDIDATES[:6])
    assert [fidelity for _, fidelity in later.asked] == ["stop=1"] * 6 and not any(f.done() for f in futures)
    assert not futures[0].cancel()
    later.waiting.pop(3)[0].set_result(later.answer(CANDIDATES[3].key, Fidelity(stop=1)))
    assert len(later.asked) == 6  # its turn has not come: the three before it are not known
    later.waiting.pop(0)[0].set_result(later.answer(CANDIDATES[0].key, Fidelity(stop=1)))
    assert later.asked[6:] == [(CANDIDATES[0].key, "stop=3")]


def test_a_repeated_key_gets_the_same_answer_and_does_not_compete_twice() -> None:
    curves = Curves()
    halving = SuccessiveHalving(curves, STOPS)
    alone = evaluate(SuccessiveHalving(Curves(), STOPS), CANDIDATES[:9])
    doubled = [candidate for candidate in CANDIDATES[:9] for _ in range(2)]
    first = evaluate(halving, doubled)
    assert first == [answer for answer in alone for _ in range(2)]
    asked = len(curves.asked)
    assert evaluate(halving, doubled[::-1]) == first[::-1] and len(curves.asked) == asked
    other = evaluate(halving, CANDIDATES[:9], repeat=1)
    assert {answer.repeat for answer in other} == {1} and len(curves.asked) > asked
    less = evaluate(halving, CANDIDATES[:1], fidelity=Fidelity(data=0.5))
    assert less[0].fidelity == "stop=9,data=0.5"  # the first of those that compete on half of the data


def test_what_can_t_be_asked_for() -> None:
    for stops in ((), (3, 1), (1, 1), (0, 1), (1.5,)):
        with pytest.raises(ConfigurationError, match="stops are"):
            SuccessiveHalving(Curves(), stops)  # type: ignore[arg-type]
    for fraction in (0.0, 1.1, -1.0, float("nan")):
        with pytest.raises(ConfigurationError, match="fraction"):
            SuccessiveHalving(Curves(), STOPS, fraction)
    with pytest.raises(ConfigurationError, match="leave it out"):
        SuccessiveHalving(Curves()).submit(CANDIDATES[:1], fidelity=Fidelity(stop=1))
    assert SuccessiveHalving(Curves()).submit([]) == []


def test_identity_capacity_and_another_evaluator() -> None:
    halving = SuccessiveHalving(Curves(), (1, 2), 0.5)
    others = [SuccessiveHalving(Curves(), (1, 3), 0.5), SuccessiveHalving(Curves(), (1, 2), 0.4)]
    assert len({halving.identity, *(other.identity for other in others)}) == 3 and "curves" in halving.identity
    assert halving.capacity == 4
    halving.evaluator = replaced = Later()
    halving.submit(CANDIDATES[:1])
    assert len(replaced.asked) == 1


class Breaking(Curves):
    """Fails as a store does: by raising, or in the future, for one key at one stop as long as ``broken``."""

    def __init__(self, key: str, stop: int, error: BaseException, in_future: bool) -> None:
        super().__init__()
        self.trouble = (key, f"stop={stop}")
        self.error = error
        self.in_future = in_future
        self.broken = True

    def submit(self, candidates: Sequence[Candidate], **how: Any) -> list[Future[Evaluation]]:  # type: ignore[override]
        futures = []
        for candidate in candidates:
            if self.broken and (candidate.key, str(how["fidelity"])) == self.trouble:
                if not self.in_future:
                    raise self.error
                failed: Future[Evaluation] = Future()
                failed.set_exception(self.error)
                futures.append(failed)
            else:
                futures += super().submit([candidate], **how)
        return futures


@pytest.mark.parametrize("in_future", [True, False])
@pytest.mark.parametrize("stop", [1, 3])
def test_errors_surface_and_the_others_go_on(stop: int, in_future: bool) -> None:
    bad = CANDIDATES[0]  # who comes first always goes on
    breaking = Breaking(bad.key, stop, StoreError("the disk is full"), in_future)
    halving = SuccessiveHalving(breaking, STOPS)
    if stop == 1 and not in_future:
        with pytest.raises(StoreError):
            halving.submit(CANDIDATES[:6])
    else:
        futures = halving.submit(CANDIDATES[:6])
        assert isinstance(futures[0].exception(timeout=0), StoreError)
        assert all(future.result(timeout=0).ok for future in futures[1:])
    breaking.broken = False
    again = [future.result(timeout=0) for future in halving.submit(CANDIDATES[:6])]
    assert all(answer.ok for answer in again)
    assert max(Counter(breaking.asked).values()) <= (2 if stop == 1 and not in_future else 1)


@pytest.mark.parametrize("stop", [1, 3])
def test_interruptions_pass_through_and_nobody_waits_for_ever(stop: int) -> None:
    breaking = Breaking(CANDIDATES[0].key, stop, KeyboardInterrupt(), False)
    halving = SuccessiveHalving(breaking, STOPS)
    with pytest.raises(KeyboardInterrupt):
        halving.submit(CANDIDATES[:6])
    breaking.broken = False
    assert [f.result(timeout=0).key for f in halving.submit(CANDIDATES[:6])] == [c.key for c in CANDIDATES[:6]]


def test_threads() -> None:
    with ThreadPoolExecutor(4) as pool:

        class Pooled(Curves):
            def _future(self, evaluation: Evaluation) -> Future[Evaluation]:
                return pool.submit(lambda: evaluation)

        pooled = Pooled()
        halving = SuccessiveHalving(pooled, STOPS)
        barrier = threading.Barrier(5)

        def work(shift: int) -> list[Evaluation]:
            barrier.wait()
            turned = CANDIDATES[shift:] + CANDIDATES[:shift]
            return [f.result(timeout=20) for c in turned for f in halving.submit([c])]

        with ThreadPoolExecutor(5) as callers:
            answers = list(callers.map(work, range(0, 30, 6)))
    by_key = [{answer.key: answer for answer in found} for found in answers]
    assert all(found == by_key[0] for found in by_key) and len(by_key[0]) == 30
    assert max(Counter(pooled.asked).values()) == 1 and len(pooled.asked) > 30


def test_promoted_trainings_go_on_where_they_stopped(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    epoch = Training._epoch
    monkeypatch.setattr(Training, "_epoch", lambda self, deadline: trained.append(1) or epoch(self, deadline))
    recipe = replace(SHORT, epochs=4, batch_size=256)
    candidates = [convnet(width=2), *map(perceptron, (2, 8, 4, 16, 3))]
    with closing(ResultStore()) as store:
        evaluator = StoredEvaluator(trainer(digits, recipe, checkpoints=tmp_path), store)
        first = evaluate(SuccessiveHalving(evaluator, (1, 2, 4)), candidates)
        assert first[0].fidelity == "stop=4" and "stop=1" in {answer.fidelity for answer in first}
        assert len(trained) == sum(len(answer.curve) for answer in first)  # no epoch twice
        again = evaluate(SuccessiveHalving(StoredEvaluator(trainer(digits, recipe), store), (1, 2, 4)), candidates)
        assert again == first  # with the same seconds
        spent = sum(evaluation.cost_seconds for _, _, evaluation in store)
        assert sum(answer.cost_seconds for answer in first) == pytest.approx(spent)
    anew = evaluate(SuccessiveHalving(trainer(digits, recipe), (1, 2, 4)), candidates)
    assert [answer.deterministic() for answer in anew] == [answer.deterministic() for answer in first]
    assert len(trained) > 2 * sum(len(answer.curve) for answer in first)  # without checkpoints from the beginning
