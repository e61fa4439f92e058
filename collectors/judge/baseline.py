"""Thresholds from a group's own past: "P95 > 2x its baseline".

The usual value of a group is the lower quartile of its earlier values, one a window. Incidents only ever
push latency up, so the lower quartile still speaks of health after a day with much trouble. A new
version without a past of its own takes its predecessor's. And what slows every group by the same
factor is not the group's regression: the threshold is raised by the slow-down that the others share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median, quantiles

from collectors.judge.rules import Rule
from collectors.signals.changes import family
from collectors.signals.points import Grid, Point

MIN_BINS = 3  # fewer earlier windows say nothing about what is usual
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


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
    oldest = grid.start - rule.baseline.window - rule.window
    first = _aligned(max(oldest, history.until or oldest), rule.window) + rule.window
    last = _aligned(grid.end, rule.window)
    if last < first:
        return None
    return Grid(first, rule.window, (last - first) // rule.window + 1)


def extended(rule: Rule, history: History, bins: Grid, points: Sequence[Point]) -> History:
    """The history with these windows' values, and without those that no baseline reaches any more."""
    forget = bins.end - 2 * (rule.baseline.window if rule.baseline else rule.window)
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
    assert rule.baseline is not None  # noqa: S101 - thresholds() has looked
    usual = {p.group[0]: _usual(rule, history, p.group[0], at) for p in here}
    ratio = {
        p.group[0]: p.value / u
        for p in here
        if (u := usual[p.group[0]]) and p.value is not None and p.count >= rule.min_traffic
    }
    return [_threshold(rule.baseline.factor, usual[p.group[0]], _shared(p.group[0], ratio)) for p in here]


def _threshold(factor: float, usual: float | None, shared: float) -> float | None:
    return None if usual is None else factor * usual * shared


def _shared(name: str, ratio: Mapping[str, float]) -> float:
    others = [r for n, r in ratio.items() if family(n) != family(name)]
    return max(1.0, median(others)) if others else 1.0


def _usual(rule: Rule, history: History, name: str, at: datetime) -> float | None:
    own = _values(rule, history.bins.get(name, ()), at)
    before = _predecessor(history, name)
    inherited = _values(rule, history.bins[before], at) if before else []
    if len(inherited) >= MIN_BINS and _new(rule, history, name, at):
        return _lower_quartile(inherited)
    return _lower_quartile(own) if len(own) >= MIN_BINS else None


def _new(rule: Rule, history: History, name: str, at: datetime) -> bool:
    """A version is new until a whole baseline window has passed since its first sight."""
    first = history.bins.get(name, ())[:1]
    return rule.baseline is not None and (not first or at - first[0][0] < rule.baseline.window)


def _predecessor(history: History, name: str) -> str | None:
    first = history.bins[name][0][0] if name in history.bins else None
    earlier = [
        (bins[0][0], other)
        for other, bins in history.bins.items()
        if other != name and family(other) == family(name) and (first is None or bins[0][0] < first)
    ]
    return max(earlier)[1] if earlier else None


def _values(rule: Rule, bins: Sequence[tuple[datetime, float]], at: datetime) -> list[float]:
    assert rule.baseline is not None  # noqa: S101
    oldest, newest = at - rule.baseline.window - rule.window, at - rule.window
    return [value for end, value in bins if oldest < end <= newest]


def _lower_quartile(values: Sequence[float]) -> float:
    return quantiles(values, n=4, method="inclusive")[0]


def _aligned(at: datetime, step: timedelta) -> datetime:
    return at - (at - EPOCH) % step
