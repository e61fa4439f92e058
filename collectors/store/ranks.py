"""Exact quantiles of very many requests, found in two looks.

A sample says between which values each lies; one scan then counts what is below and collects what is
between (after Floyd and Rivest, Algorithm 489, 1975). An engine's own exact quantile keeps every value and
selects among them at the end, which takes half of its time. A group for which the sample misled stays
undecided here: the engine's own is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import floor, inf, sqrt
from typing import Any

import numpy as np
import pyarrow as pa

from collectors.store.dialect import Dialect
from collectors.store.reader import Reader
from collectors.store.sql import INTERVAL_SIZES
from collectors.store.tables import TABLES

Values = np.ndarray[Any, np.dtype[np.float64]]
Span = tuple[float, float]

SAMPLE_PERCENT = 1
ENOUGH = 10_000  # sampled values from which a second look pays
FEW = INTERVAL_SIZES[-1]  # values under which a group is left to the engine
SPREAD = 5.0  # standard errors of a sampled rank, on either side of it
MOST_SPANS, MOST_SHARE = 8, 0.25  # beyond them the scan collects so much that nothing is won


@dataclass(frozen=True, slots=True)
class Ranked:
    """The quantiles of one group, in the order asked for, and how many values they rest on."""

    count: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Question:
    reader: Reader
    column: str
    groups: Sequence[str]
    since: datetime
    until: datetime

    def lists(self, columns: str, tail: str = "") -> pa.Table:
        """The values asked for, as a list for each group. Raises StoreError."""
        # by the bare columns: as text they would lose their dictionaries, which costs as much as the scan
        keys = [f"{g} AS g{i}" for i, g in enumerate(self.groups)]
        end = f" GROUP BY {', '.join(f'g{i}' for i in range(len(keys)))}" if keys else ""
        rows = f"SELECT {', '.join([f'{self.column} AS x', *keys])} FROM {{requests}}{tail}"
        selected = ", ".join([*(f"g{i}" for i in range(len(keys))), columns])
        sql = f"SELECT {selected} FROM ({rows}) AS s WHERE x IS NOT NULL{end}"
        return self.reader.query(sql, since=self.since, until=self.until)


def selected(
    reader: Reader,
    column: str,
    fractions: Sequence[float],
    groups: Sequence[str],
    since: datetime,
    until: datetime,
) -> dict[tuple[str, ...], Ranked | None]:
    """Quantiles of a column of the requests in (since, until], by group; None for one that is undecided.

    They are those of `Dialect.quantiles`: exact, linear between neighbours. Without any group the span
    was not looked at, for the engine's own is as quick. Raises StoreError.
    """
    texts = all(pa.types.is_string(TABLES["requests"].schema.field(g).type) for g in groups)
    if not (texts and reader.dialect.sample):
        return {}
    asked = _Question(reader, column, groups, since, until)
    sampled = asked.lists("list(x) AS xs", reader.dialect.sample.format(SAMPLE_PERCENT))
    values = [_floats(row) for row in sampled.column("xs")]
    large = [own for own in values if len(own) * 100 >= FEW * SAMPLE_PERCENT]
    spans = _merged([s for own in large for f in fractions for s in [_span(np.sort(own), f)]])
    if not _pays(values, spans):
        return {}
    return _counted(asked, spans, fractions)


def _span(ordered: Values, fraction: float) -> Span:
    """Between which values the quantile lies, if the sample is a fair one; open where it cannot say."""
    n = len(ordered)
    error = SPREAD * sqrt(fraction * (1 - fraction) / n) + 1 / n
    low, high = floor((fraction - error) * n), floor((fraction + error) * n) + 1
    return (ordered[low] if low >= 0 else -inf), (ordered[high] if high < n else inf)


def _merged(spans: Sequence[Span]) -> list[Span]:
    """The same values as disjoint spans, lowest first."""
    found: list[Span] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def _pays(values: Sequence[Values], spans: Sequence[Span]) -> bool:
    total = sum(map(len, values))
    if total < ENOUGH or not 0 < len(spans) <= MOST_SPANS:
        return False
    inside = sum(int(((own >= low) & (own <= high)).sum()) for own in values for low, high in spans)
    return inside <= MOST_SHARE * total


def _counted(
    asked: _Question, spans: Sequence[Span], fractions: Sequence[float]
) -> dict[tuple[str, ...], Ranked | None]:
    d = asked.reader.dialect
    below = [f"count(CASE WHEN {_below(low, d)} THEN 1 END) AS b{i}" for i, (low, _) in enumerate(spans)]
    within = " OR ".join(f"({_within(span, d)})" for span in spans)
    found = asked.lists(f"count(*) AS n, list(x) FILTER ({within}) AS xs, {', '.join(below)}")
    picked: dict[tuple[str, ...], Ranked | None] = {}
    for k in range(found.num_rows):
        group = tuple(found.column(f"g{i}")[k].as_py() or "" for i in range(len(asked.groups)))
        starts = [found.column(f"b{i}")[k].as_py() for i in range(len(spans))]
        ordered, n = np.sort(_floats(found.column("xs")[k])), found.column("n")[k].as_py()
        values = [_at(ordered, starts, spans, f * (n - 1)) for f in fractions]
        known = tuple(v for v in values if v is not None)
        clear = n >= FEW and len(known) == len(values) and group not in picked  # no text is the empty text
        picked[group] = Ranked(n, known) if clear else None
    return picked


def _below(low: float, d: Dialect) -> str:
    return "false" if low == -inf else f"x < {d.literal(float(low))}"


def _within(span: Span, d: Dialect) -> str:
    low, high = (float(v) for v in span)
    parts = [f"x >= {d.literal(low)}"] * (low > -inf) + [f"x <= {d.literal(high)}"] * (high < inf)
    return " AND ".join(parts) or "true"


def _at(ordered: Values, starts: Sequence[int], spans: Sequence[Span], rank: float) -> float | None:
    """The value at a rank counted from 0, between two neighbours linearly; None outside the spans."""
    first = floor(rank)
    ends = [int(np.searchsorted(ordered, high, "right")) for _, high in spans]
    offset = 0
    for start, end in zip(starts, ends, strict=True):
        here = first - start + offset
        last = here + (1 if rank > first else 0)
        if offset <= here and last < end:
            low, high = float(ordered[here]), float(ordered[last])
            return low + (high - low) * (rank - first)
        offset = end
    return None


def _floats(values: pa.ListScalar) -> Values:
    return np.asarray(values.values if values.is_valid else [], dtype=np.float64)
