"""Records come back as they went in, numbers to the last bit, and nothing else is taken for one."""

import json
import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_gym.tensorboard import payload
from nas_gym.tensorboard.payload import PayloadError, halves, pack, single, singles, unpack

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text().filter(lambda name: name not in ("kind", "schema")), JSON, max_size=5))
def test_what_is_packed_is_unpacked(content):
    assert unpack(pack("episode", content), "episode") == {"kind": "episode", "schema": payload.SCHEMA, **content}


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_gives_back_its_float32(value):
    assert np.float32(json.loads(json.dumps(single(value)))) == np.float32(value)


@given(st.floats(width=16, allow_nan=False, allow_infinity=False))
def test_a_number_gives_back_its_float16(value):
    (found,) = halves([value])
    assert np.float16(json.loads(json.dumps(found))) == np.float16(value)


def test_numbers_are_short():
    assert singles(np.float32([0.1, -2.5])) == [0.100000001, -2.5]
    assert halves([1 / 3]) == [0.33325]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(value):
    assert (single(value), halves([value]), singles([value])) == (None, [None], [None])


GOOD = pack("episode", {"episode": 3})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "NoneType"),
        ("text", "str"),
        (1.5, "float"),
        (b"", "cut off"),
        (b"no zlib", "no compressed JSON"),
        (GOOD[:-3], "cut off"),
        (GOOD[:5], "cut off"),
        (zlib.compress(b"{"), "no compressed JSON"),
        (zlib.compress(b"\xff\xfe"), "no compressed JSON"),
        (zlib.compress(b"[1]"), "no 'episode'"),
        (zlib.compress(b"[" * 200_000), "no compressed JSON"),
        (zlib.compress(b'{"kind":"episode","schema":1,"reward":NaN}'), "NaN"),
        (zlib.compress(b'{"kind":"episode","schema":2}'), "schema 1"),
        (zlib.compress(b'{"kind":"episode"}'), "schema 1"),
        (pack("heat", {}), "no 'episode'"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_is_no_record_is_refused(data, reason):
    with pytest.raises(PayloadError, match=reason):
        unpack(data, "episode")


def test_a_record_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(payload, "LARGEST", 1_000)
    with pytest.raises(PayloadError, match="larger than any of ours"):
        unpack(pack("episode", {"text": "a" * 1_000}), "episode")
    assert unpack(pack("episode", {"text": "a" * 900}), "episode")["text"] == "a" * 900
