"""Readings computed from the store: a point for every instant of a grid and every group seen in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

from collectors.signals.points import Grid, Point, wilson
from collectors.signals.readings import (
    Age,
    Computation,
    HistogramShare,
    Level,
    Mean,
    Quantile,
    Rate,
    Ratio,
    Reading,
    RequestCount,
    RequestQuantile,
    RequestShare,
)
from collectors.store import ranks
from collectors.store.dialect import AT, Dialect
from collectors.store.reader import Reader
from collectors.store.sql import INTERVAL_SIZES, interval_fractions, reading_sql

LONG = timedelta(days=1)  # under it an engine's own quantile is quick
NO_SCRAPE = "no scrape in the window"
NOT_EXPOSED = "not exposed by this version"
NOTHING_TO_DIVIDE = "nothing happened in the window that could be counted"
NO_REQUESTS = "no requests in the window"


def series(
    reader: Reader,
    reading: Reading,
    grid: Grid,
    window: timedelta | None = None,
    groups: Iterable[tuple[str, ...]] = (),
) -> list[Point]:
    """The reading at every instant, ordered by instant and group.

    `groups` are expected even where no fact names them. A point without a value says why.
    Raises StoreError.
    """
    window = window or reading.window
    found = _rows(reader, reading, grid, window)
    seen = {_group(row, reading): None for row in found} | dict.fromkeys(groups)
    expected = sorted(seen) if reading.by else [()]
    by_key = {(row["k"], _group(row, reading)): row for row in found}
    instants = grid.instants()
    points = [
        _point(reading, instants[k], group, by_key.get((k, group)))
        for k, group in product(range(grid.count), expected)
    ]
    if all(p.missing is None for p in points):
        return points
    return _with_reasons(reader, reading, grid, window, points)


def _rows(reader: Reader, reading: Reading, grid: Grid, window: timedelta) -> list[dict[str, Any]]:
    """One for each instant and group that has facts."""
    sql, since, until = reading_sql(reading, grid, window, reader.dialect), grid.start - window, grid.end
    picked = _picked(reader, reading, grid, window)
    if not picked:
        return list(reader.query(sql, since=since, until=until).to_pylist())
    rows = [
        {
            "k": 0,
            **_keys(group),
            **dict(zip(("value", "low", "high"), r.values, strict=True)),
            "count": r.count,
        }
        for group, r in picked.items()
        if r is not None
    ]
    undecided = [_is(group, reader.dialect) for group, r in picked.items() if r is None]
    if undecided:
        rest = f"SELECT * FROM ({sql}) AS r WHERE {' OR '.join(undecided)}"
        rows += reader.query(rest, since=since, until=until).to_pylist()
    return rows


def _picked(
    reader: Reader, reading: Reading, grid: Grid, window: timedelta
) -> dict[tuple[str, ...], ranks.Ranked | None]:
    """The value and its bounds by group, where a span is long enough to be worth two looks."""
    kind = reading.computation
    if not isinstance(kind, RequestQuantile) or grid.count > 1 or window < LONG:
        return {}
    fractions = (kind.q, *interval_fractions(kind.q, INTERVAL_SIZES[-1]))
    return ranks.selected(reader, kind.column, fractions, reading.by, grid.end - window, grid.end)


def _keys(group: tuple[str, ...]) -> dict[str, str]:
    return {f"g{i}": name for i, name in enumerate(group)}


def _is(group: tuple[str, ...], d: Dialect) -> str:
    return " AND ".join(f"{key} = {d.literal(name)}" for key, name in _keys(group).items()) or "true"


def _group(row: dict[str, Any], reading: Reading) -> tuple[str, ...]:
    return tuple(row[f"g{i}"] for i in range(len(reading.by)))


def _point(reading: Reading, at: Any, group: tuple[str, ...], row: dict[str, Any] | None) -> Point:
    if row is None:
        return Point(at, group, missing=_nothing(reading))
    value, count = row["value"], float(row["count"] or 0)
    if value is None:
        return Point(at, group, count=count, missing=NOTHING_TO_DIVIDE)
    low, high = row["low"], row["high"]
    if isinstance(reading.computation, RequestShare):
        low, high = wilson(value * count, count)
    return Point(at, group, float(value), low, high, count)


def _nothing(reading: Reading) -> str:
    kind = reading.computation
    if isinstance(kind, RequestCount) and kind.known.column:
        return f"no request in the window carries {kind.known.column}"
    return NO_REQUESTS if reading.table == "requests" else NO_SCRAPE


def _with_reasons(
    reader: Reader, reading: Reading, grid: Grid, window: timedelta, points: list[Point]
) -> list[Point]:
    """Where nothing was found although replicas were scraped, the metric is not exposed, or stood still."""
    if reading.table == "requests":
        return points
    since, until = grid.start - window, grid.end
    own = tuple(by for by in reading.by if by == "replica")
    scrapes = Reading("scrapes", "", Level("up", "max"), "", by=own)
    rows = reader.query(
        reading_sql(scrapes, grid, window, reader.dialect), since=since, until=until
    ).to_pylist()
    alive = {(row["k"], _group(row, scrapes)) for row in rows if row["value"] == 1}
    exposed = _exposed(reader, reading.computation, since, until)
    why = NOTHING_TO_DIVIDE if exposed else NOT_EXPOSED
    return [
        replace(p, missing=why) if p.missing == NO_SCRAPE and _scraped(p, reading, grid, alive) else p
        for p in points
    ]


def _scraped(p: Point, reading: Reading, grid: Grid, alive: set[tuple[int, tuple[str, ...]]]) -> bool:
    """Whether the point's own replica answered, or any where it is of none."""
    replica = tuple(name for by, name in zip(reading.by, p.group, strict=True) if by == "replica")
    return ((p.at - grid.start) // grid.step, replica) in alive


def _exposed(reader: Reader, kind: Computation, since: Any, until: Any) -> bool:
    """Whether every metric of the reading has facts anywhere in the range."""
    wanted = metrics_of(kind)
    d = reader.dialect
    listed = ", ".join(d.literal(m) for m in wanted)
    sql = (
        f"SELECT count(DISTINCT metric) AS n FROM {{metrics}} WHERE metric IN ({listed}) "
        f"AND {AT} > {d.instant(since)} AND {AT} <= {d.instant(until)}"
    )
    return bool(reader.query(sql, since=since, until=until).to_pylist()[0]["n"] == len(wanted))


def metrics_of(kind: Computation) -> tuple[str, ...]:
    """The canonical metrics that a computation needs; none for request readings."""
    match kind:
        case Ratio():
            return (kind.numerator, kind.denominator)
        case Rate() | Mean() | Quantile() | HistogramShare() | Level() | Age():
            return (kind.metric,)
        case _:
            return ()
