"""Streams are read as the standard says, however they are cut, and what is wrong with one is named."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.sse import Fault, Transcript, events, refusal


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", ["a", "b"], id="two events"),
        pytest.param(b"data: a\r\n\r\ndata:b\r\n\r\n", ["a", "b"], id="line ends of two bytes, no space"),
        pytest.param(b"data: a\ndata: b\n\n", ["a\nb"], id="one event of two lines"),
        pytest.param(b": ping\n\nevent: x\nid: 3\ndata: a\n\n", ["a"], id="comments and other fields"),
        pytest.param(b"\n\n\n", [], id="nothing but empty lines"),
        pytest.param(b"data: a\n\ndata: [DONE]", ["a", "[DONE]"], id="an end without its empty line"),
        pytest.param("data: 星屑の航海士🎌\n\n".encode(), ["星屑の航海士🎌"], id="characters of many bytes"),
    ],
)
def test_events_of_a_stream(stream: bytes, expected: list[str]) -> None:
    assert list(events(stream.splitlines(keepends=True))) == expected


def chunk(text: str | None, **more: Any) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}, **more}]})


@given(st.lists(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), max_size=20))
def test_an_answer_is_the_sum_of_its_chunks(words: list[str]) -> None:
    heard = Transcript()
    for at, word in enumerate(words):
        heard.hear(chunk(word), float(at))
    assert heard.sha256 == hashlib.sha256("".join(words).encode()).hexdigest()
    assert (heard.chunks, heard.characters) == (len(words), sum(map(len, words)))
    assert heard.first_token_at == (0.0 if words else None)


def test_the_first_token_is_the_first_that_can_be_read() -> None:
    heard = Transcript()
    for at, event in enumerate(['{"choices": [{"delta": {"role": "assistant"}}]}', chunk(""), chunk("あ")]):
        heard.hear(event, float(at))
    assert heard.first_token_at == 2.0


def test_usage_and_end_are_kept() -> None:
    heard = Transcript()
    heard.hear(chunk("a", finish_reason=None), 1.0)
    heard.hear(chunk(None, finish_reason="length"), 2.0)
    heard.hear('{"choices": [], "usage": {"prompt_tokens": 3}}', 3.0)
    assert not heard.done
    heard.hear("[DONE]", 4.0)
    assert (heard.done, heard.finish_reason, heard.usage) == (True, "length", {"prompt_tokens": 3})


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        pytest.param('{"error": {"message": "gone"}}', "stream_error", id="an error in OpenAI's shape"),
        pytest.param('{"error": "gone"}', "stream_error", id="an error as a text"),
        pytest.param('{"choices": [{"delta', "bad_json", id="half an event"),
        pytest.param("[1]", "bad_json", id="no object"),
        pytest.param('{"choices": 5}', "bad_json", id="choices that are none"),
        pytest.param('{"choices": ["x"]}', "bad_json", id="a choice that is none"),
        pytest.param('{"choices": [{"delta": "x"}]}', "bad_json", id="a delta that is none"),
    ],
)
def test_a_bad_event_is_a_fault(event: str, kind: str) -> None:
    with pytest.raises(Fault) as caught:
        Transcript().hear(event, 1.0)
    assert caught.value.kind == kind


def test_half_a_character_is_a_fault() -> None:
    with pytest.raises(Fault, match="UTF-8"):
        list(events(["データ".encode()[:4] + b"\n"]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b'{"error": {"message": "slow down"}}', "HTTP 429: slow down", id="OpenAI's shape"),
        pytest.param(b"<html>\xff", "HTTP 429: <html>\ufffd", id="a page of some proxy"),
        pytest.param(b"[]", "HTTP 429: []", id="JSON of another shape"),
        pytest.param(b"x" * 5000, "HTTP 429: " + "x" * 200, id="too much"),
    ],
)
def test_a_refusal_says_why(content: bytes, said: str) -> None:
    fault = refusal(429, content)
    assert (fault.kind, str(fault)) == ("http_429", said)
