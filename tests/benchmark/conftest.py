"""A small benchmark that is run once."""

import pytest
from entries import TABLE

from nas_gym_agents.benchmark import Plan, Results, benchmark


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan.of(env=TABLE, agents="random", seeds=5, budget="unique=30", noise=0.003)


@pytest.fixture(scope="session")
def results(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return benchmark(plan, tmp_path_factory.mktemp("benchmark") / "out")
