"""Traces as a gateway and vLLM send them: made span by span, and written as OTLP."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from collectors.signals.traces import Span

T = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
EPOCH = datetime.fromtimestamp(0, UTC)
ROOT: dict[str, Any] = {
    "session.id": "s-1",
    "mangaassist.turn": 2,
    "mangaassist.intent": "recommendation",
    "mangaassist.locale": "ja-JP",
    "mangaassist.prompt_version": "v42",
    "mangaassist.adapter_id": "manga_domain_v3",
    "mangaassist.backend_version": "manga-base+manga_domain_v3",
    "mangaassist.variant": "primary",
    "http.response.status_code": 200,
    "mangaassist.ttft_ms": 56.5,
    "mangaassist.input_tokens": 1200,
    "mangaassist.output_tokens": 80,
    "mangaassist.cached_tokens": 900,
    "mangaassist.budget_trimmed": False,
    "mangaassist.oom_caught": False,
    "mangaassist.prefix_fingerprint": "0f3a",
}
CALL: dict[str, Any] = {"mangaassist.replica": "10.0.0.11:8000", "gen_ai.request.model": "manga_domain_v3"}
ENGINE: dict[str, Any] = {
    "gen_ai.latency.time_to_first_token": 0.05,
    "gen_ai.latency.e2e": 0.95,
    "gen_ai.latency.time_in_queue": 0.01,
    "gen_ai.latency.time_in_model_prefill": 0.03,
    "gen_ai.latency.time_in_model_decode": 0.9,
    "gen_ai.usage.prompt_tokens": 1200,
    "gen_ai.usage.completion_tokens": 80,
}


def span(
    trace: int,
    number: int,
    name: str,
    parent: int | None,
    ms: tuple[float, float],
    attributes: Mapping[str, Any],
    **others: Any,
) -> Span:
    """A span between two milliseconds after T."""
    start, end = (T + timedelta(milliseconds=m) for m in ms)
    above = None if parent is None else f"{parent:016x}"
    return Span(f"{trace:032x}", f"{number:016x}", above, name, start, end, attributes, **others)


def trace(number: int = 1, at_ms: float = 0.0, request: str | None = None) -> list[Span]:
    """One good request of a second: root, client, call, engine, in the order in which they begin."""
    named = request or f"req-{number}"
    k = 10 * number

    def ms(start: float, end: float) -> tuple[float, float]:
        return at_ms + start, at_ms + end

    return [
        span(number, k + 1, "orchestrator", None, ms(0, 1000), {"mangaassist.request_id": named, **ROOT}),
        span(number, k + 2, "generation_client", k + 1, ms(5, 990), {"mangaassist.variant": "primary"}),
        span(number, k + 3, "vllm_gateway", k + 2, ms(10, 980), CALL),
        span(
            number,
            k + 4,
            "llm_request",
            k + 3,
            ms(12, 970),
            {"gen_ai.request.id": f"chatcmpl-{named}", **ENGINE},
        ),
    ]


def stripped(spans: Iterable[Span]) -> list[Span]:
    """As it is behind a proxy that strips `traceparent`: the engine's span in a trace of its own."""
    return [
        replace(s, trace_id=f"{int(s.trace_id, 16) + 2**64:032x}", parent_id=None)
        if s.name == "llm_request"
        else s
        for s in spans
    ]


def turned_away(number: int = 1) -> list[Span]:
    """A request that admission refused: no call, no engine."""
    attributes = {
        "mangaassist.request_id": f"req-{number}",
        "http.response.status_code": 429,
        "mangaassist.error_kind": "rejected",
    }
    return [
        span(number, 10 * number + 1, "orchestrator", None, (0, 3), attributes, failed=True, message="busy")
    ]


# One start of vLLM 0.32 on two CPU cores, as it traced it itself; its times count from its first span.
START_UP = json.loads(Path(__file__).with_name("start_up.json").read_text(encoding="utf-8"))
READY = T + timedelta(milliseconds=START_UP[0]["end_ms"])


def start_up(number: int = 90, who: str | None = None) -> list[Span]:
    """vLLM's start, span by span in the order in which they begin: the outermost first."""
    return [
        span(number, s["span"], s["name"], s["parent"], (s["start_ms"], s["end_ms"]), {}, sender=who)
        for s in START_UP
    ]


def later(spans: Iterable[Span], by: timedelta) -> list[Span]:
    """The same spans at another time."""
    return [replace(s, start=s.start + by, end=s.end + by) for s in spans]


def export(spans: Iterable[Span], resource: Mapping[str, Any] | None = None) -> ExportTraceServiceRequest:
    """Spans as an exporter sends them, with what their process says of itself."""
    request = ExportTraceServiceRequest()
    told = request.resource_spans.add()
    told.resource.attributes.extend(_attribute(k, v) for k, v in (resource or {}).items())
    sent = told.scope_spans.add().spans
    for each in spans:
        one = sent.add(
            trace_id=bytes.fromhex(each.trace_id),
            span_id=bytes.fromhex(each.span_id),
            parent_span_id=bytes.fromhex(each.parent_id or ""),
            name=each.name,
            start_time_unix_nano=unix_ns(each.start),
            end_time_unix_nano=unix_ns(each.end),
            attributes=[_attribute(k, v) for k, v in each.attributes.items()],
        )
        if each.failed:
            one.status.code = Status.STATUS_CODE_ERROR
            one.status.message = each.message or ""
    return request


def unix_ns(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1) * 1000


def _attribute(key: str, value: Any) -> KeyValue:
    found = KeyValue(key=key)
    match value:
        case bool():
            found.value.bool_value = value
        case int():
            found.value.int_value = value
        case float():
            found.value.double_value = value
        case list():
            for each in value:
                found.value.array_value.values.add().string_value = each
        case _:
            found.value.string_value = value
    return found
