"""The answer to "why was this chat slow", put together from the store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from collectors.diagnose.stages import Peers, StageShare, leading, sentence, split
from collectors.model import EventFact, RequestFact
from collectors.signals.points import Grid, Point
from collectors.signals.readings import READINGS
from collectors.signals.startup_facts import KINDS as START_UPS
from collectors.store.lookup import events_before, find_requests, peers, scrape_interval
from collectors.store.reader import Reader
from collectors.store.series import series

__all__ = ["Around", "Explanation", "explain", "find_requests"]

AROUND = (
    "queue_depth",
    "running",
    "kv_usage_ratio",
    "prefix_hit_ratio",
    "preemptions_per_s",
    "tokens_per_running_s",
)
EVENT_KINDS = ("first_seen", "returned", "engine_restart", *START_UPS, "telemetry_gap", "alert")
EVENT_SPAN = timedelta(minutes=15)
INSTANTS = 24  # looks at the engine while the request ran
LOOK_SCRAPES = 3  # each look reaches back so many scrapes: the least that still shows a rate
USUAL_INTERVAL = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Around:
    """A reading while the request ran: its range, and at how many of the looks it had no data."""

    reading: str
    unit: str
    least: float | None
    most: float | None
    looks: int
    missing: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One request, explained."""

    request: RequestFact
    sentence: str
    stages: tuple[StageShare, ...]
    leading: StageShare | None
    peers: Peers
    around: tuple[Around, ...]
    events: tuple[EventFact, ...]


def explain(reader: Reader, request: RequestFact) -> Explanation:
    """Stages beside the peers', the engine's state around it, and the events before. Raises StoreError."""
    with reader.snapshot():
        return _explain(reader, request)


def _explain(reader: Reader, request: RequestFact) -> Explanation:
    alike = peers(reader, request)
    shares = split(request, alike)
    look = LOOK_SCRAPES * (scrape_interval(reader, request.at) or USUAL_INTERVAL)
    return Explanation(
        request=request,
        sentence=sentence(request, shares, alike),
        stages=shares,
        leading=leading(request, shares, alike),
        peers=alike,
        around=tuple(_around(reader, name, request, look) for name in AROUND),
        events=tuple(events_before(reader, request, EVENT_SPAN, EVENT_KINDS)),
    )


def _around(reader: Reader, name: str, request: RequestFact, look: timedelta) -> Around:
    reading, ran = READINGS[name], timedelta(milliseconds=request.e2e_ms or 0.0)
    step = max(ran / (INSTANTS - 1), timedelta(seconds=1))
    count = ran // step + 1
    points = series(reader, reading, Grid(request.at - step * (count - 1), step, count), look)
    own = [p for p in points if not reading.by or p.group == (request.replica,)] or points
    return _range(name, reading.unit, own)


def _range(name: str, unit: str, points: list[Point]) -> Around:
    values = [p.value for p in points if p.value is not None]
    silent = [p for p in points if p.value is None]
    reason = silent[0].missing if silent else None
    return Around(
        name, unit, min(values, default=None), max(values, default=None), len(points), len(silent), reason
    )
