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
