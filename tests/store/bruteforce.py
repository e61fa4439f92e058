"""Readings recomputed from the facts in plain Python: what the SQL has to agree with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from math import inf, sqrt
from typing import Any

import numpy as np

from collectors.model import Kind, MetricFact
from collectors.signals.points import Grid, Point, wilson
from collectors.signals.predicates import Where
from collectors.signals.readings import (
    Age,
    HistogramShare,
    Level,
    Mean,
    Quantile,
    Rate,
    Ratio,
    Reading,
    RequestCount,
    RequestQuantile,
    RequestRate,
    RequestShare,
)
from tests.store.generated import Facts

Found = tuple[float | None, float | None, float | None, float]  # value, low, high, count


def expected(
    facts: Facts, reading: Reading, grid: Grid, window: timedelta, groups: Iterable[tuple[str, ...]] = ()
) -> list[Point]:
    """The points that `series` has to give."""
    found = [_at(facts, reading, at, window) for at in grid.instants()]
    named = sorted({g for here in found for g in here} | set(groups)) if reading.by else [()]
    reach = [f.metric for f in facts.metrics if grid.start - window < f.at <= grid.end]
    return [
        _point(facts, reading, at, window, group, here.get(group), set(reach))
        for at, here in zip(grid.instants(), found, strict=True)
        for group in named
    ]


def _at(facts: Facts, reading: Reading, at: datetime, window: timedelta) -> dict[tuple[str, ...], Found]:
    rows: Sequence[Any] = facts.metrics if reading.table == "metrics" else facts.requests
    groups = defaultdict(list)
    for row in _counted(reading.computation, [r for r in rows if at - window < r.at <= at], window):
        groups[tuple(getattr(row, column) or "" for column in reading.by)].append(row)
    return {group: _value(reading.computation, own, at, window) for group, own in groups.items()}


def _counted(kind: Any, rows: Sequence[Any], window: timedelta) -> list[Any]:
    """The rows that a computation looks at; an increment has to lie in the window wholly."""
    if isinstance(kind, RequestQuantile):
        return [r for r in rows if getattr(r, kind.column) is not None]
    if isinstance(kind, RequestShare | RequestCount | RequestRate):
        condition = {RequestShare: "of", RequestCount: "known", RequestRate: "where"}[type(kind)]
        return [r for r in rows if meets(getattr(kind, condition), r)]
    names = (kind.numerator, kind.denominator) if isinstance(kind, Ratio) else (kind.metric,)
    named = [r for r in rows if r.metric in names]
    if isinstance(kind, Level | Age):
        return named
    if isinstance(kind, Quantile | HistogramShare):
        named = [r for r in named if r.buckets]
    return [r for r in named if r.interval_s is None or r.interval_s <= window.total_seconds()]


def meets(where: Where, row: Any) -> bool:
    if where.op == "always":
        return True
    value = getattr(row, where.column)
    if value is None or where.op == "present":
        return value is not None
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "<": lambda a, b: a < b,
        ">=": lambda a, b: a >= b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
    }
    return compare[where.op](value, where.value)


def _value(kind: Any, rows: Sequence[Any], at: datetime, window: timedelta) -> Found:  # noqa: PLR0911 - a table
    match kind:
        case Rate():
            series = _by(rows, "replica", "engine", "model", "label")
            rates = [sum(r.value for r in own) / sum(r.interval_s or 0.0 for r in own) for own in series]
            return float(np.sum(rates)), None, None, sum(r.value for r in rows)
        case Ratio():
            top, bottom = (_amount(rows, metric) for metric in (kind.numerator, kind.denominator))
            share = None if top is None or not bottom else top / bottom
            return share, None, None, bottom or 0.0
        case Mean():
            known = [r for r in rows if r.sum is not None]
            n = sum(r.value for r in known)
            return (sum(r.sum for r in known) * kind.scale / n if n else None), None, None, n
        case Quantile():
            return _quantile(kind, _buckets(rows))
        case HistogramShare():
            return _share(kind.below, _buckets(rows))
        case Level():
            levels = [
                max(own, key=lambda r: r.at).value for own in _by(rows, "replica", "engine", "model", "label")
            ]
            return combined(kind.across, levels), None, None, len(levels)
        case Age():
            good = [r.at for r in rows if r.value == 1]
            since = max(good) if good else min(r.at for r in rows)
            return (at - since).total_seconds(), None, None, len(rows)
        case RequestQuantile():
            return _request_quantile(kind.q, [getattr(r, kind.column) for r in rows])
        case RequestShare():
            share = sum(meets(kind.good, r) for r in rows) / len(rows)
            return share, *wilson(share * len(rows), len(rows)), len(rows)
        case RequestCount():
            return sum(meets(kind.where, r) for r in rows), None, None, len(rows)
        case RequestRate():
            return len(rows) / window.total_seconds(), None, None, len(rows)
    raise AssertionError(kind)


def combined(across: str, levels: list[float]) -> float:
    total = {"sum": sum(levels), "avg": sum(levels) / len(levels)}
    return {"max": max(levels), "min": min(levels), **total}[across]


def _by(rows: Iterable[MetricFact], *columns: str) -> Iterable[list[MetricFact]]:
    series = defaultdict(list)
    for row in rows:
        series[tuple(getattr(row, c) for c in columns)].append(row)
    return series.values()


def _amount(rows: Sequence[MetricFact], metric: str) -> float | None:
    """Increments as they are, levels times the seconds they stood; None without any."""
    own = [r for r in rows if r.metric == metric]
    amounts = [
        r.value * r.interval_s if r.kind is Kind.GAUGE and r.interval_s is not None else r.value
        for r in own
        if r.kind is not Kind.GAUGE or r.interval_s is not None
    ]
    return sum(amounts) if amounts else None


def _buckets(rows: Sequence[MetricFact]) -> list[tuple[float, float, float]]:
    counts: dict[tuple[float, float], float] = defaultdict(float)
    for row in rows:
        for low, high, count in row.buckets or ():
            counts[low, high] += count
    return [(low, high, count) for (low, high), count in sorted(counts.items())]


def _quantile(kind: Quantile, buckets: list[tuple[float, float, float]]) -> Found:
    """Prometheus's histogram_quantile, over plain rather than cumulative buckets."""
    total = sum(count for *_, count in buckets)
    below, rank = 0.0, kind.q * total
    for low, high, count in buckets:
        if below + count >= rank:
            value = low if high == inf else low + (high - low) * (rank - below) / count
            return value * kind.scale, low * kind.scale, high * kind.scale, total
        below += count
    raise AssertionError("no buckets")


