"""From the spans of a trace to the request's one row.

A request is what its gateway's outermost span says: the span with `mangaassist.request_id`, called
`orchestrator`. Below it stand calls to engines (`vllm_gateway`) and the engines' own spans (vLLM's
`llm_request`). Where no gateway sends spans, the engine's span alone makes a row of what the engine knew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

from collectors.model import RequestFact
from collectors.signals.requests import MS_PER_S, error_kind, stages

ROOT_NAME, CALL_NAME = "orchestrator", "vllm_gateway"
ENGINE_NAMES = frozenset({"llm_request", "engine_generate"})
SHADOW = "shadow"
MAX_COUNT = 2**31 - 1  # what the store's columns hold
MAX_TEXT = 256
_OURS, _LATENCY = "mangaassist.", "gen_ai.latency."
REQUEST_ID, ENGINE_REQUEST_ID = _OURS + "request_id", "gen_ai.request.id"
# vLLM puts the kind of its answer before the id that it was given.
_PREFIXES = ("chatcmpl-", "cmpl-")
_TIMES = ("e2e", "time_to_first_token", "time_in_queue", "time_in_model_prefill", "time_in_model_decode")
_OF_OURS = (
    *("turn", "intent", "locale", "prompt_version", "adapter_id", "backend_version", "variant", "replica"),
    *("error_kind", "ttft_ms", "input_tokens", "output_tokens", "cached_tokens", "prefix_fingerprint"),
    *("budget_trimmed", "oom_caught"),
)
# Every attribute that a row is made of. A receiver keeps no other, and so holds no text of a conversation.
ATTRIBUTES: frozenset[str] = frozenset(
    {
        *(REQUEST_ID, ENGINE_REQUEST_ID, "gen_ai.request.model", "session.id", "http.response.status_code"),
        *("server.address", "server.port", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
        *(_OURS + name for name in _OF_OURS),
        *(_LATENCY + name for name in _TIMES),
    }
)


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as far as a request's row is made of it. `trace_id` is 32 hex digits, `span_id` 16.

    `failed` is status ERROR, `message` its description. Latencies of engines are in seconds.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Any]
    failed: bool = False
    message: str | None = None


def request_row(spans: Collection[Span], source: str) -> RequestFact | None:
    """The row of the one request that these spans tell of; None where none speaks of a request.

    The order of the spans changes nothing. Of several attempts the last one that did not fail counts as the
    engine's; what was spent on the others is the gateway's time. Shadow traffic is left out.
    """
    heard = _without_shadows(spans)
    heads = roots(heard)
    calls = [s for s in heard if s.name == CALL_NAME]
    call = _last(calls)
    engine = _engine_of(call, calls, [s for s in heard if is_engine(s)])
    if heads:
        return _row(heads[0], call, engine, source)
    return _row_of_engine(engine, source) if engine else None


def is_engine(span: Span) -> bool:
    """Whether an engine sent it about a request."""
    return span.name in ENGINE_NAMES or _LATENCY + "e2e" in span.attributes


def is_root(span: Span) -> bool:
    """Whether it may be a request's outermost span."""
    if span.name == ROOT_NAME:
        return True
    return REQUEST_ID in span.attributes and span.name != CALL_NAME and not is_engine(span)


def roots(spans: Collection[Span]) -> list[Span]:
    """The outermost spans of requests, the longest first; what stands below another is none."""
    found = [s for s in spans if is_root(s)]
    if len(found) > 1:
        inner = set[str]().union(*(below({s.span_id}, spans) - {s.span_id} for s in found))
        found = [s for s in found if s.span_id not in inner]
        found.sort(key=lambda s: (s.start - s.end, s.span_id))
    return found


def request_id(span: Span) -> str | None:
    """The request that a span names, without what vLLM puts before it."""
    own = _text(span, REQUEST_ID)
    named = None if own else _text(span, ENGINE_REQUEST_ID)
    if named is None:
        return own
    return next((named.removeprefix(p) for p in _PREFIXES if named.startswith(p)), named) or None


