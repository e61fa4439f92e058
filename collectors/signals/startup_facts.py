"""A start-up as the one event that is kept of it, and back.

The event is dated by its end; `subject` is the process, `after` a JSON text with the begin, the pieces as
[stage, span, offset in s, length in s], the ids of its outermost span, and the failure, null where it
became ready.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from collectors.model import EventFact
from collectors.signals.startup import ENGINE, GATEWAY, Piece, StartUp

KINDS = (ENGINE, GATEWAY)
_MS = 3  # digits of a second that are kept
_LONG_NAME = 40
_SHORT_S = 10.0  # less than this is told with a digit more


def event(start: StartUp, source: str) -> EventFact:
    """The start-up as an event."""
    told = {
        "begin": start.begin.isoformat(),
        "failure": start.failure,
        "pieces": [(p.stage, p.span, round(p.offset_s, _MS), round(p.length_s, _MS)) for p in start.pieces],
        "trace_id": start.trace_id,
        "span_id": start.span_id,
    }
    return EventFact(start.end, start.kind, start.who, source, None, json.dumps(told, ensure_ascii=False))


def read(fact: EventFact) -> StartUp | None:
    """The start-up that an event tells of; None where it tells of something else."""
    if fact.kind not in KINDS:
        return None
    try:
        told: dict[str, Any] = json.loads(fact.after or "")
        pieces = tuple(Piece(str(s), str(n), float(o), float(d)) for s, n, o, d in told["pieces"])
        begin = datetime.fromisoformat(told["begin"])
        ids = str(told["trace_id"]), str(told["span_id"])
        failure = None if told["failure"] is None else str(told["failure"])
    except (ValueError, KeyError, TypeError):
        return None
    return StartUp(fact.kind, fact.subject, begin, fact.at, pieces, *ids, failure)


def told_once(facts: Iterable[EventFact]) -> list[StartUp]:
    """The start-ups of these events, in their order; one that two collectors heard of stands once."""
    found = {s.key: s for s in map(read, facts) if s is not None}
    return list(found.values())


def summary(fact: EventFact) -> str:
    """The event in words: "engine 10.0.0.11 started, ready after 61 s of loading"."""
    start = read(fact)
    if start is None:
        return f"{_name(fact)} started"
    if start.failure is not None:
        return f"{_name(fact)} failed to start after {_length(start)}: {start.failure}"
    return f"{brief(fact)} of {'loading' if fact.kind == ENGINE else 'warming up'}"


def brief(fact: EventFact) -> str:
    """The same in as few words as will do: "engine 10.0.0.11 started, ready after 61 s"."""
    start = read(fact)
    if start is not None and start.failure is not None:
        return f"{_name(fact)} failed to start"
    return f"{_name(fact)} started" + (f", ready after {_length(start)}" if start else "")


def _name(fact: EventFact) -> str:
    who = fact.subject if len(fact.subject) <= _LONG_NAME else f"{fact.subject[:_LONG_NAME]}…"
    return f"{'engine' if fact.kind == ENGINE else 'gateway'} {who}".strip()


def _length(start: StartUp) -> str:
    return f"{start.length_s:.{int(start.length_s < _SHORT_S)}f} s"
