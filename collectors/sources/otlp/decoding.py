"""The body of an OTLP export to spans. What cannot be read is refused whole; a bad span alone is left out."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped] # no stubs
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from collectors.signals.traces import ATTRIBUTES, MAX_TEXT, Span

PROTOBUF, JSON = "application/x-protobuf", "application/json"
ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
# Spans are exported within seconds of their end; a sender retries for minutes. What is older is no live
# feed, and what is ahead of our clock would be judged before it happened.
MAX_AGE, MAX_AHEAD = timedelta(days=1), timedelta(minutes=5)
_EPOCH = datetime.fromtimestamp(0, UTC)
_ANY_WRAPPER = 47  # zlib reads a gzip or a zlib header, whichever is there
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_FAILED = Status.STATUS_CODE_ERROR


class Unreadable(Exception):  # noqa: N818 - it is answered, never raised further
    """A body that is no OTLP export: what is wrong with it, and the HTTP status that says so."""

    def __init__(self, what: str, status: int = 400) -> None:
        super().__init__(what)
        self.what, self.status = what, status


@dataclass(frozen=True, slots=True)
class Decoded:
    """What an export held. `rejected` spans were left out, the last of them because of `why`."""

    spans: tuple[Span, ...]
    rejected: int = 0
    why: str = ""


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its compression, at most `limit` bytes. Raises Unreadable."""
    if encoding in {"", "identity"}:
        return body
    if encoding not in ENCODINGS:
        raise Unreadable(f"Content-Encoding {encoding[:40]!r} is not known. Send gzip, or nothing", 415)
    unpacker = zlib.decompressobj(_ANY_WRAPPER)
    try:
        found = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise Unreadable(f"the body is no {encoding}: {error}") from error
    if len(found) > limit:
        raise Unreadable(f"the body unpacks to more than {limit} bytes. Send smaller batches", 413)
    if not unpacker.eof or unpacker.unused_data:
        raise Unreadable(f"the body is no whole {encoding} stream")
    return found


def parsed(body: bytes, media_type: str) -> ExportTraceServiceRequest:
    """The export itself. Raises Unreadable."""
    request = ExportTraceServiceRequest()
    try:
        if media_type == JSON:
            ParseDict(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (DecodeError, ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"the body is no OTLP trace export in {media_type}: {_short(error)}") from error
    if body not in {b"", b"{}"} and not request.resource_spans:
        raise Unreadable("the body holds no resource spans. Is it an OTLP trace export?")
    return request


def decoded(request: ExportTraceServiceRequest, now: datetime) -> Decoded:
    """The spans of an export received at `now`, with the attributes that rows are made of."""
    spans: list[Span] = []
    rejected, why = 0, ""
    for sent in _sent(request):
        fault = _fault(sent, now)
        if fault:
            rejected, why = rejected + 1, fault
        else:
            spans.append(_span(sent))
    return Decoded(tuple(spans), rejected, why)


def _sent(request: ExportTraceServiceRequest) -> Iterator[Sent]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def _fault(sent: Sent, now: datetime) -> str:
    """Why a span cannot be used; nothing where it can."""
    if len(sent.trace_id) != _TRACE_ID_BYTES or len(sent.span_id) != _SPAN_ID_BYTES:
        return "a trace id has to be 16 bytes and a span id 8"
    if not any(sent.trace_id) or not any(sent.span_id):
        return "an id of nothing but zeros is none"
    if not 0 < sent.start_time_unix_nano <= sent.end_time_unix_nano:
        return "a span has to begin, and to end no sooner"
    end = _instant(sent.end_time_unix_nano)
    if end > now + MAX_AHEAD:
        return "a span ends in the future. Set the sender's clock"
    return "a span ended more than a day ago. Set the sender's clock" if end < now - MAX_AGE else ""


def _span(sent: Sent) -> Span:
    parent, message = sent.parent_span_id, sent.status.message
    return Span(
        sent.trace_id.hex(),
        sent.span_id.hex(),
        parent.hex() if parent else None,
        sent.name[:MAX_TEXT],
        _instant(sent.start_time_unix_nano),
        _instant(sent.end_time_unix_nano),
        _attributes(sent),
        sent.status.code == _FAILED,
        message[:MAX_TEXT] if message else None,
    )


def _attributes(sent: Sent) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in sent.attributes:
        key = each.key
        if key in ATTRIBUTES:
            value = each.value
            read = _READ.get(value.WhichOneof("value"))
            if read is not None:
                found[key] = read(value)
    return found


def _text(value: Any) -> str:
    text: str = value.string_value
    return text[:MAX_TEXT]


# Lists, maps and bytes are in no column.
_READ: Mapping[str | None, Callable[[Any], Any]] = {
    "string_value": _text,
    "int_value": attrgetter("int_value"),
    "double_value": attrgetter("double_value"),
    "bool_value": attrgetter("bool_value"),
}


def _instant(unix_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=unix_ns // 1000)


def _with_base64_ids(data: Any) -> Any:
    """OTLP writes ids in hexadecimal, protobuf's own JSON in base64; links and events are nobody's here."""
    for resource in data.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                span.pop("links", None)
                span.pop("events", None)
                for name in ("traceId", "spanId", "parentSpanId"):
                    if span.get(name):
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode("ascii")
    return data


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
