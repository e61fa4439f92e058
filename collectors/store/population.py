"""A population of requests as exact counts, by all attributes and lengths at once.

Each request gets one number that holds the codes of its values, a few bits each, and is counted under it:
one GROUP BY over one integer, however many attributes there are. On a month of ten million requests that
takes half of the time of GROUPING SETS over all pairs, and any group can still be compared with any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

import numpy as np
import pyarrow as pa

from collectors.diagnose.cohorts.cells import LENGTHS, OTHERS, Attribute, Cells
from collectors.diagnose.cohorts.measures import Measure, Selection
from collectors.store.dialect import AT, Dialect
from collectors.store.errors import StoreError
from collectors.store.reader import Reader

COLUMNS = ("adapter", "backend_version", "prompt_version", "replica", "variant", "intent", "locale")
TURNS = ("1", "2", "3-4", "5-8", "9-16", "17 or more")
MOST_VALUES = 62  # of one column, the most frequent ones: 6 bits with "unknown" and "others"
MOST_CELLS = 4_000_000  # about 0.5 GB while they are ranked; more are counted without the hour, or not at all
LENGTH_BITS = 6  # half an octave a bucket: up to four billion tokens
Span = tuple[datetime, datetime]

_FORMULAS: Mapping[str, str] = {
    "tpot_ms": "CASE WHEN output_tokens > 1 THEN decode_ms / (output_tokens - 1) END",
    "failed": "CASE WHEN http_status >= 400 THEN 1.0 WHEN http_status IS NOT NULL THEN 0.0 END",
}


@dataclass(frozen=True, slots=True)
class _Coding:
    """An attribute, and the SQL that gives a row's place among its values; place 0 is "not known"."""

    name: str
    values: tuple[str, ...]
    sql: str

    @property
    def bits(self) -> int:
        return len(self.values).bit_length()


def population(reader: Reader, span: Span, measure: Measure, chosen: Selection) -> Cells:
    """The requests in (since, until] that have the measure, with the `chosen` marked. Raises StoreError.

    Lengths on which the measure does not depend are not told apart. Times below one millisecond count as one,
    for their ratios mean nothing.
    """
    codings = [*_columns(reader, span), _turn(reader.dialect), _hour(reader.dialect)]
    found = _counted(reader, span, measure, chosen, codings)
    if found.num_rows > MOST_CELLS:
        codings = codings[:-1]
        found = _counted(reader, span, measure, chosen, codings)
    if found.num_rows > MOST_CELLS:
        what = f"its requests are of more than {MOST_CELLS:,} combinations of attributes and lengths"
        raise StoreError(reader.root, what, "Ask for a shorter span")
    return _cells(found, codings)


def quantile(reader: Reader, span: Span, measure: Measure, q: float, least: int = 1) -> float | None:
    """An exact quantile of the measure; None where fewer requests have it. Raises StoreError."""
    columns = f"{reader.dialect.quantiles('x', [q])} AS q, count(x) AS n"
    sql = f"SELECT {columns} FROM ({_rows(measure, [])}) AS r"
    found = reader.query(sql, since=span[0], until=span[1]).to_pylist()[0]
    return float(found["q"][0]) if found["n"] >= least else None


def examples(
    reader: Reader,
    span: Span,
    measure: Measure,
    chosen: Selection,
    attributes: Mapping[str, str | None],
    most: int,
) -> tuple[str, ...]:
    """Ids of marked requests with these attributes, the slowest first. Raises StoreError."""
    d = reader.dialect
    codings = {c.name: c for c in (_turn(d), _hour(d))}
    conditions = [_marked(chosen, d), *(_is(n, v, codings.get(n), d) for n, v in attributes.items())]
    rows = _rows(measure, ["request_id", AT, "turn", *COLUMNS])
    found = reader.query(
        f"SELECT request_id FROM ({rows}) AS r WHERE {' AND '.join(conditions)} "
        f"ORDER BY x DESC, request_id LIMIT {most}",
        since=span[0],
        until=span[1],
    )
    return tuple(found.column("request_id").to_pylist())


def _counted(
    reader: Reader, span: Span, measure: Measure, chosen: Selection, codings: Sequence[_Coding]
) -> pa.Table:
    """By number: k, count, marked, total, squares; one row more than can be ranked at most."""
    lengths = [_length(n, reader.dialect) if n in measure.lengths else "0" for n in LENGTHS]
    parts = [*((c.sql, c.bits) for c in codings), *((sql, LENGTH_BITS) for sql in lengths)]
    shifts = [0, *accumulate(bits for _, bits in parts)]
    number = " + ".join(f"({sql}) * {1 << shift}" for (sql, _), shift in zip(parts, shifts, strict=False))
    marked = f"CASE WHEN {_marked(chosen, reader.dialect)} THEN 1 END"
    inner = _rows(measure, [f"{reader.dialect.integer.format(number)} AS k", AT])
    logs = f"SELECT k, {marked} AS m, ln(greatest(x, 1)) AS y FROM ({inner}) AS r"
    columns = "k, count(*) AS n, count(m) AS marked, sum(y) AS total, sum(y * y) AS squares"
    sql = f"SELECT {columns} FROM ({logs}) AS l GROUP BY k LIMIT {MOST_CELLS + 1}"
    return reader.query(sql, since=span[0], until=span[1])