# ------------------------------------------------------------------------------------------- rows
def _row(root: Span, call: Span | None, engine: Span | None, source: str) -> RequestFact:
    e2e_ms = (root.end - root.start) / timedelta(milliseconds=1)
    split = stages(e2e_ms, _times(engine))
    status = _count(root, "http.response.status_code")
    backend = _text(root, _OURS + "backend_version")
    return RequestFact(
        at=root.end,
        request_id=request_id(root) or (request_id(engine) if engine else None) or root.trace_id,
        source=source,
        trace_id=root.trace_id,
        session_id=_text(root, "session.id"),
        turn=_count(root, _OURS + "turn"),
        replica=_replica(call),
        variant=_text(root, _OURS + "variant"),
        model=_model(backend, call),
        adapter=_text(root, _OURS + "adapter_id"),
        backend_version=backend,
        prompt_version=_text(root, _OURS + "prompt_version"),
        intent=_text(root, _OURS + "intent"),
        locale=_text(root, _OURS + "locale"),
        http_status=status,
        error_kind=_text(root, _OURS + "error_kind") or error_kind(status, root.message),
        prompt_tokens=_first(_count(root, _OURS + "input_tokens"), _usage(engine, "prompt")),
        cached_tokens=_first(_count(root, _OURS + "cached_tokens"), _count(call, _OURS + "cached_tokens")),
        output_tokens=_first(_count(root, _OURS + "output_tokens"), _usage(engine, "completion")),
        budget_trimmed=_truth(root, _OURS + "budget_trimmed"),
        oom_caught=_truth(root, _OURS + "oom_caught"),
        frontend_ms=split.frontend_ms,
        gateway_ms=split.gateway_ms,
        queue_ms=split.queue_ms,
        prefill_ms=split.prefill_ms,
        decode_ms=split.decode_ms,
        ttft_ms=_measure(root, _OURS + "ttft_ms"),
        e2e_ms=e2e_ms,
        prefix_fingerprint=_text(root, _OURS + "prefix_fingerprint"),
    )


def _row_of_engine(engine: Span, source: str) -> RequestFact:
    """What the engine knew of it: no status, for its span does not tell how the answer ended."""
    times = _times(engine)
    known = times.get(_LATENCY + "e2e")
    e2e_ms = (engine.end - engine.start) / timedelta(milliseconds=1) if known is None else known * MS_PER_S
    split = stages(e2e_ms, times)
    first = times.get(_LATENCY + "time_to_first_token")
    return RequestFact(
        at=engine.end,
        request_id=request_id(engine) or engine.trace_id,
        source=source,
        trace_id=engine.trace_id,
        model=_text(engine, "gen_ai.request.model"),
        prompt_tokens=_usage(engine, "prompt"),
        output_tokens=_usage(engine, "completion"),
        frontend_ms=split.frontend_ms,
        gateway_ms=split.gateway_ms,
        queue_ms=split.queue_ms,
        prefill_ms=split.prefill_ms,
        decode_ms=split.decode_ms,
        ttft_ms=None if first is None else first * MS_PER_S,
        e2e_ms=e2e_ms,
    )


def _engine_of(call: Span | None, calls: Sequence[Span], engines: Sequence[Span]) -> Span | None:
    """The engine's span of the call; else the last of those that no other call is known to have made."""
    made = {s.span_id for s in calls}
    own = [s for s in engines if call is not None and s.parent_id == call.span_id]
    return _last(own or [s for s in engines if s.parent_id not in made])


def _without_shadows(spans: Collection[Span]) -> Collection[Span]:
    """All but the spans of shadow traffic, which no customer waited for, and what stands below them."""
    shadows = {s.span_id for s in spans if s.attributes.get(_OURS + "variant") == SHADOW}
    if not shadows:
        return spans
    hidden = below(shadows, spans)
    return [s for s in spans if s.span_id not in hidden]


def below(heads: Collection[str], spans: Collection[Span]) -> set[str]:
    """The ids of the heads and of all that stands below them."""
    found, grown = set(heads), True
    while grown:
        more = {s.span_id for s in spans if s.parent_id in found} - found
        found |= more
        grown = bool(more)
    return found


def _last(spans: Sequence[Span]) -> Span | None:
    """The span begun last; one that did not fail before all that did."""
    return max(spans, key=lambda s: (not s.failed, s.start, s.span_id), default=None)


def _times(engine: Span | None) -> dict[str, float]:
    """The engine's latencies in seconds; those below 0, of a request that was broken off, tell nothing."""
    measured = ((_LATENCY + name, _measure(engine, _LATENCY + name)) for name in _TIMES)
    return {name: value for name, value in measured if value is not None}


def _usage(engine: Span | None, kind: str) -> int | None:
    return _count(engine, f"gen_ai.usage.{kind}_tokens")


def _replica(call: Span | None) -> str | None:
    if named := _text(call, _OURS + "replica"):
        return named
    host, port = _text(call, "server.address"), _count(call, "server.port")
    return host and (host if port is None else f"{host}:{port}")


def _model(backend: str | None, call: Span | None) -> str | None:
    """The base model: a backend's version is base+adapter."""
    base = backend.partition("+")[0] if backend else None
    return base or _text(call, "gen_ai.request.model")


# ------------------------------------------------------------------------------------- attributes
# A sender may put anything into an attribute; what a column cannot hold is unknown, never an error.
def _text(span: Span | None, name: str) -> str | None:
    value = span.attributes.get(name) if span is not None else None
    return value[:MAX_TEXT] if value and isinstance(value, str) else None


def _count(span: Span | None, name: str) -> int | None:
    value = span.attributes.get(name) if span is not None else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def _measure(span: Span | None, name: str) -> float | None:
    value = span.attributes.get(name) if span is not None else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) and value >= 0 else None


def _truth(span: Span, name: str) -> bool | None:
    value = span.attributes.get(name)
    return value if isinstance(value, bool) else None


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one
