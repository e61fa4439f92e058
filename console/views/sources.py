"""Sources: freshness and gaps of each source and replica."""

from __future__ import annotations

from datetime import datetime, timedelta

from collectors.model import EventFact
from console.views import words
from console.views.facts import Origin
from console.views.verdict import SILENT_SCRAPES


def freshness(origin: Origin, now: datetime, interval: timedelta) -> tuple[str, str]:
    """A state word and its tone: up, failing or silent."""
    age = now - origin.newest
    if age > SILENT_SCRAPES * interval:
        return f"silent for {words.length(age)}", "bad"
    return ("up", "ok") if origin.up == 1 else ("last scrape failed", "bad")


def cell_tone(worst: float | None) -> str:
    """How a part of the history is drawn; a hole is no scrape, which is not a failed one."""
    if worst is None:
        return "hole"
    return "ok" if worst == 1 else "bad"


def history(origin: Origin) -> str:
    """The history in words, for those who do not see the cells."""
    silent = sum(c is None for c in origin.cells)
    failed = f"{origin.failed} of {origin.scrapes:,} scrapes failed"
    return f"{failed}; no scrape in {silent} of {len(origin.cells)} parts of the range"


def problems(events: list[EventFact]) -> list[EventFact]:
    """What went wrong, newest first."""
    return [e for e in events if e.kind == "problem"]