def _share(below: float, buckets: list[tuple[float, float, float]]) -> Found:
    total = sum(count for *_, count in buckets)
    sure = sum(count for _, high, count in buckets if high <= below)
    split = [(low, high, count) for low, high, count in buckets if low < below < high]
    inside = sum(count * (below - low) / (high - low) for low, high, count in split if high != inf)
    return (sure + inside) / total, sure / total, (sure + sum(c for *_, c in split)) / total, total


def _request_quantile(q: float, values: list[float]) -> Found:
    n = len(values)
    size = max((s for s in (20, 60, 200, 1000, 10000) if s <= n), default=None)
    if size is None:
        return float(np.quantile(values, q)), min(values), max(values), n
    half = 1.959963984540054 * sqrt(q * (1 - q) / size)
    low, high = (float(np.quantile(values, f)) for f in (max(0.0, q - half), min(1.0, q + half)))
    return float(np.quantile(values, q)), low, high, n


def _point(
    facts: Facts,
    reading: Reading,
    at: datetime,
    window: timedelta,
    group: tuple[str, ...],
    found: Found | None,
    reach: set[str],
) -> Point:
    nothing = "nothing happened in the window that could be counted"
    if found is None:
        return Point(at, group, missing=_reason(facts, reading, at, window, group, reach, nothing))
    value, low, high, count = found
    return Point(at, group, value, low, high, count, nothing if value is None else None)


def _reason(
    facts: Facts,
    reading: Reading,
    at: datetime,
    window: timedelta,
    group: tuple[str, ...],
    reach: set[str],
    nothing: str,
) -> str:
    kind: Any = reading.computation
    if isinstance(kind, RequestCount) and kind.known.column:
        return f"no request in the window carries {kind.known.column}"
    if reading.table == "requests":
        return "no requests in the window"
    ups = [f for f in facts.metrics if f.metric == "up" and at - window < f.at <= at]
    own = [f for f in ups if reading.by != ("replica",) or f.replica == group[0]]
    if not any(max(looks, key=lambda f: f.at).value == 1 for looks in _by(own, "replica")):
        return "no scrape in the window"
    wanted = {kind.numerator, kind.denominator} if isinstance(kind, Ratio) else {kind.metric}
    return nothing if wanted <= reach else "not exposed by this version"
