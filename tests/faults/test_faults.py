"""The rules that a search keeps under faults; scripts/fault_injection.py runs all of it, and more kills."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit import Row
from database_faults import Database
from driver_kills import WORKERS, Campaign
from lives import Nursery
from worker_faults import SCENARIOS, Scenario

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the suite reads /proc")]
QUICK = ("worker killed once", "loss not a number, one process", "exception in the module, one process")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


def assert_good(row: Row) -> None:
    assert row.good, (row.broken, row.lost, row.doubled, row.unequal)
    assert row.searches and row.injected, "the fault has to have struck"


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.title in QUICK], ids=lambda s: s.title)
def test_faults_of_trainings_and_workers(scenario: Scenario, nursery: Nursery, tmp_path: Path) -> None:
    assert_good(scenario.run(nursery, tmp_path))


@pytest.mark.parametrize("fault", ["full", "truncated", "locked", "shared"])
def test_faults_of_the_database(fault: str, nursery: Nursery, tmp_path: Path) -> None:
    assert_good(getattr(Database(nursery, tmp_path), fault)())


@pytest.mark.parametrize(("kind", "kills"), [("random", 4), ("maskable-ppo", 2)])
def test_drivers_killed(kind: str, kills: int, nursery: Nursery, tmp_path: Path) -> None:
    row = Row(kind)
    Campaign(nursery, tmp_path, kind).kill(row, kills, random.Random(1))
    assert_good(row)


def test_drivers_killed_with_workers(nursery: Nursery, tmp_path: Path) -> None:
    row = Row("workers")
    Campaign(nursery, tmp_path, "random", WORKERS).kill(row, 1, random.Random(2))
    assert_good(row)


def test_the_audit_sees_what_is_wrong(nursery: Nursery, tmp_path: Path) -> None:
    """A search with another seed is not the same search, and a result that is gone is lost."""
    from sqlalchemy import text

    from nas_gym.store import ResultStore

    campaign = Campaign(nursery, tmp_path, "random")
    reference, _ = campaign.reference()
    other = tmp_path / "other"
    code, said = nursery.run(other, {**campaign.settings(other), "seed": 99})
    assert not code, said
    row = Row("another seed")
    row.finished(other, reference)
    assert row.unequal == 1 and not row.good
    store = ResultStore(other / "results.sqlite")
    with store._engine.begin() as connection:
        connection.execute(text("DELETE FROM evaluations WHERE number = (SELECT MAX(number) FROM evaluations)"))
    store.close()
    row = Row("a row deleted")
    row.finished(other)
    assert row.lost and not row.good
