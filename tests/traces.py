"""Traces as a gateway and an engine send them, and the way into a real MLflow."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from collectors.signals.traces import Span

MS = timedelta(milliseconds=1)
EPOCH = datetime.fromtimestamp(0, UTC)
_numbers = count()


def trace(end: datetime, e2e_ms: float = 900.0, about: Mapping[str, Any] | None = None) -> list[Span]:
    """The four spans of a request that ended at an instant, its orchestrator first."""
    number, start = next(_numbers), end - e2e_ms * MS
    request = f"req-{number}-{secrets.token_hex(4)}"
    ids = [secrets.token_hex(8) for _ in range(4)]
    names = ("orchestrator", "generation_client", "vllm_gateway", "llm_request")
    told: list[Mapping[str, Any]] = [
        {
            "mangaassist.request_id": request,
            "session.id": f"s-{number // 4}",
            "mangaassist.turn": number % 4,
            "mangaassist.intent": "recommendation",
            "mangaassist.locale": "ja-JP",
            "mangaassist.prompt_version": "v42",
            "mangaassist.adapter_id": "jp_style_v1",
            "mangaassist.backend_version": "manga-base+jp_style_v1",
            "mangaassist.variant": "primary",
            "http.response.status_code": 200,
            "mangaassist.ttft_ms": 87.5 + number / 7,
            "mangaassist.input_tokens": 1200 + number,
            "mangaassist.output_tokens": 64,
            "mangaassist.cached_tokens": 960,
            "mangaassist.budget_trimmed": number % 2 == 0,
            "mangaassist.oom_caught": False,
            "mangaassist.prefix_fingerprint": "5f3a" * 4,
            "mlflow.spanInputs": json.dumps({"request_id": request, "turn": number % 4}),
            "mlflow.traceTag.request_id": request,
            **(about or {}),
        },
        {"mangaassist.attempt": 1},
        {"server.address": "10.0.0.7", "server.port": 8000, "mangaassist.replica": "10.0.0.7:8000"},
        {
            "gen_ai.request.id": f"chatcmpl-{request}",
            "gen_ai.latency.e2e": e2e_ms / 1000 - 0.01,
            "gen_ai.latency.time_to_first_token": 0.08,
            "gen_ai.latency.time_in_queue": 0.004 + number / 1e5,
            "gen_ai.latency.time_in_model_prefill": 0.06,
            "gen_ai.latency.time_in_model_decode": e2e_ms / 1000 - 0.1,
            "gen_ai.usage.prompt_tokens": 1200 + number,
            "gen_ai.usage.completion_tokens": 64,
        },
    ]
    own = secrets.token_hex(16)
    return [
        Span(own, ids[k], ids[k - 1] if k else None, names[k], start + k * MS, end - k * MS, told[k])
        for k in range(4)
    ]


def apart(spans: list[Span]) -> list[Span]:
    """The same where the traceparent was lost on the way: the engine's span is a trace of its own."""
    *gateway, engine = spans
    return [*gateway, replace(engine, trace_id=secrets.token_hex(16), parent_id=None)]


def send(url: str, experiment: str, spans: Collection[Span]) -> None:
    """Export the spans to MLflow in one request."""
    body = exported(spans).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment}
    httpx.post(f"{url}/v1/traces", content=body, headers=headers, timeout=60).raise_for_status()


def exported(spans: Collection[Span]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    sent = request.resource_spans.add().scope_spans.add().spans
    for span in spans:
        one = sent.add(
            trace_id=bytes.fromhex(span.trace_id),
            span_id=bytes.fromhex(span.span_id),
            parent_span_id=bytes.fromhex(span.parent_id or ""),
            name=span.name,
            start_time_unix_nano=(span.start - EPOCH) // timedelta(microseconds=1) * 1000,
            end_time_unix_nano=(span.end - EPOCH) // timedelta(microseconds=1) * 1000,
        )
        if span.failed:
            one.status.code, one.status.message = Status.STATUS_CODE_ERROR, span.message or ""
        for key, value in span.attributes.items():
            held = one.attributes.add(key=key).value
            setattr(held, _KINDS[type(value)], value)
    return request


_KINDS = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}


def experiment(url: str) -> str:
    """A new experiment's id."""
    made = httpx.post(
        f"{url}/api/2.0/mlflow/experiments/create", json={"name": f"test-{secrets.token_hex(6)}"}, timeout=60
    )
    return str(made.raise_for_status().json()["experiment_id"])
