"""What screens may ask of a span: each answer is a plain value, or a Failure with a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from collectors.model import EventFact, Judgement
from collectors.signals.points import Grid, at_instant
from collectors.signals.readings import READINGS
from collectors.store.series import series
from console import queries
from console.desk import Desk, guarded
from console.views import evidence
from console.views.changes import MARKS
from console.views.facts import Change, Pulse, Slice, Told
from console.views.frame import SPARK_POINTS, Frame

SLICE = timedelta(
    minutes=5
)  # the window of the latency rules, so that the verdict speaks of the same requests
MAX_SLICES = 300  # of the engines' histograms; a quiet past needs no more
LAST_TURN = timedelta(hours=1)  # an SLO or rule not judged for so long is not being judged


@guarded
def pulse(desk: Desk, now: datetime) -> Pulse:
    """How fresh the facts are, and how the clock was scaled."""
    return queries.pulse(desk.reader, now)


@guarded
def told(
    desk: Desk, frame: Frame, names: Sequence[str], scale: float, points: int = SPARK_POINTS
) -> list[Told]:
    """Readings over the span, all replicas together."""
    with desk.reader.snapshot():
        return [_told(desk, frame, name, scale, points) for name in names]


def _told(desk: Desk, frame: Frame, name: str, scale: float, points: int) -> Told:
    reading = replace(READINGS[name], by=())
    window, step = reading.window / scale, frame.step(points)
    count = max(1, frame.span // step)
    grid = Grid(frame.now - step * (count - 1), step, count)
    return Told(reading, window, tuple(series(desk.reader, reading, grid, window)))


@guarded
def values(desk: Desk, now: datetime, names: Sequence[str], scale: float) -> list[Told]:
    """Readings at one instant, with their groups."""
    readings = [READINGS[n] for n in names if n in READINGS]
    with desk.reader.snapshot():
        return [
            Told(r, r.window / scale, tuple(series(desk.reader, r, at_instant(now), r.window / scale)))
            for r in readings
        ]


@guarded
def slices(desk: Desk, frame: Frame, scale: float) -> list[Slice]:
    """The span in slices of the latency rules' window, newest first: from requests, else from the engines."""
    window = SLICE / scale
    found = queries.slices(desk.reader, frame.since, frame.now, window)
    return found or _engine_slices(desk, frame, window)


def _engine_slices(desk: Desk, frame: Frame, window: timedelta) -> list[Slice]:
    count = min(MAX_SLICES, max(1, frame.span // window))
    grid = Grid(frame.now - window * (count - 1), window, count)
    with desk.reader.snapshot():
        told = {name: series(desk.reader, READINGS[name], grid, window) for name in evidence.ENGINE_SLICE}
    return evidence.engine_slices(told)


@guarded
def marks(desk: Desk, frame: Frame) -> list[EventFact]:
    """What changed in the span, newest first."""
    return queries.events(desk.reader, frame.since, frame.now, MARKS)


@guarded
def alert_events(desk: Desk, frame: Frame) -> list[EventFact]:
    """Alert transitions of the span, newest first."""
    return queries.events(desk.reader, frame.since, frame.now, ("alert",))


@guarded
def standing(desk: Desk, now: datetime, subject: str) -> list[Judgement]:
    """How every rule or SLO stands."""
    return queries.standing(desk.reader, now, subject, now - LAST_TURN)


@guarded
def states(desk: Desk, frame: Frame, subject: str) -> list[Change]:
    """Every change of state in the span, oldest first."""
    return queries.states(desk.reader, frame.since, frame.now, subject)
