"""The answer to "why was this chat slow", put together from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from collectors.diagnose.questions import VERSIONS, questions
from collectors.diagnose.stages import Peers, StageShare, leading, sentence, split
from collectors.diagnose.why import Why, why
from collectors.model import EventFact, RequestFact
from collectors.signals.changes import CHANGES
from collectors.signals.points import Grid, Point, at_instant
from collectors.signals.readings import READINGS
from collectors.signals.startup_facts import KINDS as START_UPS
from collectors.store.incidents import incidents
from collectors.store.lookup import events_before, find_requests, peers, scrape_interval
from collectors.store.reader import Reader
from collectors.store.series import series

__all__ = ["Around", "Explanation", "explain", "find_requests"]

KV = "kv_usage_ratio"
AROUND = (
    "queue_depth",
    "running",
    KV,
    "prefix_hit_ratio",
    "preemptions_per_s",
    "tokens_per_running_s",
)
EVENT_KINDS = (*CHANGES, *START_UPS, "telemetry_gap", "alert")
EVENT_SPAN = timedelta(minutes=15)
INCIDENTS_BEFORE = timedelta(hours=6)  # one that began so long ago may still last
INCIDENTS_AFTER = timedelta(minutes=15)  # an incident is told of when it is sure, a little after it began
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
    """One request, explained. `meanwhile` are the incidents, as told, that were open while it ran."""

    request: RequestFact
    sentence: str
    why: Why
    questions: tuple[tuple[str, str], ...]
    meanwhile: tuple[Mapping[str, Any], ...]
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
    near = incidents(reader, request.at - INCIDENTS_BEFORE, request.at + INCIDENTS_AFTER)
    alike = peers(reader, request, _spans(near))
    shares = split(request, alike)
    lead = leading(request, shares, alike)
    meanwhile = [i for i in near if _open(i, request)]
    cause = why(request, lead, alike, meanwhile, alike.cached_tokens)
    before = events_before(reader, request, EVENT_SPAN, EVENT_KINDS)
    new = events_before(reader, request, EVENT_SPAN, VERSIONS)  # apart, for alerts come by the dozen
    look = LOOK_SCRAPES * (scrape_interval(reader, request.at) or USUAL_INTERVAL)
    around = tuple(_around(reader, name, request, look) for name in AROUND)
    return Explanation(
        request=request,
        sentence=sentence(request, shares, alike, cause.because),
        why=cause,
        questions=questions(request, cause, lead, alike, meanwhile, new, _memory(reader, request, around)),
        meanwhile=tuple(meanwhile),
        stages=shares,
        leading=lead,
        peers=alike,
        around=around,
        events=tuple(before),
    )


def _open(incident: Mapping[str, Any], request: RequestFact) -> bool:
    """Whether the incident was open at any moment of the request."""
    ended = request.at.timestamp()
    began = ended - (request.e2e_ms or 0.0) / 1000
    return bool(incident["start"] <= ended and (incident["end"] is None or incident["end"] >= began))


def _spans(found: Sequence[Mapping[str, Any]]) -> list[tuple[datetime, datetime | None]]:
    """From when to when something was wrong."""

    def instant(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    return [(instant(i["start"]), None if i["end"] is None else instant(i["end"])) for i in found]


def _around(reader: Reader, name: str, request: RequestFact, look: timedelta) -> Around:
    reading, ran = READINGS[name], timedelta(milliseconds=request.e2e_ms or 0.0)
    step = max(ran / (INSTANTS - 1), timedelta(seconds=1))
    count = ran // step + 1
    points = series(reader, reading, Grid(request.at - step * (count - 1), step, count), look)
    own = [p for p in points if not reading.by or p.group == (request.replica,)] or points
    return _range(name, reading.unit, own)


def _memory(
    reader: Reader, request: RequestFact, around: Sequence[Around]
) -> tuple[float | None, float | None]:
    """The KV cache's use a minute before the request began, and its highest while it ran."""
    began = request.at - timedelta(milliseconds=request.e2e_ms or 0.0) - timedelta(minutes=1)
    points = series(reader, READINGS[KV], at_instant(began))
    own = [p for p in points if p.group == (request.replica,)] or points
    known = [p.value for p in own if p.value is not None]
    return max(known, default=None), next((a.most for a in around if a.reading == KV), None)


def _range(name: str, unit: str, points: list[Point]) -> Around:
    values = [p.value for p in points if p.value is not None]
    silent = [p for p in points if p.value is None]
    reason = silent[0].missing if silent else None
    return Around(
        name, unit, min(values, default=None), max(values, default=None), len(points), len(silent), reason
    )
