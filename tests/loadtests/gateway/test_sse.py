"""Events are the same however the network cuts their bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.staging.gateway.sse import DONE, LONGEST_EVENT, EventTooLong, Splitter, content, data, event

EVENTS = [event({"choices": [{"delta": {"content": text}}]}) for text in ("", "第3巻", "です。\n\n")] + [DONE]
WHOLE = b"".join(each + b"\n\n" for each in EVENTS)


@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=12), crlf=st.booleans())
def test_any_cut_gives_the_same_events(cuts: list[int], crlf: bool) -> None:
    whole = WHOLE.replace(b"\n", b"\r\n") if crlf else WHOLE
    edges = [0, *sorted(cuts), len(whole)]
    splitter = Splitter()
    found = [e for a, b in pairwise(edges) for e in splitter.feed(whole[a:b])]
    assert found == EVENTS


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    splitter = Splitter()
    assert splitter.feed(b"x" * LONGEST_EVENT) == []
    with pytest.raises(EventTooLong, match="longer than"):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(DONE, None, id="the end mark"),
        pytest.param(b": a comment", None, id="a comment"),
        pytest.param(b"data: {broken", None, id="broken JSON"),
        pytest.param(b"data: [1]", None, id="no object"),
        pytest.param(b'data: {"a": 1}', {"a": 1}, id="an object"),
        pytest.param(b'data:{"a": 1}', {"a": 1}, id="an object without the space"),
    ],
)
def test_only_objects_are_data(raw: bytes, expected: object) -> None:
    assert data(raw) == expected


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        pytest.param({"choices": [{"delta": {"content": "巻"}}]}, "巻", id="a token"),
        pytest.param({"choices": [{"delta": {"role": "assistant"}}]}, "", id="a role"),
        pytest.param({"choices": [{"delta": {"content": None}}]}, "", id="no content"),
        pytest.param({"choices": [], "usage": {}}, "", id="usage alone"),
        pytest.param({"choices": "nonsense"}, "", id="nonsense"),
    ],
)
def test_the_text_of_a_chunk(chunk: dict[str, object], text: str) -> None:
    assert content(chunk) == text
