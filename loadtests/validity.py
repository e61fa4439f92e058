"""Was the measurement sound: whether the drill was driven and watched as planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from loadtests.detection import Happened
from loadtests.records import Record, hit_ratio, quantile
from loadtests.scenario import Limits


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a sound measurement, with what was found and what was allowed."""

    name: str
    found: str
    allowed: str
    held: bool


@dataclass(frozen=True, slots=True)
class Driven:
    """What the load generator says of itself: sessions planned and begun, its share of a core."""

    planned: int
    offered: int
    cpu_share: float | None


def checks(
    limits: Limits,
    happened: Sequence[Happened],
    records: Sequence[Record],
    driven: Driven,
    scrapes: Sequence[datetime],
) -> list[Check]:
    """All of them; the measurement is valid if every one held."""
    return [
        _offered(limits, driven),
        _lag(limits, records),
        _cpu(limits, driven),
        _gaps(limits, happened, scrapes),
        _hits(limits, happened, records),
    ]


def _offered(limits: Limits, driven: Driven) -> Check:
    share = driven.offered / driven.planned if driven.planned else 0.0
    found = f"{share:.1%} ({driven.offered} of {driven.planned})"
    return Check(
        "sessions begun, of those planned",
        found,
        f"≥ {limits.offered_share:.0%}",
        share >= limits.offered_share,
    )


def _lag(limits: Limits, records: Sequence[Record]) -> Check:
    lag = quantile([r.lag_ms for r in records], 0.99)
    allowed = f"≤ {limits.schedule_lag_p99_ms:.0f} ms"
    held = lag is not None and lag <= limits.schedule_lag_p99_ms
    return Check("schedule lag, P99", "no data" if lag is None else f"{lag:.0f} ms", allowed, held)


def _cpu(limits: Limits, driven: Driven) -> Check:
    share = driven.cpu_share
    held = share is not None and share <= limits.generator_cpu_share
    found = "no data" if share is None else f"{share:.0%} of a core"
    return Check("CPU of the load generator", found, f"≤ {limits.generator_cpu_share:.0%}", held)


def _gaps(limits: Limits, happened: Sequence[Happened], scrapes: Sequence[datetime]) -> Check:
    """The longest time without a scrape, where the metrics were not blocked on purpose."""
    blind = [h for h in happened if any(f.kind in {"metrics_blocked", "engine_kill"} for f in h.phase.faults)]
    times = [happened[0].began, *sorted(scrapes), happened[-1].ended]
    gaps = [
        (b - a).total_seconds()
        for a, b in pairwise(times)
        if not any(a < h.ended and b > h.began for h in blind)
    ]
    longest, allowed = max(gaps, default=0.0), limits.scrape_gap.total_seconds()
    return Check("longest gap between scrapes", f"{longest:.1f} s", f"≤ {allowed:.0f} s", longest <= allowed)


def _hits(limits: Limits, happened: Sequence[Happened], records: Sequence[Record]) -> Check:
    """Conversations that share too little are not production's, whatever else they show."""
    healthy = {h.phase.name for h in happened if h.phase.quiet}
    ratio = hit_ratio([r for r in records if r.phase in healthy])
    held = ratio is not None and ratio >= limits.hit_ratio_low
    found = "no data" if ratio is None else f"{ratio:.0%}"
    return Check("prefix-cache hits in controls", found, f"≥ {limits.hit_ratio_low:.0%}", held)
