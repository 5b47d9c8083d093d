"""Fixtures of the tests of data sets: what a refusal must look like."""

from collections.abc import Callable

import pytest

from nas_gym.errors import DatasetError


@pytest.fixture
def refusal() -> Callable[..., str]:
    """A function that makes a call, expects a DatasetError of one line with the given words, and returns it."""

    def check(call: Callable[[], object], *words: str) -> str:
        with pytest.raises(DatasetError) as caught:
            call()
        message = str(caught.value)
        assert message.strip() and "\n" not in message
        for word in words:
            assert word in message
        return message

    return check