def _cells(found: pa.Table, codings: Sequence[_Coding]) -> Cells:
    number = found.column("k").to_numpy().astype(np.int64)
    widths = [*(c.bits for c in codings), *(LENGTH_BITS for _ in LENGTHS)]
    shifts = [0, *accumulate(widths)]
    places = [(number >> at) & ((1 << bits) - 1) for bits, at in zip(widths, shifts, strict=False)]
    sums = (found.column(c).to_numpy().astype(np.float64) for c in ("n", "marked", "total", "squares"))
    return Cells(
        tuple(Attribute(c.name, (None, *c.values)) for c in codings),
        np.array(places[: len(codings)]),
        np.array(places[len(codings) :]),
        *sums,
    )


def _rows(measure: Measure, columns: Sequence[str]) -> str:
    """The rows that have the measure, as x."""
    formula = _FORMULAS.get(measure.name, measure.name)
    conditions = [f"({formula}) IS NOT NULL"]
    if measure.answered:
        conditions.append("(http_status IS NULL OR http_status < 400)")
    selected = ", ".join([*columns, f"{formula} AS x"])
    return f"SELECT {selected} FROM {{requests}} WHERE {' AND '.join(conditions)}"


def _marked(chosen: Selection, d: Dialect) -> str:
    bounds = [("x >", chosen.above), ("x <=", chosen.up_to)]
    times = [(f"{AT} >", chosen.since), (f"{AT} <=", chosen.until)]
    parts = [f"{side} {d.literal(float(value))}" for side, value in bounds if value is not None]
    return " AND ".join([*parts, *(f"{side} {d.instant(at)}" for side, at in times if at)]) or "true"


def _columns(reader: Reader, span: Span) -> list[_Coding]:
    sets, names = ", ".join(f"({c})" for c in COLUMNS), ", ".join(COLUMNS)
    sql = f"SELECT {names}, count(*) AS n FROM {{requests}} GROUP BY GROUPING SETS ({sets})"
    rows = reader.query(sql, since=span[0], until=span[1]).to_pylist()
    rows.sort(key=lambda row: -row["n"])
    # what is rolled up in a row is NULL or, in ClickHouse, the empty text; and neither is a value
    return [_column(c, [row[c] for row in rows if row[c]], reader.dialect) for c in COLUMNS]


def _column(name: str, values: Sequence[str], d: Dialect) -> _Coding:
    """The more frequent, the lower the place."""
    known = values[:MOST_VALUES]
    cases = " ".join(f"WHEN {d.literal(v)} THEN {k}" for k, v in enumerate(known, start=1))
    if not cases:
        return _Coding(name, (), "0")
    if len(values) == len(known):
        return _Coding(name, tuple(known), f"CASE {name} {cases} ELSE 0 END")
    rest = (
        f"CASE WHEN coalesce({name}, '') = '' THEN 0 ELSE CASE {name} {cases} ELSE {MOST_VALUES + 1} END END"
    )
    return _Coding(name, (*known, OTHERS), rest)


def _turn(d: Dialect) -> _Coding:
    """Turns in octaves: each is of about as many requests, and later ones differ less."""
    octave = d.integer.format(f"least(ceil(log2(turn)) + 1, {len(TURNS)})")
    return _Coding("turn", TURNS, f"CASE WHEN turn > 0 THEN {octave} ELSE 0 END")


def _hour(d: Dialect) -> _Coding:
    """The hour of the day in which the request ended, UTC."""
    hours = d.integer.format(f"floor({d.epoch_us.format(AT)} / 3600000000)")
    return _Coding("hour", tuple(f"{hour:02}" for hour in range(24)), f"{hours} % 24 + 1")


def _length(column: str, d: Dialect) -> str:
    """Buckets of half an octave: within one, lengths differ by less than the effects that are looked for."""
    bucket = d.integer.format(f"1 + floor(2 * log2({column}))")
    return f"CASE WHEN {column} > 0 THEN {bucket} ELSE 0 END"


def _is(name: str, value: str | None, coding: _Coding | None, d: Dialect) -> str:
    if coding is not None:
        return f"({coding.sql}) = {0 if value is None else coding.values.index(value) + 1}"
    return f"coalesce({name}, '') = {d.literal(value or '')}"
