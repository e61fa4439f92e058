"""A reading as SQL over a whole grid of instants in one query; one text for every engine.

Each row of facts is copied to the instants whose window holds it, by arithmetic on its time, so that
a single instant, a rolling judgement and a chart of a month are the same statement. Result columns:
`k` (index in the grid), `g0`, `g1` ... (groups), `value`, `low`, `high`, `count`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from math import sqrt

from collectors.signals.points import Z_95, Grid
from collectors.signals.predicates import Where
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
    RequestRate,
    RequestShare,
)
from collectors.store.dialect import AT, Dialect

# Sample sizes for which an order-statistic interval is read; the next smaller one is used (wider, so safe).
INTERVAL_SIZES = (20, 60, 200, 1000, 10000)


def reading_sql(reading: Reading, grid: Grid, window: timedelta, dialect: Dialect) -> str:
    """The statement that computes the reading at every instant of the grid."""
    groups = [f"{dialect.group(column)} AS g{i}" for i, column in enumerate(reading.by)]
    keys = ["k", *(f"g{i}" for i in range(len(reading.by)))]
    return _compute(reading.computation, _Frame(grid, window, dialect, groups, keys))


class _Frame:
    """What every kind needs: the grid, the window, the groups and the dialect."""

    def __init__(
        self, grid: Grid, window: timedelta, dialect: Dialect, groups: Sequence[str], keys: Sequence[str]
    ) -> None:
        self.grid, self.window, self.dialect = grid, window, dialect
        self.groups, self.keys = groups, keys

    @property
    def by(self) -> str:
        return ", ".join(self.keys)

    def rows(self, table: str, columns: Sequence[str], where: str) -> str:
        """Facts copied to the instants whose window holds them; the reader gives those of the grid only."""
        selected = ", ".join([f"{self._instants()} AS k", *self.groups, *columns])
        return f"SELECT {selected} FROM {{{table}}} WHERE {where}"

    def metric_rows(self, metrics: Sequence[str], columns: Sequence[str]) -> str:
        """As `rows`; an increment over a longer time than the window cannot be placed in it."""
        named = ", ".join(self.dialect.literal(m) for m in metrics)
        fits = f"(interval_s IS NULL OR interval_s <= {self.window.total_seconds()!r})"
        return self.rows("metrics", columns, f"metric IN ({named}) AND {fits}")

    def level_rows(self, metric: str, columns: Sequence[str]) -> str:
        """As `rows`; a level holds however long nobody had looked before."""
        return self.rows("metrics", columns, f"metric = {self.dialect.literal(metric)}")

    def seconds(self) -> float:
        return self.window.total_seconds()

    def aggregated(self, columns: str, source: str) -> str:
        """One row for every instant and group of the source."""
        if self.grid.count > 1:
            return f"SELECT {self.by}, {columns} FROM ({source}) AS s GROUP BY {self.by}"
        groups = self.keys[1:]  # a constant instant is not worth a hash table of 10 million look-ups
        end = f"GROUP BY {', '.join(groups)}" if groups else "HAVING count(*) > 0"
        return f"SELECT {', '.join(['0 AS k', *groups, columns])} FROM ({source}) AS s {end}"

    def index(self) -> str:
        """Which instant a row of `aggregated` is of."""
        return "k" if self.grid.count > 1 else "0"

    def _instants(self) -> str:
        if self.grid.count == 1:
            return "0"  # every row that was read is in the one window
        d, step = self.dialect, _us(self.grid.step)
        since_start = f"({d.epoch_us.format(AT)} - {_epoch_us(self.grid)})"
        first = d.integer.format(f"greatest(0, ceil({since_start} / {step}))")
        end = d.integer.format(
            f"least({self.grid.count}, ceil(({since_start} + {_us(self.window)}) / {step}))"
        )
        return d.expand.format(first, f"greatest({first}, {end})")


def _compute(kind: Computation, f: _Frame) -> str:  # noqa: PLR0911 - one line a kind is the clearest table
    match kind:
        case Rate():
            return _rate(kind, f)
        case Ratio():
            return _ratio(kind, f)
        case Mean():
            return _mean(kind, f)
        case Quantile():
            return _quantile(kind, f)
        case HistogramShare():
            return _histogram_share(kind, f)
        case Level():
            return _level(kind, f)
        case Age():
            return _age(kind, f)
        case RequestQuantile():
            return _request_quantile(kind, f)
        case RequestShare():
            return _request_share(kind, f)
        case RequestCount():
            return _request_count(kind, f)
        case RequestRate():
            return _request_rate(kind, f)


def _plain(f: _Frame, value: str, count: str, source: str) -> str:
    bounds = f"{f.dialect.null_float} AS low, {f.dialect.null_float} AS high"
    return f.aggregated(f"{value} AS value, {bounds}, {count} AS count", source)


def _rate(kind: Rate, f: _Frame) -> str:
    series = "replica AS s0, engine AS s1, model AS s2, label AS s3"
    inner = (
        f"SELECT {f.by}, sum(value) / sum(interval_s) AS rate, sum(value) AS total "
        f"FROM ({f.metric_rows([kind.metric], [series, 'value', 'interval_s'])}) "
        f"GROUP BY {f.by}, s0, s1, s2, s3"
    )
    return _plain(f, "sum(rate)", "sum(total)", inner)


def _ratio(kind: Ratio, f: _Frame) -> str:
    # a gauge counts as level x seconds, so a level over time divides like a counter
    amount = "CASE WHEN kind = 'gauge' THEN value * interval_s ELSE value END AS amount"
    rows = f.metric_rows([kind.numerator, kind.denominator], ["metric", amount])
    top, bottom = (
        f"sum(CASE WHEN metric = {f.dialect.literal(m)} THEN amount END)"
        for m in (kind.numerator, kind.denominator)
    )
    return _plain(f, f"{top} / nullif({bottom}, 0)", bottom, rows)


def _mean(kind: Mean, f: _Frame) -> str:
    # an unknown sum takes its observations with it
    rows = f.metric_rows([kind.metric], ["sum AS total", "CASE WHEN sum IS NOT NULL THEN value END AS n"])
    return _plain(f, f"sum(total) * {kind.scale!r} / nullif(sum(n), 0)", "sum(n)", rows)


def _quantile(kind: Quantile, f: _Frame) -> str:
    d = f.dialect
    # replicas of two versions may divide the same range differently: by upper bound, as Prometheus sums by le
    summed = f"SELECT {f.by}, min(lo) AS lowest, hi, sum(c) AS n FROM ({_buckets(kind.metric, f)}) AS s"
    running = (
        f"SELECT {f.by}, lowest, hi, n, sum(n) OVER (PARTITION BY {f.by} ORDER BY hi) AS cum, "
        f"sum(n) OVER (PARTITION BY {f.by}) AS total FROM ({summed} WHERE c > 0 GROUP BY {f.by}, hi) AS b"
    )
    pick = (
        f"SELECT {f.by}, min(lowest) AS blo, min(hi) AS bhi, {d.at_least.format('cum', 'hi')} AS bcum, "
        f"{d.at_least.format('n', 'hi')} AS bc, max(total) AS everything "
        f"FROM ({running}) AS r WHERE cum >= {kind.q!r} * total GROUP BY {f.by}"
    )
    # Prometheus's histogram_quantile: linear within the bucket; in the last, open one its lower bound
    inside = f"blo + (bhi - blo) * ({kind.q!r} * everything - (bcum - bc)) / bc"
    value = f"CASE WHEN bhi > 1e300 THEN blo ELSE {inside} END * {kind.scale!r}"
    return (
        f"SELECT {f.by}, {value} AS value, blo * {kind.scale!r} AS low, bhi * {kind.scale!r} AS high, "
        f"everything AS count FROM ({pick}) AS p"
    )


def _buckets(metric: str, f: _Frame) -> str:
    """New observations by bucket: lo, hi, c."""
    low, high, count = (f.dialect.bucket_field.format(x) for x in ("low", "high", "count"))
    buckets = f"SELECT {f.by}, {f.dialect.bucket_rows} AS b FROM ({f.metric_rows([metric], ['buckets'])})"
    by_bucket = f"SELECT {f.by}, {low} AS lo, {high} AS hi, sum({count}) AS c"
    return f"{by_bucket} FROM ({buckets}) GROUP BY {f.by}, lo, hi"


def _histogram_share(kind: HistogramShare, f: _Frame) -> str:
    t = repr(kind.below)
    inside = (
        f"CASE WHEN hi <= {t} THEN c WHEN lo < {t} AND hi < 1e300 THEN c * ({t} - lo) / (hi - lo) ELSE 0 END"
    )
    return (
        f"SELECT {f.by}, sum({inside}) / sum(c) AS value, "
        f"sum(CASE WHEN hi <= {t} THEN c ELSE 0 END) / sum(c) AS low, "
        f"sum(CASE WHEN lo < {t} THEN c ELSE 0 END) / sum(c) AS high, sum(c) AS count "
        f"FROM ({_buckets(kind.metric, f)}) AS s WHERE c > 0 GROUP BY {f.by}"
    )


def _level(kind: Level, f: _Frame) -> str:
    series = "replica AS s0, engine AS s1, model AS s2, label AS s3"
    inner = (
        f"SELECT {f.by}, {f.dialect.latest.format('value', AT)} AS level "
        f"FROM ({f.level_rows(kind.metric, [series, 'value', AT])}) GROUP BY {f.by}, s0, s1, s2, s3"
    )
    return _plain(f, f"{kind.across}(level)", "count(*)", inner)


def _age(kind: Age, f: _Frame) -> str:
    at = f.dialect.epoch_us.format(AT)
    # where it never stood at 1 in the window, at least the time since the first look: no outage ends an alert
    newest = f"coalesce(max(CASE WHEN value = 1 THEN {at} END), min({at}))"
    then = f"({_epoch_us(f.grid)} + {f.index()} * {_us(f.grid.step)})"
    return _plain(f, f"({then} - {newest}) / 1e6", "count(*)", f.level_rows(kind.metric, ["value", AT]))


def _request_quantile(kind: RequestQuantile, f: _Frame) -> str:
    rows = f.rows("requests", [f"{kind.column} AS x"], f"{kind.column} IS NOT NULL")
    fractions = [kind.q, *(e for n in INTERVAL_SIZES for e in interval_fractions(kind.q, n))]
    found = (
        f"SELECT {f.by}, {f.dialect.quantiles('x', fractions)} AS qs, min(x) AS least, max(x) AS most, "
        f"count(*) AS n FROM ({rows}) GROUP BY {f.by}"
    )
    return (
        f"SELECT {f.by}, qs[1] AS value, {_bound('least', 2)} AS low, {_bound('most', 3)} AS high, "
        f"n AS count FROM ({found}) AS f"
    )


def _bound(otherwise: str, first: int) -> str:
    """The bound for the largest listed sample size that n reaches; under all of them the extreme."""
    sizes = list(enumerate(INTERVAL_SIZES))
    cases = " ".join(f"WHEN n >= {size} THEN qs[{first + 2 * i}]" for i, size in reversed(sizes))
    return f"CASE {cases} ELSE {otherwise} END"


def interval_fractions(q: float, n: int) -> tuple[float, float]:
    """Ranks that hold the true quantile with 95 %: q -/+ z sqrt(q (1 - q) / n), as fractions."""
    half = Z_95 * sqrt(q * (1 - q) / n)
    return max(0.0, q - half), min(1.0, q + half)


def _request_share(kind: RequestShare, f: _Frame) -> str:
    good = f"CASE WHEN {condition(kind.good, f.dialect)} THEN 1 END AS good"
    return _plain(
        f, "count(good) / count(*)", "count(*)", f.rows("requests", [good], condition(kind.of, f.dialect))
    )


def _request_count(kind: RequestCount, f: _Frame) -> str:
    met = f"CASE WHEN {condition(kind.where, f.dialect)} THEN 1 ELSE 0 END AS met"
    return _plain(f, "sum(met)", "count(*)", f.rows("requests", [met], condition(kind.known, f.dialect)))


def _request_rate(kind: RequestRate, f: _Frame) -> str:
    return _plain(
        f,
        f"count(*) / {f.seconds()!r}",
        "count(*)",
        f.rows("requests", ["1 AS one"], condition(kind.where, f.dialect)),
    )


def condition(where: Where, dialect: Dialect) -> str:
    """A predicate as SQL for WHERE and CASE WHEN; a missing value meets none but `always`."""
    if where.op == "always":
        return "true"
    if where.op == "present":
        return f"{where.column} IS NOT NULL"
    op = {"==": "=", "!=": "<>"}.get(where.op, where.op)
    value = "NULL" if where.value is None else dialect.literal(where.value)
    return f"{where.column} {op} {value}"


def _us(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _epoch_us(grid: Grid) -> int:
    return round(grid.start.timestamp() * 1_000_000)
