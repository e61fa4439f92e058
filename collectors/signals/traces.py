"""From the spans of a trace to the request's one row.

A request is what its gateway's outermost span says: the span with `mangaassist.request_id`, called
`orchestrator`. Below it stand calls to engines (`vllm_gateway`) and the engines' own spans (vLLM's
`llm_request`). Where no gateway sends spans, the engine's span alone makes a row of what the engine knew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any

from collectors.model import RequestFact
from collectors.signals import fingerprints
from collectors.signals.requests import MS_PER_S, error_kind, stages

ROOT_NAME, CALL_NAME = "orchestrator", "vllm_gateway"
ENGINE_NAMES = frozenset({"llm_request", "engine_generate"})
SHADOW = "shadow"
MAX_COUNT = 2**31 - 1  # what the store's columns hold
MAX_TEXT = 256
REQUEST_ID, ENGINE_REQUEST_ID = "mangaassist.request_id", "gen_ai.request.id"
# vLLM puts the kind of its answer before the id that it was given.
_PREFIXES = ("chatcmpl-", "cmpl-")
_VARIANT, _CACHED, _E2E = "mangaassist.variant", "mangaassist.cached_tokens", "gen_ai.latency.e2e"
_FIRST_TOKEN = "gen_ai.latency.time_to_first_token"  # noqa: S105 - a token of text
_TIMES = (
    _E2E,
    _FIRST_TOKEN,
    "gen_ai.latency.time_in_queue",
    "gen_ai.latency.time_in_model_prefill",
    "gen_ai.latency.time_in_model_decode",
)
# Every attribute that a row is made of. A receiver keeps no other, and so holds no text of a conversation.
ATTRIBUTES: frozenset[str] = frozenset(
    {
        *(REQUEST_ID, ENGINE_REQUEST_ID, "gen_ai.request.model", "session.id", "http.response.status_code"),
        *("server.address", "server.port", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
        *("mangaassist.turn", "mangaassist.intent", "mangaassist.locale", "mangaassist.prompt_version"),
        *("mangaassist.adapter_id", "mangaassist.backend_version", "mangaassist.replica", _VARIANT),
        *("mangaassist.error_kind", "mangaassist.ttft_ms", "mangaassist.input_tokens", _CACHED),
        *("mangaassist.output_tokens", "mangaassist.budget_trimmed", "mangaassist.oom_caught", *_TIMES),
        *(fingerprints.DIGEST, fingerprints.BLOCKS, fingerprints.DIVERGENCE),
    }
)
_UNTOLD: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as far as a request's row is made of it. `trace_id` is 32 hex digits, `span_id` 16.

    `failed` is status ERROR, `message` its description. Latencies of engines are in seconds.
    `sender` is the process that sent it, as far as that is known.
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
    sender: str | None = None


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
    return span.name in ENGINE_NAMES or _E2E in span.attributes


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
    own = _text(span.attributes, REQUEST_ID)
    named = None if own else _text(span.attributes, ENGINE_REQUEST_ID)
    if named is None:
        return own
    return next((named.removeprefix(p) for p in _PREFIXES if named.startswith(p)), named) or None


# ------------------------------------------------------------------------------------------- rows
def _row(root: Span, call: Span | None, engine: Span | None, source: str) -> RequestFact:
    told, asked, heard = root.attributes, _told(call), _told(engine)
    e2e_ms = (root.end - root.start) / timedelta(milliseconds=1)
    split = stages(e2e_ms, _times(heard))
    status = _count(told, "http.response.status_code")
    backend = _text(told, "mangaassist.backend_version")
    return RequestFact(
        at=root.end,
        request_id=request_id(root) or (request_id(engine) if engine else None) or root.trace_id,
        source=source,
        trace_id=root.trace_id,
        session_id=_text(told, "session.id"),
        turn=_count(told, "mangaassist.turn"),
        replica=_replica(asked),
        variant=_text(told, _VARIANT),
        model=_model(backend, asked),
        adapter=_text(told, "mangaassist.adapter_id"),
        backend_version=backend,
        prompt_version=_text(told, "mangaassist.prompt_version"),
        intent=_text(told, "mangaassist.intent"),
        locale=_text(told, "mangaassist.locale"),
        http_status=status,
        error_kind=_text(told, "mangaassist.error_kind") or error_kind(status, root.message),
        prompt_tokens=_first(
            _count(told, "mangaassist.input_tokens"), _count(heard, "gen_ai.usage.prompt_tokens")
        ),
        cached_tokens=_first(_count(told, _CACHED), _count(asked, _CACHED)),
        output_tokens=_first(
            _count(told, "mangaassist.output_tokens"), _count(heard, "gen_ai.usage.completion_tokens")
        ),
        budget_trimmed=_truth(told, "mangaassist.budget_trimmed"),
        oom_caught=_truth(told, "mangaassist.oom_caught"),
        frontend_ms=split.frontend_ms,
        gateway_ms=split.gateway_ms,
        queue_ms=split.queue_ms,
        prefill_ms=split.prefill_ms,
        decode_ms=split.decode_ms,
        ttft_ms=_measure(told, "mangaassist.ttft_ms"),
        e2e_ms=e2e_ms,
        prefix_fingerprint=_prefix(told, asked, heard),
    )


def _row_of_engine(engine: Span, source: str) -> RequestFact:
    """What the engine knew of it: no status, for its span does not tell how the answer ended."""
    times = _times(engine.attributes)
    known, first = times.get(_E2E), times.get(_FIRST_TOKEN)
    e2e_ms = (engine.end - engine.start) / timedelta(milliseconds=1) if known is None else known * MS_PER_S
    split = stages(e2e_ms, times)
    return RequestFact(
        at=engine.end,
        request_id=request_id(engine) or engine.trace_id,
        source=source,
        trace_id=engine.trace_id,
        model=_text(engine.attributes, "gen_ai.request.model"),
        prompt_tokens=_count(engine.attributes, "gen_ai.usage.prompt_tokens"),
        output_tokens=_count(engine.attributes, "gen_ai.usage.completion_tokens"),
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
    shadows = {s.span_id for s in spans if s.attributes.get(_VARIANT) == SHADOW}
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
    if len(spans) <= 1:  # as nearly always
        return next(iter(spans), None)
    return max(spans, key=lambda s: (not s.failed, s.start, s.span_id), default=None)


def _told(span: Span | None) -> Mapping[str, Any]:
    return _UNTOLD if span is None else span.attributes


def _times(told: Mapping[str, Any]) -> dict[str, float]:
    """The engine's latencies in seconds; those below 0, of a request that was broken off, tell nothing."""
    return {name: value for name in _TIMES if (value := _measure(told, name)) is not None}


