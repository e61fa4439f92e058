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

from collectors.signals.fingerprints import DIGEST, PROMPTS, of_prompt
from collectors.signals.traces import ATTRIBUTES, MAX_TEXT, Span
from collectors.sources.otlp.naming import sender_of

PROTOBUF, JSON = "application/x-protobuf", "application/json"
ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
# Spans are exported within seconds of their end; a sender retries for minutes. What is older is no live
# feed, and what is ahead of our clock would be judged before it happened.
MAX_AGE, MAX_AHEAD = timedelta(days=1), timedelta(minutes=5)
_ANY_WRAPPER = 47  # zlib reads a gzip or a zlib header, whichever is there
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_NS_PER_S = 1_000_000_000
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


def decoded(request: ExportTraceServiceRequest, now: datetime, peer: str | None = None) -> Decoded:
    """The spans of an export received at `now`, with the attributes that rows are made of.

    `peer` is the address that it came from: a sender whose resource does not name it is known by that.
    """
    spans: list[Span] = []
    rejected, why = 0, ""
    ends = _unix_ns(now - MAX_AGE), _unix_ns(now + MAX_AHEAD)
    for sent, sender in _sent(request, peer):
        if fault := _fault(sent, *ends):
            rejected, why = rejected + 1, fault
        else:
            spans.append(_span(sent, sender))
    return Decoded(tuple(spans), rejected, why)


def _sent(request: ExportTraceServiceRequest, peer: str | None) -> Iterator[tuple[Sent, str | None]]:
    """Each span with the process that sent it."""
    for resource in request.resource_spans:
        sender = sender_of(resource.resource.attributes) or peer
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield span, sender


def _fault(sent: Sent, oldest_ns: int, newest_ns: int) -> str:
    """Why a span cannot be used; nothing where it can."""
    trace_id, span_id, end_ns = sent.trace_id, sent.span_id, sent.end_time_unix_nano
    if len(trace_id) != len(_NO_TRACE) or len(span_id) != len(_NO_SPAN):
        return "a trace id has to be 16 bytes and a span id 8"
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return "an id of nothing but zeros is none"
    if not 0 < sent.start_time_unix_nano <= end_ns:
        return "a span has to begin, and to end no sooner"
    if end_ns > newest_ns:
        return "a span ends in the future. Set the sender's clock"
    return "a span ended more than a day ago. Set the sender's clock" if end_ns < oldest_ns else ""


def _span(sent: Sent, sender: str | None) -> Span:
    parent, status = sent.parent_span_id, sent.status
    return Span(
        sent.trace_id.hex(),
        sent.span_id.hex(),
        parent.hex() if parent else None,
        sent.name[:MAX_TEXT],
        datetime.fromtimestamp(sent.start_time_unix_nano / _NS_PER_S, UTC),
        datetime.fromtimestamp(sent.end_time_unix_nano / _NS_PER_S, UTC),
        _attributes(sent),
        status.code == _FAILED,
        status.message[:MAX_TEXT] or None,
        sender,
    )


def _attributes(sent: Sent) -> dict[str, Any]:
    """Those that rows are made of; lists, maps and bytes are in no column, a prompt is its fingerprint."""
    found: dict[str, Any] = {}
    prompt = ""
    for each in sent.attributes:
        key = each.key
        if key in ATTRIBUTES:
            value = each.value
            # asking which of the kinds it is takes longer than looking for the usual ones
            if text := value.string_value:
                found[key] = text[:MAX_TEXT]
            elif number := value.int_value or value.double_value:
                found[key] = number
            elif read := _NUMBERS.get(value.WhichOneof("value")):
                found[key] = read(value)
        elif key in PROMPTS:
            prompt = each.value.string_value or prompt
    return found if not prompt or DIGEST in found else found | of_prompt(prompt)


_NUMBERS: Mapping[str | None, Callable[[Any], Any]] = {
    "int_value": attrgetter("int_value"),
    "double_value": attrgetter("double_value"),
    "bool_value": attrgetter("bool_value"),
}


def _unix_ns(at: datetime) -> int:
    return int(at.timestamp() * _NS_PER_S)


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
