"""OTLP bodies as senders write them, in protobuf and JSON, packed or not; and all that is none."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped] # no stubs
from hypothesis import given
from hypothesis import strategies as st

from collectors.signals import fingerprints
from collectors.signals.fingerprints import DIGEST, PROMPTS, digest
from collectors.signals.traces import ATTRIBUTES, Span, request_row
from collectors.sources.otlp.decoding import (
    JSON,
    MAX_AGE,
    MAX_AHEAD,
    PROTOBUF,
    Decoded,
    Unreadable,
    decoded,
    parsed,
    unpacked,
)
from tests.sources.spans import T, export, trace, turned_away, unix_ns

NOW = T + timedelta(seconds=5)
LIMIT = 100_000
SPANS = [*trace(1), *turned_away(2)]
BODY = export(SPANS).SerializeToString()


def as_json(spans: list[Span]) -> bytes:
    """As OTLP writes JSON: ids in hexadecimal."""
    data = MessageToDict(export(spans))
    for sent, each in zip(data["resourceSpans"][0]["scopeSpans"][0]["spans"], spans, strict=True):
        ids = {"traceId": each.trace_id, "spanId": each.span_id}
        sent.update(ids, links=[ids], **({"parentSpanId": each.parent_id} if each.parent_id else {}))
    return json.dumps(data).encode()


def read(body: bytes, media_type: str = PROTOBUF, encoding: str = "") -> Decoded:
    return decoded(parsed(unpacked(body, encoding, LIMIT), media_type), NOW)


def kept(span: Span) -> Span:
    """A span with the attributes that a receiver keeps."""
    return replace(span, attributes={k: v for k, v in span.attributes.items() if k in ATTRIBUTES})


def check(found: Decoded, expected: list[Span]) -> None:
    assert found == Decoded(tuple(map(kept, expected)))


WRITTEN: dict[str, tuple[bytes, str, str]] = {
    "protobuf": (BODY, PROTOBUF, ""),
    "protobuf, said to be as it is": (BODY, PROTOBUF, "identity"),
    "protobuf in gzip": (gzip.compress(BODY), PROTOBUF, "gzip"),
    "protobuf deflated": (zlib.compress(BODY), PROTOBUF, "deflate"),
    "JSON": (as_json(SPANS), JSON, ""),
    "JSON in gzip": (gzip.compress(as_json(SPANS)), JSON, "gzip"),
}


@pytest.mark.parametrize(("body", "media_type", "encoding"), WRITTEN.values(), ids=WRITTEN)
def test_a_body_is_read_however_it_is_written(body: bytes, media_type: str, encoding: str) -> None:
    check(read(body, media_type, encoding), SPANS)


@pytest.mark.parametrize(("body", "media_type"), [(b"", PROTOBUF), (b"{}", JSON)])
def test_an_export_of_nothing_is_one(body: bytes, media_type: str) -> None:
    check(read(body, media_type), [])


def test_what_stands_in_a_conversation_is_not_kept() -> None:
    asked = {**SPANS[0].attributes, "mlflow.spanInputs": '{"text": "秘密"}'}
    found = read(export([replace(SPANS[0], attributes=asked)]).SerializeToString())
    assert "秘密" not in repr(found)


PROMPT = json.dumps(
    {"messages": [{"role": "system", "content": "秘密 " * 40}, {"role": "user", "content": "秘密"}]}
)


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_a_prompt_is_kept_as_its_fingerprint(name: str) -> None:
    bare = {k: v for k, v in SPANS[0].attributes.items() if k != DIGEST}
    found = read(export([replace(SPANS[0], attributes={**bare, name: PROMPT})]).SerializeToString())
    assert "秘密" not in repr(found)
    assert found.spans[0].attributes[DIGEST] == digest("秘密 " * 40)
    row = request_row(found.spans, "otlp")
    assert row is not None
    kept = fingerprints.read(row.prefix_fingerprint)
    assert kept == fingerprints.fingerprint("秘密 " * 40)


def test_a_fingerprint_that_was_sent_stands() -> None:
    sent = replace(SPANS[0], attributes={**SPANS[0].attributes, "mlflow.spanInputs": PROMPT})
    assert read(export([sent]).SerializeToString()).spans == (kept(SPANS[0]),)


# ----------------------------------------------------------------------------------- who sent them
MADE_UP = "e34f21e6-c714-4975-8878-badb70cfab99"
SENDERS: dict[str, tuple[dict[str, Any], str | None]] = {
    "nobody says": ({}, "10.0.0.7"),
    "a name of its own": ({"service.instance.id": "10.0.0.11:8000", "host.name": "node-3"}, "10.0.0.11:8000"),
    "an id that the SDK made up": ({"service.instance.id": MADE_UP}, "10.0.0.7"),
    "a pod on a host": (
        {"service.instance.id": MADE_UP, "k8s.pod.name": "vllm-0", "host.name": "h"},
        "vllm-0",
    ),
    "a host": ({"host.name": "node-3", "service.name": "vllm"}, "node-3"),
    "the service that all are": ({"service.name": "vllm"}, "10.0.0.7"),
    "a name that is no text": ({"service.instance.id": 7}, "10.0.0.7"),
    "a name without end": ({"host.name": "n" * 1000}, "n" * 256),
}


@pytest.mark.parametrize(("resource", "sender"), SENDERS.values(), ids=SENDERS)
def test_a_span_knows_its_sender(resource: dict[str, Any], sender: str | None) -> None:
    found = decoded(parsed(export(SPANS, resource).SerializeToString(), PROTOBUF), NOW, "10.0.0.7")
    assert {s.sender for s in found.spans} == {sender}


# ------------------------------------------------------------------------------------ what is none
UNREADABLE: dict[str, tuple[bytes, str, str, int, str]] = {
    "text": (b"hello", PROTOBUF, "", 400, "no OTLP trace export"),
    "half a body": (BODY[:-7], PROTOBUF, "", 400, "no OTLP trace export"),
    "a page": (b"<!doctype html>", JSON, "", 400, "no OTLP trace export"),
    "JSON of another shape": (b"[1, 2]", JSON, "", 400, "no OTLP trace export"),
    "JSON of another kind": (b'{"resourceMetrics": []}', JSON, "", 400, "holds no resource spans"),
    "JSON with ids in base64": (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "AAAAAAAAAAAAAAAAAAAAAQ=="}]}]}]}',
        JSON,
        "",
        400,
        "no OTLP trace export",
    ),
    "JSON that nests without end": (b"[" * 90_000, JSON, "", 400, "no OTLP trace export"),
    "JSON that is no text": (b'{"\xff": 1}', JSON, "", 400, "no OTLP trace export"),
    "half a surrogate": (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\\ud800"}]}]}]}',
        JSON,
        "",
        400,
        "no OTLP trace export",
    ),
    "not packed as said": (BODY, PROTOBUF, "gzip", 400, "is no gzip"),
    "half a packed body": (gzip.compress(BODY)[:-9], PROTOBUF, "gzip", 400, "no whole gzip"),
    "something behind a packed body": (gzip.compress(BODY) + b"x", PROTOBUF, "gzip", 400, "no whole gzip"),
    "a bomb": (gzip.compress(bytes(LIMIT + 1)), PROTOBUF, "gzip", 413, "more than 100000 bytes"),
    "packed by nobody we know": (BODY, PROTOBUF, "br", 415, "is not known"),
}


@pytest.mark.parametrize(
    ("body", "media_type", "encoding", "status", "words"), UNREADABLE.values(), ids=UNREADABLE
)
def test_what_is_no_export_is_refused_with_a_reason(
    body: bytes, media_type: str, encoding: str, status: int, words: str
) -> None:
    with pytest.raises(Unreadable) as raised:
        read(body, media_type, encoding)
    assert raised.value.status == status
    assert words in raised.value.what


@given(st.binary(max_size=300), st.sampled_from([PROTOBUF, JSON]), st.sampled_from(["", "gzip"]))
def test_any_bytes_are_read_or_refused(body: bytes, media_type: str, encoding: str) -> None:
    with suppress(Unreadable):
        assert read(body, media_type, encoding).rejected >= 0


# ------------------------------------------------------------------------------ spans that are none
def sent(fields: Mapping[str, Any]) -> Decoded:
    """An export in which one span is sent with other fields."""
    request = export(SPANS)
    for name, value in fields.items():
        setattr(request.resource_spans[0].scope_spans[0].spans[1], name, value)
    return read(request.SerializeToString())


LONG_AGO, AHEAD = (
    unix_ns(t) for t in (NOW - MAX_AGE - timedelta(seconds=1), NOW + MAX_AHEAD + timedelta(seconds=1))
)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a short trace id": ({"trace_id": b"12345678"}, "16 bytes"),
    "no span id": ({"span_id": b""}, "span id 8"),
    "a trace id of zeros": ({"trace_id": bytes(16)}, "zeros"),
    "no end": ({"end_time_unix_nano": 0}, "to begin, and to end"),
    "no beginning": ({"start_time_unix_nano": 0}, "to begin, and to end"),
    "an end before its beginning": ({"end_time_unix_nano": 1}, "to begin, and to end"),
    "a year that no clock knows": ({"end_time_unix_nano": 2**64 - 1}, "in the future"),
    "an end ahead of us": ({"end_time_unix_nano": AHEAD}, "in the future"),
    "an end long ago": ({"start_time_unix_nano": 1, "end_time_unix_nano": LONG_AGO}, "more than a day ago"),
}


@pytest.mark.parametrize(("fields", "words"), BAD.values(), ids=BAD)
def test_a_bad_span_costs_itself_and_no_other(fields: Mapping[str, Any], words: str) -> None:
    found = sent(fields)
    check(replace(found, rejected=0, why=""), [s for s in SPANS if s is not SPANS[1]])
    assert found.rejected == 1
    assert words in found.why


def test_a_clock_that_is_a_little_ahead_is_none_of_ours() -> None:
    ahead = [replace(s, end=NOW + MAX_AHEAD - timedelta(seconds=1)) for s in SPANS]
    check(read(export(ahead).SerializeToString()), ahead)
