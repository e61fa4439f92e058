"""Did the alerts see it: each expected alert against what fired, and every alert that nothing explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from collectors.episodes import Episode
from loadtests.records import Record
from loadtests.scenario import Drill, Expected, Phase

EARLY = timedelta(minutes=1)  # of the drill's clock: an incident's start is an estimate


@dataclass(frozen=True, slots=True)
class Happened:
    """A phase as it was: when it began and ended, and when its first fault took hold, if it had one."""

    phase: Phase
    began: datetime
    ended: datetime
    broken_at: datetime | None = None

    @property
    def since(self) -> datetime:
        """From when an expected alert's time counts."""
        return self.broken_at or self.began


@dataclass(frozen=True, slots=True)
class Detection:
    """One expected alert. Seconds count from the injection, and from the first request it hurt."""

    phase: str
    expected: Expected
    fired_at: datetime | None
    since_injection_s: float | None
    since_harm_s: float | None
    cause: str | None = None  # of the first incident that began in the phase

    @property
    def right_cause(self) -> bool | None:
        """Whether that is what was wrong; None where the drill does not say what was."""
        return None if self.expected.cause is None else self.cause == self.expected.cause

    @property
    def in_time(self) -> bool:
        """Whether it fired, and soon enough."""
        limit = self.expected.within.total_seconds()
        return self.since_injection_s is not None and self.since_injection_s <= limit


@dataclass(frozen=True, slots=True)
class FalseAlert:
    """An alert that fired in a control, where nothing was wrong."""

    phase: str
    alert: str
    component: str
    fired_at: datetime


def detections(
    drill: Drill,
    happened: Sequence[Happened],
    found: Sequence[Episode],
    records: Sequence[Record],
    incidents: Sequence[Mapping[str, Any]] = (),
) -> list[Detection]:
    """Every expected alert of every phase, in the order in which the drill names them.

    `incidents` are those of the collector, as they were told last.
    """
    early = EARLY / drill.clock_scale
    return [
        replace(
            _detection(h, e, found, harmed_at(h, records, drill.ttft_ms)), cause=_cause(h, incidents, early)
        )
        for h in happened
        for e in h.phase.expect
    ]


def false_alerts(happened: Sequence[Happened], found: Sequence[Episode]) -> list[FalseAlert]:
    """Alerts that fired in a quiet phase for what they saw in it.

    One that was pending when the phase began fires for what was wrong before; how long that lasts is the
    recovery's matter.
    """
    return [
        FalseAlert(h.phase.name, e.alert, e.component, e.fired_at)
        for h in happened
        if h.phase.quiet
        for e in found
        if e.fired_at and h.began <= (e.pending_at or e.fired_at) and e.fired_at < h.ended
    ]


def harmed_at(h: Happened, records: Sequence[Record], ttft_ms: float) -> datetime | None:
    """When the first request meant to be sent after the injection turned out bad; None if none did."""
    bad = [
        r.known_bad_at(ttft_ms) for r in records if h.since <= r.intended_at < h.ended and not r.good(ttft_ms)
    ]
    return min(bad, default=None)


def recovery(h: Happened, records: Sequence[Record], ttft_ms: float, steady: int = 10) -> timedelta | None:
    """From the end of a phase to the first of `steady` good requests in a row; None where none came.

    Requests are taken by their intended time.
    """
    later = sorted((r for r in records if r.intended_at >= h.ended), key=lambda r: r.intended_at)
    run = 0
    for number, record in enumerate(later):
        run = run + 1 if record.good(ttft_ms) else 0
        if run == steady:
            return later[number - steady + 1].intended_at - h.ended
    return None


def _cause(h: Happened, incidents: Sequence[Mapping[str, Any]], early: timedelta) -> str | None:
    """The cause of the first incident that began in the phase."""
    began, ended = (h.since - early).timestamp(), h.ended.timestamp()
    inside = [i for i in incidents if began <= i["start"] < ended]
    return str(min(inside, key=lambda i: i["start"])["cause"]) if inside else None


def _detection(h: Happened, e: Expected, found: Sequence[Episode], harmed: datetime | None) -> Detection:
    """The first such alert that fired after the injection; one that fired before it saw something else."""
    latest = h.since + max(e.within, h.ended - h.since)
    times = [
        x.fired_at
        for x in found
        if x.alert == e.alert
        and e.component in {None, x.component}
        and x.fired_at
        and h.since <= x.fired_at <= latest
    ]
    at = min(times, default=None)
    return Detection(
        h.phase.name,
        e,
        at,
        (at - h.since).total_seconds() if at else None,
        (at - harmed).total_seconds() if at and harmed else None,
    )
