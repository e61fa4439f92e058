"""Two scrapes of one replica → what happened between them.

Counters and histograms become increments, once and for all: whoever sums facts over a window needs to know
nothing of resets, restarts and gaps. A zero is stored too, for "nothing happened" is not "nobody looked".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from collectors.model import EventFact, Kind, MetricFact, Problem
from collectors.signals import configuration
from collectors.signals.exposition import Distribution, Exposition, Key
from collectors.signals.increase import fell, of_counter, of_histogram

# One counter alone may have been cleared; two at once, or new bucket bounds, are a new beginning for all.
_FALLS_OF_A_RESTART = 2
# Hosts under NTP are far closer. A process that began longer than this before our last look cannot have
# taken over, at that moment, from the one that answered then.
_CLOCK_SKEW_S = 60.0
# A start time is fixed for the life of a process, so anything above rounding is another process.
_SAME_START_S = 1.0


class Seen(NamedTuple):
    """When a series was last read, and what it stood at since its process began."""

    at: datetime
    value: float | Distribution


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a replica's series stood: what the next scrape is compared with.

    A series that a scrape lacks keeps its last value. `unknown` are metrics that were damaged when this
    process was first read: a series of theirs that turns up later is no newborn. `exposed` and
    `versions` are those of the last scrape.
    """

    at: datetime
    started_s: float | None
    series: Mapping[Key, Seen]
    unknown: frozenset[str]
    exposed: frozenset[str]
    versions: str | None
    configuration: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Advance:
    """One step: the new snapshot, and what happened since the one before."""

    snapshot: Snapshot
    metrics: tuple[MetricFact, ...] = ()
    events: tuple[EventFact, ...] = ()
    problems: tuple[Problem, ...] = ()


def advance(
    before: Snapshot | None, now: Exposition, at: datetime, *, source: str, replica: str, max_gap: timedelta
) -> Advance:
    """Compare a scrape with the one before it, whatever lies between them.

    Increases follow Prometheus: a value that fell began again at zero, so all of it is new. Without a
    scrape before there are levels only; after a clock that went back, nothing but a new baseline. An
    interval above `max_gap` keeps its true length, and an event says that it cannot be placed within.
    """
    place = _Place(at, source, replica)
    faults = tuple(place.problem(f"{fault.subject}: {fault.what}", fault.remedy) for fault in now.faults)
    if before is None:
        return Advance(_baseline(now, at), _levels(now, place, None), _configured({}, now, place), faults)
    if at <= before.at:
        return Advance(_baseline(now, at), (), (), (*faults, _clock_went_back(before, place)))
    interval_s = (at - before.at).total_seconds()
    levels = _levels(now, place, interval_s)
    process = _process(before, now)
    events = (
        *_gap(before.at, place, max_gap),
        *_restart(process, before, now, place),
        *_configured(before.configuration, now, place),
    )
    if process in (_Process.STRANGER, _Process.SUCCESSOR):
        return Advance(_baseline(now, at), levels, events, (*faults, _stranger(now, place)))
    since = before if process is _Process.SAME else _from_zero(before)
    increments, oddities = _increments(since, now, place, interval_s)
    return Advance(_next(since, now, at), levels + increments, events, (*faults, *oddities))


class _Process(Enum):
    """Who answered, compared with who answered last time."""

    SAME = auto()
    RESTARTED = auto()
    SUCCESSOR = auto()  # it ran before we last looked, so what it counted since then is not known
    STRANGER = auto()  # as a successor, and older than the one before: no restart explains it


class _Place(NamedTuple):
    at: datetime
    source: str
    replica: str

    def problem(self, what: str, remedy: str) -> Problem:
        return Problem(self.at, self.source, self.replica, what, remedy)

    def event(self, kind: str, before: str, after: str) -> EventFact:
        return EventFact(self.at, kind, self.replica, self.source, before, after)


# ------------------------------------------------------------------------------------------- facts
def _levels(now: Exposition, place: _Place, interval_s: float | None) -> tuple[MetricFact, ...]:
    return tuple(
        MetricFact(*place, key.metric, Kind.GAUGE, value, key.model, key.engine, key.label, interval_s)
        for key, value in now.gauges.items()
    )


def _increments(
    before: Snapshot, now: Exposition, place: _Place, interval_s: float
) -> tuple[tuple[MetricFact, ...], list[Problem]]:
    facts: list[MetricFact] = []
    oddities: list[Problem] = []
    for key, value in _series(now).items():
        last = before.series.get(key)
        if last is None and key.metric in before.unknown:
            continue
        span_s = interval_s if last is None else (place.at - last.at).total_seconds()
        fact = _increment(key, last.value if last else None, value, place, span_s)
        facts.append(fact)
        if fact.kind is Kind.HISTOGRAM and fact.sum is None:
            oddities.append(_sum_fell(key, place))
    return tuple(facts), oddities


