"""Walks time in looks: facts in, incidents out. Pure; what it needs of the past it carries along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from collectors.diagnose.columns import Flags, Numbers, Requests, Scrapes, requests_of
from collectors.diagnose.detectors import adapters, engines, failures, latency, lengths, load, prefix, stalls
from collectors.diagnose.incidents import Case, accustomed, look, quiet
from collectors.diagnose.scene import Detector, Finding, Scene

DETECTORS: tuple[Detector, ...] = (
    prefix.prefix_cache_broken,
    lengths.long_context_pressure,
    lengths.long_output,
    adapters.adapter_regression,
    stalls.engine_stall,
    engines.replica_down,
    engines.cold_start,
    engines.adapter_slots_short,
    failures.context_overflow,
    failures.rejected,
    failures.oom,
    failures.broken,
    load.traffic_burst,
    load.capacity_short,
    latency.preemption,
    latency.decode_slow,
    latency.frontend_slow,
    latency.slow,
)

LOOK_MIN = 0.5  # between two looks
RECENT_MIN = 3.0
RECENT_REQUESTS = 20  # the recent time is stretched until so many ended in it,
RECENT_MOST_MIN = 8.0  # but no further than this
USUAL_MIN = 60.0  # of healthy time
USUAL_LEAST_MIN = 8.0  # before this much of it is known, nothing can be told
USUAL_REQUESTS = 50_000  # are enough to know what is usual,
USUAL_DENSE_MIN = 15.0  # in this much time at least
LATELY_MIN = 30.0  # are kept whole
OPEN_MOST_MIN = 360.0  # of an open incident's requests are kept

Spans = tuple[tuple[float, float], ...]  # (after, upto], in order, apart


@dataclass(frozen=True, slots=True)
class Watch:
    """What is carried from look to look: facts of the last hours, and which of them were healthy."""

    requests: Requests
    engines: Mapping[str, Scrapes]
    healthy: Spans = ()
    case: Case = field(default_factory=Case)
    looked: float | None = None
    since: float | None = None


def nothing() -> Watch:
    """The beginning."""
    return Watch(requests_of({"at": []}), {})


def fed(watch: Watch, requests: Requests, engines: Mapping[str, Scrapes]) -> Watch:
    """With facts that came since."""
    names = {*watch.engines, *engines}
    joined = {
        n: watch.engines[n].with_rows(engines[n])
        if n in watch.engines and n in engines
        else engines.get(n, watch.engines.get(n))
        for n in names
    }
    # what is usual begins with the first request: an engine that nobody asks is no healthy past
    since = float(requests.at[0]) if watch.since is None and len(requests) else watch.since
    return replace(
        watch,
        requests=watch.requests.with_rows(requests),
        engines={n: s for n, s in joined.items() if s is not None},
        since=since,
    )


def step(watch: Watch, now: float, minute_s: float) -> Watch:
    """One look at `now`, from the facts up to it."""
    scene = scene_at(watch, now, minute_s)
    if scene is None:
        return _seen(watch, now, minute_s, healthy=True)
    found: list[Finding] = [f for detector in DETECTORS for f in detector(scene)]
    case = look(watch.case, now, minute_s, found, felt=load.is_slow(scene) or load.queueing(scene))
    opened = {i.number for i in case.open} - {i.number for i in watch.case.open}
    watch = replace(watch, case=case)
    if opened:
        starts = [i.start for i in case.open if i.number in opened]
        watch = replace(watch, healthy=_cut(watch.healthy, min(starts) - minute_s))
    usual_now = accustomed(case, now, minute_s)
    if usual_now is not None:
        last_hour = ((now - USUAL_MIN * minute_s, now),)
        return replace(watch, case=usual_now, healthy=last_hour, looked=now)
    return _seen(watch, now, minute_s, healthy=quiet(case))


def scene_at(watch: Watch, now: float, minute_s: float) -> Scene | None:
    """What detectors look at; None while too little is known of what is usual."""
    recent_s = _recent_s(watch.requests, now, minute_s)
    spans = _usual(watch, now - recent_s, minute_s)
    usual_s = sum(upto - after for after, upto in spans)
    if usual_s < USUAL_LEAST_MIN * minute_s:
        return None
    known = watch.requests.between(-np.inf, now)
    return Scene(
        now=now,
        minute_s=minute_s,
        recent=known.between(now - recent_s, now),
        recent_s=recent_s,
        usual=known.where(_inside(known.at, spans)),
        usual_s=usual_s,
        engines={n: s.between(now - recent_s, now) for n, s in watch.engines.items()},
        usual_engines={n: s.where(_inside(s.at, spans)) for n, s in watch.engines.items()},
        engines_lately={n: s.between(now - LATELY_MIN * minute_s, now) for n, s in watch.engines.items()},
        buffered=known,
        going=frozenset(i.key for i in watch.case.open),
    )


def _usual(watch: Watch, until: float, minute_s: float) -> Spans:
    """The newest healthy time: an hour of it, or less where an hour has more requests than are needed."""
    spans = _cut(watch.healthy, until)
    hour = _latest(spans, USUAL_MIN * minute_s)
    inside = int(_inside(watch.requests.at, hour).sum())
    if inside <= USUAL_REQUESTS:
        return hour
    return _latest(spans, max(USUAL_MIN * USUAL_REQUESTS / inside, USUAL_DENSE_MIN) * minute_s)


def _recent_s(requests: Requests, now: float, minute_s: float) -> float:
    ended = int(np.searchsorted(requests.at, now, side="right"))
    enough = now - float(requests.at[max(0, ended - RECENT_REQUESTS)]) if ended else 0.0
    return min(max(RECENT_MIN * minute_s, enough), RECENT_MOST_MIN * minute_s)


def _seen(watch: Watch, now: float, minute_s: float, *, healthy: bool) -> Watch:
    after = watch.looked if watch.looked is not None else watch.since
    spans = watch.healthy
    if healthy and after is not None and now > after:
        if spans and spans[-1][1] == after:
            spans = (*spans[:-1], (spans[-1][0], now))
        else:
            spans = (*spans, (after, now))
    return _trimmed(replace(watch, healthy=spans, looked=now), now, minute_s)


def _trimmed(watch: Watch, now: float, minute_s: float) -> Watch:
    """Without what no later look can need."""
    opened = min((i.start for i in watch.case.open), default=now)
    whole = max(min(now - LATELY_MIN * minute_s, opened - minute_s), now - OPEN_MOST_MIN * minute_s)
    spans = _usual(watch, now, minute_s)
    oldest = min(whole, *(after for after, _ in spans), now)
    if not len(watch.requests) or watch.requests.at[0] > oldest:
        return watch
    kept = (*spans, (whole, np.inf))
    return replace(
        watch,
        requests=watch.requests.where(_inside(watch.requests.at, kept)).whole(),
        engines={n: s.where(_inside(s.at, kept)).whole() for n, s in watch.engines.items()},
        healthy=tuple((after, upto) for after, upto in watch.healthy if upto > oldest),
    )


def _cut(spans: Spans, until: float) -> Spans:
    """The spans up to an instant."""
    return tuple((after, min(upto, until)) for after, upto in spans if after < until)


def _latest(spans: Spans, seconds: float) -> Spans:
    """The newest of the spans, that last so long together."""
    kept: list[tuple[float, float]] = []
    for after, upto in reversed(spans):
        if seconds <= 0:
            break
        kept.append((max(after, upto - seconds), upto))
        seconds -= upto - after
    return tuple(reversed(kept))


def _inside(at: Numbers, spans: Spans) -> Flags:
    inside = np.zeros(len(at), dtype=bool)
    for after, upto in spans:
        inside |= (at > after) & (at <= upto)
    return inside
