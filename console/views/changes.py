"""What changed: events in words, marked where a release came just before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.model import EventFact
from collectors.signals.changes import CHANGES, DECLARED
from collectors.signals.startup_facts import KINDS as START_UPS
from collectors.signals.startup_facts import brief, read, summary
from console.views import words
from console.views.frame import Frame, clock

# Kinds of events that are marked on every chart of time.
MARKS = (*CHANGES, *START_UPS, "telemetry_gap")

KINDS = {
    "first_seen": "New",
    "returned": "Back",
    "present_at_start": "Present at start",
    "engine_restart": "Engine restart",
    "engine_startup": "Engine start",
    "gateway_startup": "Gateway start",
    "telemetry_gap": "Telemetry gap",
    "problem": "Problem",
    "alert": "Alert",
    "scaling": "Scaling",
    "deploy": "Deploy",
    "configuration": "Configuration",
}
SIGHTS = frozenset({"first_seen", "returned", "present_at_start"})
COLUMNS = {"prompt_version": "prompt", "adapter": "adapter", "backend_version": "backend"}


@dataclass(frozen=True, slots=True)
class Line:
    """One event: `tone` is info for a change, warn for a fault."""

    at: datetime
    when: str
    kind: str
    text: str
    detail: str
    tone: str
    link_at: datetime


def lines(
    events: Sequence[EventFact],
    frame: Frame,
    before: datetime | None = None,
    titles: Mapping[str, str] | None = None,
) -> list[Line]:
    """Events newest first; with `before`, each says how long before that instant it came."""
    return [_line(e, frame, before, titles or {}) for e in events]


def text(event: EventFact, titles: Mapping[str, str] | None = None) -> str:
    """The event in a few words: "prompt v42 → v43"."""
    column, _, value = event.subject.partition("=")
    if event.kind in SIGHTS and value:
        name = COLUMNS.get(column, column)
        return f"{name} {event.before} → {value}" if event.before else f"{name} {value}"
    if event.kind in START_UPS:
        return summary(event)
    if event.kind == "alert":
        old, new = (words.state_word(s or "") for s in (event.before, event.after))
        return f"{alert_name(event, titles or {})}: {old} → {new}"
    parts = " → ".join(p for p in (event.before, event.after) if p)
    return f"{event.subject}: {parts}" if parts else event.subject


def label(event: EventFact) -> str:
    """The event as a mark on a chart, where there is room for less."""
    if event.kind == "configuration":
        return event.subject
    return brief(event) if event.kind in START_UPS else text(event)


def telling(events: Sequence[EventFact]) -> list[EventFact]:
    """Without an alert's comings and goings below firing, which would drown what matters."""
    return [e for e in events if e.kind != "alert" or e.after == "firing"]


def releases(events: Sequence[EventFact]) -> list[EventFact]:
    """Changes that replaced something, and restarts: what may be behind a new trouble."""
    return [e for e in events if e.kind != "first_seen" or e.before]


def _line(event: EventFact, frame: Frame, before: datetime | None, titles: Mapping[str, str]) -> Line:
    gap = before - event.at if before else timedelta(-1)
    detail = f"{words.length(gap)} before" if gap >= timedelta() else ""
    tone = "info" if event.kind in {*SIGHTS, *DECLARED} or _became_ready(event) else "warn"
    return Line(
        event.at,
        clock(event.at, frame, both=False),
        KINDS.get(event.kind, words.title(event.kind)),
        text(event, titles),
        detail,
        tone,
        event.at,
    )


def _became_ready(event: EventFact) -> bool:
    start = read(event)
    return start is not None and start.failure is None


def alert_name(event: EventFact, titles: Mapping[str, str]) -> str:
    """The alert that an event is about: its rule's title and its component."""
    name, _, component = event.subject.partition("[")
    return " · ".join(t for t in (titles.get(name, words.title(name)), component.rstrip("]")) if t)
