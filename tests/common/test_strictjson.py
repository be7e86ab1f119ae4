"""JSON that nobody vouches for: how deep it may be nested; what it may hold is tested where it is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moebius_edge.common.strictjson import MAX_DEPTH, JSONError, dumps, loads

LIMIT = 1 << 20


@pytest.mark.parametrize("text", ["", "]" * 200, "}" * 200, '"]', "\\", '\\"' + "]" * 200, "[{" * 200])
def test_depth_is_counted_outside_strings(text: str) -> None:
    fine, deep = (
        f"[{json.dumps(text)}, {'[' * depth}{']' * depth}]".encode() for depth in (MAX_DEPTH - 1, MAX_DEPTH)
    )
    assert loads(fine, LIMIT) == json.loads(fine)
    with pytest.raises(JSONError, match=f"nested more than {MAX_DEPTH} deep"):
        loads(deep, LIMIT)


@pytest.mark.parametrize("part", [b'\\"', b'"a', b'"', b"\\", b'["', b"\\\\"])
def test_no_text_takes_longer_than_its_length(part: bytes) -> None:
    text = b'"' + part * 300_000
    with pytest.raises(JSONError):  # with a search that tries again from each quote this would take an hour
        loads(text, len(text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: object) -> None:
    assert loads(dumps(value), LIMIT) == value
