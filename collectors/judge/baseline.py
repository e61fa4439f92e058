"""Thresholds from a group's own past: "P95 > 2x its baseline".

The usual value of a group is the lower quartile of its earlier values, one a window. Incidents only ever
push latency up, so the lower quartile still speaks of health after a day with much trouble. A new
version without a past of its own takes its predecessor's. And what slows every group by the same
factor is not the group's regression: the threshold is raised by the slow-down that the others share.

A threshold is a function of the bins in the REACH before its instant and of nothing else, so it is the same
in one long grid, in many short ones, and after a restart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from statistics import median, quantiles

from collectors.judge.rules import Baseline, Rule
from collectors.signals.changes import family, release
from collectors.signals.points import Grid, Point

MIN_BINS = 3  # fewer earlier windows say nothing about what is usual
REACH = 2  # baseline windows that are looked back over: one of values, one more to tell the new from the old
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

Bins = Sequence[tuple[datetime, float]]


@dataclass(frozen=True, slots=True)
class History:
    """A group's earlier values, one a window, oldest first; `until` is the end of the last window kept."""

    until: datetime | None = None
    bins: Mapping[str, tuple[tuple[datetime, float], ...]] = field(default_factory=dict)


def missing_bins(rule: Rule, history: History, grid: Grid) -> Grid | None:
    """The windows that have ended by the grid's end and are not in the history yet.

    Windows are aligned to the epoch, so the same instant has the same baseline however it is reached.
    """
    if rule.baseline is None:
        return None
    oldest = grid.start - REACH * rule.baseline.window - rule.window
    first = _aligned(max(oldest, history.until or oldest), rule.window) + rule.window
    last = _aligned(grid.end, rule.window)
    if last < first:
        return None
    return Grid(first, rule.window, (last - first) // rule.window + 1)


def extended(rule: Rule, history: History, bins: Grid, points: Sequence[Point]) -> History:
    """The history with these windows' values, and without those that no baseline reaches any more."""
    # from the first new bin, not the last: a long grid still asks what was usual at its beginning
    forget = bins.start - REACH * (rule.baseline.window if rule.baseline else rule.window) - 2 * rule.window
    found: dict[str, list[tuple[datetime, float]]] = {
        g: [b for b in old if b[0] > forget] for g, old in history.bins.items()
    }
    for p in points:
        if p.value is not None and p.count >= max(rule.min_traffic, 1):
            found.setdefault(p.group[0], []).append((p.at, p.value))
    return History(bins.end, {g: tuple(b) for g, b in found.items() if b})


def thresholds(
    rule: Rule, history: History, points: Sequence[Point]
) -> dict[tuple[datetime, tuple[str, ...]], float | None]:
    """The threshold of every point: factor x usual value x shared slow-down; None without a past."""
    if rule.baseline is None:
        return {}
    by_instant: dict[datetime, list[Point]] = {}
    for p in points:
        by_instant.setdefault(p.at, []).append(p)
    return {
        (p.at, p.group): threshold
        for at, here in by_instant.items()
        for p, threshold in zip(here, _at_instant(rule, history, at, here), strict=True)
    }


def _at_instant(rule: Rule, history: History, at: datetime, here: Sequence[Point]) -> list[float | None]:
    base = rule.baseline
    assert base is not None  # noqa: S101 - thresholds() has looked
    newest = at - rule.window
    reached = {g: _between(bins, newest - REACH * base.window, newest) for g, bins in history.bins.items()}
    past = {g: bins for g, bins in reached.items() if bins}
    usual = {p.group[0]: _usual(base, past, p.group[0], newest) for p in here}
    ratio = {
        p.group[0]: p.value / u
        for p in here
        if (u := usual[p.group[0]]) and p.value is not None and p.count >= rule.min_traffic
    }
    return [_threshold(base.factor, usual[p.group[0]], _shared(p.group[0], ratio)) for p in here]


def _threshold(factor: float, usual: float | None, shared: float) -> float | None:
    return None if usual is None else factor * usual * shared


def _shared(name: str, ratio: Mapping[str, float]) -> float:
    others = [r for n, r in ratio.items() if family(n) != family(name)]
    return max(1.0, median(others)) if others else 1.0


def _usual(base: Baseline, past: Mapping[str, Bins], name: str, newest: datetime) -> float | None:
    before = _predecessor(past, name) if _new(base, past, name, newest) else None
    for who in (before, name):
        values = [v for _, v in _between(past.get(who or "", ()), newest - base.window, newest)]
        if who is not None and len(values) >= MIN_BINS:
            return quantiles(values, n=4, method="inclusive")[0]
    return None


def _new(base: Baseline, past: Mapping[str, Bins], name: str, newest: datetime) -> bool:
    """A version is new until a whole baseline window has passed since its first bin."""
    return name not in past or newest - past[name][0][0] < base.window


def _predecessor(past: Mapping[str, Bins], name: str) -> str | None:
    """The version of its family that came last before it."""
    first = past[name][0][0] if name in past else None
    earlier = [
        (bins[0][0], release(other), other)
        for other, bins in past.items()
        if other != name and family(other) == family(name) and (first is None or bins[0][0] < first)
    ]
    return max(earlier)[2] if earlier else None


def _between(bins: Bins, after: datetime, upto: datetime) -> Bins:
    """Those that ended in (after, upto]."""
    return bins[bisect_right(bins, after, key=itemgetter(0)) : bisect_right(bins, upto, key=itemgetter(0))]


def _aligned(at: datetime, step: timedelta) -> datetime:
    return at - (at - EPOCH) % step