def _prefix(*spans: Mapping[str, Any]) -> str | None:
    """The prefix as the outermost span tells it that speaks of it."""
    told = next((found for span in spans if (found := fingerprints.written(span))), None)
    return told[:MAX_TEXT] if told else None


def _replica(asked: Mapping[str, Any]) -> str | None:
    if named := _text(asked, "mangaassist.replica"):
        return named
    host, port = _text(asked, "server.address"), _count(asked, "server.port")
    return host and (host if port is None else f"{host}:{port}")


def _model(backend: str | None, asked: Mapping[str, Any]) -> str | None:
    """The base model: a backend's version is base+adapter."""
    base = backend.partition("+")[0] if backend else None
    return base or _text(asked, "gen_ai.request.model")


# ------------------------------------------------------------------------------------- attributes
# A sender may put anything into an attribute; what a column cannot hold is unknown, never an error.
# Their types are exact, and comparing them is quicker than isinstance; a bool is no int that way.
def _text(told: Mapping[str, Any], name: str) -> str | None:
    value = told.get(name)
    return value[:MAX_TEXT] if value and type(value) is str else None


def _count(told: Mapping[str, Any], name: str) -> int | None:
    value = told.get(name)
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _measure(told: Mapping[str, Any], name: str) -> float | None:
    value: Any = told.get(name)
    return float(value) if type(value) in _NUMBERS and 0 <= value < inf else None


def _truth(told: Mapping[str, Any], name: str) -> bool | None:
    value = told.get(name)
    return value if type(value) is bool else None


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one


_NUMBERS = (float, int)
