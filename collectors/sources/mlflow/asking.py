"""What we ask of an MLflow server, over its REST interface, and its answers as plain values.

The client itself takes seconds and 200 MB to load, and its search has no limit on an answer's size.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from collectors.fetching import FetchLimits, Unanswered, fetch, shown
from collectors.signals.fingerprints import DIGEST, PROMPTS, of_messages, of_prompt
from collectors.signals.traces import ATTRIBUTES, MAX_TEXT, Span

PAGE = 500  # MLflow gives no more at once
_TRACES = "/api/3.0/mlflow/traces"
_TRACE = re.compile(r"tr-([0-9a-f]{32})")
_EPOCH = datetime.fromtimestamp(0, UTC)
_REMEDY = "Name the address of MLflow itself, version 3.5 or later, such as http://host:5000"
_PAGE_KEYS = {"traces", "next_page_token"}
_FAILED = ("STATUS_CODE_ERROR", 2)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclass(frozen=True, slots=True)
class Server:
    """An MLflow server, the experiment that holds the traces, and what one of its answers may cost."""

    url: str
    experiment: str
    limits: FetchLimits = field(default_factory=FetchLimits)


@dataclass(frozen=True, slots=True)
class Listed:
    """A trace in a search's answer; its end is None until its root has arrived."""

    trace_id: str
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some traces in the order of their start, and where the next ones are."""

    traces: tuple[Listed, ...]
    next: str | None


async def search(
    client: httpx.AsyncClient, server: Server, since: datetime, token: str | None = None
) -> Page:
    """A page of the traces that start at an instant or later, oldest first. Raises Unanswered."""
    location = {
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": server.experiment},
    }
    question: dict[str, Any] = {
        "locations": [location],
        "filter": f"timestamp_ms >= {int(since.timestamp() * 1000)}",
        "order_by": ["timestamp_ms ASC"],
        "max_results": PAGE,
    }
    request = httpx.Request(
        "POST", _url(server, "/search"), json=question | ({"page_token": token} if token else {})
    )
    found = await fetch(client, request, server.limits)
    try:
        if odd := found.keys() - _PAGE_KEYS:  # an empty page is {}, and so could much else be
            raise ValueError(f"it says {min(odd)!r}")
        traces = tuple(listed for each in found.get("traces", ()) if (listed := _listed(each)))
        return Page(traces, found.get("next_page_token") or None)
    except _ODD as error:
        raise _not_mlflow(server, error) from None


async def whole(
    client: httpx.AsyncClient, server: Server, traces: Sequence[str]
) -> dict[str, tuple[Span, ...]]:
    """The spans of traces, by trace; those whose root has not arrived are left out. Raises Unanswered."""
    asked = {"trace_ids": [f"tr-{each}" for each in traces]}
    request = httpx.Request("GET", _url(server, "/batchGet"), params=asked)
    found = await fetch(client, request, server.limits)
    try:
        return dict(_trace(each) for each in found.get("traces", ()))
    except _ODD as error:
        raise _not_mlflow(server, error) from None


async def so_far(client: httpx.AsyncClient, server: Server, trace: str) -> tuple[Span, ...]:
    """The spans of a trace that have arrived, its root among them or not; none of a deleted one.

    Raises Unanswered.
    """
    asked = {"trace_id": f"tr-{trace}", "allow_partial": "true"}
    try:
        found = await fetch(client, httpx.Request("GET", _url(server, "/get"), params=asked), server.limits)
    except Unanswered as error:
        if error.status == httpx.codes.NOT_FOUND:
            return ()
        raise
    try:
        return _trace(found["trace"])[1]
    except _ODD as error:
        raise _not_mlflow(server, error) from None


async def exists(client: httpx.AsyncClient, server: Server) -> str:
    """The name of the experiment. Raises Unanswered."""
    url = f"{server.url.rstrip('/')}/api/2.0/mlflow/experiments/get"
    request = httpx.Request("GET", url, params={"experiment_id": server.experiment})
    found = await fetch(client, request, server.limits)
    try:
        return str(found["experiment"]["name"])
    except _ODD as error:
        raise _not_mlflow(server, error) from None


_ODD = (TypeError, KeyError, AttributeError, ValueError, OverflowError)


def _url(server: Server, path: str) -> str:
    return f"{server.url.rstrip('/')}{_TRACES}{path}"


def _not_mlflow(server: Server, error: Exception) -> Unanswered:
    told = f"{type(error).__name__}: {str(error)[:MAX_TEXT]}"
    what = f"{shown(server.url)}'s answer cannot be read as MLflow's ({told})"
    return Unanswered(what, _REMEDY)


def _listed(info: Mapping[str, Any]) -> Listed | None:
    """Traces of other kinds (Databricks' own ids) are none of ours."""
    named = _TRACE.fullmatch(str(info["trace_id"]))
    if named is None:
        return None
    start = datetime.fromisoformat(info["request_time"]).astimezone(UTC)
    took = _DURATION.fullmatch(str(info.get("execution_duration", "")))
    done = info.get("state") != "IN_PROGRESS"
    return Listed(named[1], start, start + timedelta(seconds=float(took[1]) if took else 0) if done else None)


def _trace(found: Mapping[str, Any]) -> tuple[str, tuple[Span, ...]]:
    trace = str(found["trace_info"]["trace_id"]).removeprefix("tr-")
    spans = (_span(trace, each) for each in found.get("spans", ()))
    return trace, tuple(span for span in spans if span)


def _span(trace: str, found: Mapping[str, Any]) -> Span | None:
    """A span in protobuf's JSON; None while it has not ended."""
    end_ns = int(found.get("end_time_unix_nano", 0))
    if not end_ns:
        return None
    status = found.get("status", {})
    message = status.get("message")
    return Span(
        trace,
        base64.b64decode(found["span_id"]).hex(),
        base64.b64decode(found.get("parent_span_id", "")).hex() or None,
        str(found.get("name", ""))[:MAX_TEXT],
        _EPOCH + timedelta(microseconds=int(found["start_time_unix_nano"]) // 1000),
        _EPOCH + timedelta(microseconds=end_ns // 1000),
        _attributes(found.get("attributes", ())),
        status.get("code") in _FAILED,
        str(message)[:MAX_TEXT] if message else None,
    )


def _attributes(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Those that a row is made of; no text of a conversation is kept, and a prompt is its fingerprint."""
    sent = {each["key"]: each.get("value", {}) for each in found}
    kept = {k: value for k, held in sent.items() if k in ATTRIBUTES and (value := _value(held)) is not None}
    if DIGEST not in kept:
        for name in PROMPTS & sent.keys():
            prompt = _unfolded(sent[name])
            kept |= of_prompt(prompt) if isinstance(prompt, str) else of_messages(prompt)
    return kept


def _unfolded(holder: Mapping[str, Any]) -> Any:
    """A value of protobuf's as plain lists and mappings: MLflow unfolds what was sent as JSON."""
    if "kvlist_value" in holder:
        return {x["key"]: _unfolded(x.get("value", {})) for x in holder["kvlist_value"].get("values", ())}
    if "array_value" in holder:
        return [_unfolded(x) for x in holder["array_value"].get("values", ())]
    return holder.get("string_value")


def _value(holder: Mapping[str, Any]) -> Any:
    if "string_value" in holder:
        return str(holder["string_value"])[:MAX_TEXT]
    if "int_value" in holder:
        return int(holder["int_value"])  # protobuf writes large ones as text
    if "double_value" in holder:
        return float(holder["double_value"])
    return holder.get("bool_value")