def _increment(
    key: Key, last: float | Distribution | None, value: float | Distribution, place: _Place, span_s: float
) -> MetricFact:
    name, model, engine, label = key
    if isinstance(value, Distribution):
        grown = of_histogram(last if isinstance(last, Distribution) else None, value)
        kind, growth, total, buckets = Kind.HISTOGRAM, *grown
        return MetricFact(*place, name, kind, growth, model, engine, label, span_s, total, buckets)
    growth = of_counter(None if isinstance(last, Distribution) else last, value)
    return MetricFact(*place, name, Kind.COUNTER, growth, model, engine, label, span_s)


# ---------------------------------------------------------------------------------------- snapshots
def _baseline(now: Exposition, at: datetime) -> Snapshot:
    series = {key: Seen(at, value) for key, value in _series(now).items()}
    return Snapshot(at, _started_s(now), series, now.damaged, now.exposed, now.versions, now.configuration)


def _from_zero(before: Snapshot) -> Snapshot:
    """The same moment, had every series been seen at zero: where a restart begins."""
    return Snapshot(before.at, None, {}, frozenset(), before.exposed, before.versions, before.configuration)


def _next(before: Snapshot, now: Exposition, at: datetime) -> Snapshot:
    series = {**before.series, **{key: Seen(at, value) for key, value in _series(now).items()}}
    started_s = _started_s(now)
    return Snapshot(
        at=at,
        started_s=before.started_s if started_s is None else started_s,
        series=series,
        unknown=before.unknown - {key.metric for key in _series(now)},
        exposed=now.exposed,
        versions=now.versions,
        configuration=now.configuration or before.configuration,
    )


def _series(now: Exposition) -> dict[Key, float | Distribution]:
    return {**now.counters, **now.histograms}


def _started_s(now: Exposition) -> float | None:
    return now.gauges.get(Key("process_start_s", "", "", ""))


# ------------------------------------------------------------------------------------ who answered
def _process(before: Snapshot, now: Exposition) -> _Process:
    started_s = _started_s(now)
    if started_s is not None and before.started_s is not None:
        if started_s < before.started_s - _SAME_START_S:
            return _Process.STRANGER
        if started_s > before.started_s + _SAME_START_S:
            ran_before = started_s < before.at.timestamp() - _CLOCK_SKEW_S
            return _Process.SUCCESSOR if ran_before else _Process.RESTARTED
    return _Process.RESTARTED if _all_began_again(before, now) else _Process.SAME


def _all_began_again(before: Snapshot, now: Exposition) -> bool:
    falls = 0
    for key, value in _series(now).items():
        last = before.series.get(key)
        if last is not None and fell(last.value, value):
            falls += 1
            if isinstance(value, Distribution) and isinstance(last.value, Distribution):
                falls += _FALLS_OF_A_RESTART * (value.bounds != last.value.bounds)
    return falls >= _FALLS_OF_A_RESTART


# ----------------------------------------------------------------------------- events and problems
def _gap(last: datetime, place: _Place, max_gap: timedelta) -> tuple[EventFact, ...]:
    gap = place.at - last
    if gap <= max_gap:
        return ()
    after = f"next scrape {_utc(place.at)}, {_length(gap)} later"
    return (place.event("telemetry_gap", f"last scrape {_utc(last)}", after),)


def _restart(process: _Process, before: Snapshot, now: Exposition, place: _Place) -> tuple[EventFact, ...]:
    if process not in (_Process.RESTARTED, _Process.SUCCESSOR):
        return ()
    old, new = _engine(before.started_s, before.versions), _engine(_started_s(now), now.versions)
    return (place.event("engine_restart", old, new),)


def _configured(before: Mapping[str, str], now: Exposition, place: _Place) -> tuple[EventFact, ...]:
    told = configuration.told(before, now.configuration)
    if told is None:
        return ()
    kind, old, new = told
    return (EventFact(place.at, kind, configuration.subject(place.replica), place.source, old or None, new),)


def _engine(started_s: float | None, versions: str | None) -> str:
    start = (
        "start unknown" if started_s is None else f"started {_utc(datetime.fromtimestamp(started_s, UTC))}"
    )
    return f"{start}, vLLM {versions}" if versions else start


def _clock_went_back(before: Snapshot, place: _Place) -> Problem:
    return place.problem(
        f"the clock went back from {_utc(before.at)} to {_utc(place.at)}",
        "Check time synchronisation on the collector's host. Counting begins anew from here",
    )


def _stranger(now: Exposition, place: _Place) -> Problem:
    return place.problem(
        f"another engine answers at this address than before ({_engine(_started_s(now), now.versions)})",
        "Give every replica an address of its own, not a load balancer's. Counting begins anew from here",
    )


def _sum_fell(key: Key, place: _Place) -> Problem:
    return place.problem(
        f"{key.metric}: its sum fell though no observation went away, so its mean is not known this time",
        "The engine observed a negative value; look for a clock that was set on its host",
    )


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")


def _length(gap: timedelta) -> str:
    minutes, seconds = divmod(round(gap.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
