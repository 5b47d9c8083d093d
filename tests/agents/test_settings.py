"""What decides a search, and what is refused before it begins."""

import pytest

from nas_gym.errors import ConfigurationError
from nas_gym_agents import SearchSettings


@pytest.mark.parametrize(
    "store",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+pysqlite://",
        "sqlite://two-slashes.sqlite",
        "sqlite:///file:shared?mode=memory&uri=true",
        "sqlite:///file::memory:?uri=true",
        ":memory:",
    ],
)
def test_a_store_that_would_lose_every_result_is_refused(store: str) -> None:
    with pytest.raises(ConfigurationError, match="is memory") as caught:
        SearchSettings(store=store)
    assert repr(store) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "store", ["results.sqlite", "sqlite:///results.sqlite", "postgresql://host/name", "odd:// url"]
)
def test_other_stores_are_not(store: str) -> None:
    assert "results.sqlite" in str(SearchSettings(store=store).store) or SearchSettings(store=store).store == store


@pytest.mark.parametrize(
    ("store", "written"),
    [
        ("postgresql+psycopg://ada:very%40secret@host:5433/db?sslmode=require", "ada@host:5433/db?sslmode=require"),
        ("postgresql://host/db?password=very%40secret&user=ada", "host/db?user=ada"),
        ("mysql://ada:very%40secret@host/db", "ada@host/db"),
    ],
)
def test_a_password_is_used_and_not_written(store: str, written: str) -> None:
    settings = SearchSettings(store=store)
    assert settings.store == store
    assert settings.to_json()["store"] == f"{store.partition('://')[0]}://{written}"
    assert SearchSettings.from_json(settings.to_json()).store == settings.to_json()["store"]


PLAIN = [
    "postgresql://ada@host/name?sslmode=require",
    "odd:// url",
    "postgresql://host:port/name",
    "/tmp/results.sqlite",
]


@pytest.mark.parametrize("store", PLAIN)
def test_a_store_without_a_password_is_written_as_it_is(store: str) -> None:
    assert SearchSettings(store=store).to_json()["store"] == store
