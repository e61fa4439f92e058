"""The console's own SQL: each function is one statement, and its rows as plain values. Raises StoreError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any

from collectors.model import EventFact, Judgement, Kind, RequestFact
from collectors.store.dialect import AT
from collectors.store.reader import Reader
from collectors.store.tables import TABLES, facts
from console.views.facts import STAGES, Change, Inlet, Life, Origin, Pulse, Slice
from console.views.versions import Version

DAY = timedelta(days=1)
MAX_EVENTS = 500
MAX_CANDIDATES = 100
MAX_POINTS = 2000  # of a chart
CELLS = 60  # parts of the span in the history of a source


def pulse(reader: Reader, now: datetime) -> Pulse:
    """The newest facts of the last day; of all days where that was silent."""
    found = _pulse(reader, now, now - DAY)
    return found if found.newest else _pulse(reader, now, None)


def _pulse(reader: Reader, now: datetime, since: datetime | None) -> Pulse:
    within = _within(reader, since, now)
    scale = reader.dialect.latest.format("clock_scale", AT)
    row = _rows(
        reader,
        f"SELECT (SELECT max({AT}) FROM {{metrics}} WHERE metric = 'up' AND {within}) AS scrape, "
        f"(SELECT max({AT}) FROM {{requests}} WHERE {within}) AS request, "
        f"(SELECT max({AT}) FROM {{judgements}} WHERE {within}) AS judgement, "
        f"(SELECT {scale} FROM {{judgements}} WHERE {within}) AS clock_scale, "
        f"(SELECT {reader.dialect.quantiles('interval_s', [0.5])} FROM {{metrics}} "
        f"WHERE metric = 'requests_running' AND interval_s > 0 AND {within}) AS interval_s",
        since,
        now,
    )[0]
    interval = _only(row["interval_s"])
    return Pulse(
        scrape=_utc(row["scrape"]),
        request=_utc(row["request"]),
        judgement=_utc(row["judgement"]),
        clock_scale=row["clock_scale"] or 1.0,
        interval=timedelta(seconds=interval) if interval else None,
    )


def slices(reader: Reader, since: datetime, now: datetime, window: timedelta) -> list[Slice]:
    """Requests in slices of the window counted back from `now`, newest first; empty ones are left out."""
    us = window // timedelta(microseconds=1)
    back = f"({round(now.timestamp() * 1e6)} - {reader.dialect.epoch_us.format(AT)})"
    means = ", ".join(f"avg({s}_ms) AS {s}" for s in STAGES)
    rows = _rows(
        reader,
        f"SELECT {reader.dialect.integer.format(f'floor({back} / {us})')} AS k, count(*) AS n, {means}, "
        f"{reader.dialect.quantiles('ttft_ms', [0.95])} AS ttft, "
        f"{reader.dialect.quantiles('e2e_ms', [0.95])} AS e2e "
        f"FROM {{requests}} WHERE {_within(reader, since, now)} AND http_status < 400 GROUP BY k ORDER BY k",
        since,
        now,
    )
    return [
        Slice(now - window * r["k"], r["n"], {s: r[s] for s in STAGES}, _only(r["ttft"]), _only(r["e2e"]))
        for r in rows
    ]


def events(reader: Reader, since: datetime, now: datetime, kinds: Sequence[str]) -> list[EventFact]:
    """Events of these kinds, newest first, at most MAX_EVENTS; what two collectors heard stands once."""
    listed = ", ".join(reader.dialect.literal(k) for k in kinds)
    sql = (
        f"SELECT * FROM {{events}} WHERE kind IN ({listed}) AND {_within(reader, since, now)} "
        f"ORDER BY {AT} DESC LIMIT {MAX_EVENTS}"
    )
    return list(dict.fromkeys(facts(TABLES["events"], reader.query(sql, since=since, until=now))))


def standing(reader: Reader, now: datetime, subject: str, since: datetime) -> list[Judgement]:
    """The judgements of the newest turn up to `now` on "rule" or "slo"."""
    where = f"subject = {reader.dialect.literal(subject)} AND {_within(reader, since, now)}"
    newest = f"(SELECT max({AT}) FROM {{judgements}} WHERE {where})"
    sql = f"SELECT * FROM {{judgements}} WHERE {where} AND {AT} = {newest} ORDER BY name, component"
    return facts(TABLES["judgements"], reader.query(sql, since=since, until=now))


def states(reader: Reader, since: datetime, now: datetime, subject: str) -> list[Change]:
    """Where each rule's or SLO's state began to be another, oldest first, beginning with its first."""
    by = "name, component" if subject == "rule" else "name"
    component = "component" if subject == "rule" else "''"
    where = f"subject = {reader.dialect.literal(subject)} AND {_within(reader, since, now)}"
    previous = f"lag(state) OVER (PARTITION BY {by} ORDER BY {AT})"
    rows = _rows(
        reader,
        f"SELECT * FROM (SELECT name, {component} AS part, {AT}, state, {previous} AS previous "
        f"FROM {{judgements}} WHERE {where}) AS s WHERE previous IS NULL OR state <> previous ORDER BY {AT}",
        since,
        now,
    )
    return [Change(r["name"], r["part"], r["at"].astimezone(UTC), r["state"]) for r in rows]


def candidates(
    reader: Reader, since: datetime, until: datetime, order: str, where: Sequence[tuple[str, str]] = ()
) -> list[RequestFact]:
    """The slowest requests that ended in (since, until], by a column of times; `where` are column = value."""
    equal = "".join(f" AND {c} = {reader.dialect.literal(v)}" for c, v in where)
    sql = (
        f"SELECT * FROM {{requests}} WHERE {_within(reader, since, until)}{equal} "
        f"ORDER BY {order} DESC NULLS LAST LIMIT {MAX_CANDIDATES}"
    )
    return facts(TABLES["requests"], reader.query(sql, since=since, until=until))


def adapters(reader: Reader, since: datetime, until: datetime) -> list[str]:
    """The adapters that answered."""
    where = f"adapter IS NOT NULL AND {_within(reader, since, until)}"
    sql = f"SELECT DISTINCT adapter FROM {{requests}} WHERE {where} ORDER BY 1"
    return [r["adapter"] for r in _rows(reader, sql, since, until)]


def points(
    reader: Reader, since: datetime, until: datetime, column: str
) -> list[tuple[datetime, float, str]]:
    """(end, ms, id) of requests for a chart: the slowest, and of the others as many as it can show."""
    where = f"{column} IS NOT NULL AND http_status < 400 AND {_within(reader, since, until)}"
    [counted] = _rows(reader, f"SELECT count(*) AS n FROM {{requests}} WHERE {where}", since, until)
    every = max(1, -(-counted["n"] // (MAX_POINTS // 2)))
    # the last digits of a time in microseconds are as good as drawn by lot
    some = f"{reader.dialect.integer.format(reader.dialect.epoch_us.format(AT))} % {every} = 0"
    chosen = f"SELECT {AT}, {column} AS ms, request_id FROM {{requests}} WHERE {where}"
    slowest = f"({chosen} ORDER BY ms DESC LIMIT {MAX_POINTS // 2})"
    found = _rows(reader, f"{slowest} UNION DISTINCT ({chosen} AND {some} LIMIT {MAX_POINTS})", since, until)
    return [(row["at"].astimezone(UTC), row["ms"], row["request_id"]) for row in found]


def versions(reader: Reader, since: datetime, until: datetime, column: str) -> list[Version]:
    """What the requests of each value of a column came to."""
    d = reader.dialect
    tpot = "CASE WHEN output_tokens > 1 THEN decode_ms / (output_tokens - 1) END"
    good = "CASE WHEN http_status < 400 THEN {} END"
    sql = (
        f"SELECT {column} AS name, count(*) AS n, min({AT}) AS first_at, max({AT}) AS last_at, "
        f"{d.quantiles('ttft_ms', [0.5, 0.95])} AS ttft, {d.quantiles(tpot, [0.5])} AS tpot, "
        f"{d.quantiles(good.format('e2e_ms'), [0.5, 0.95])} AS e2e, "
        f"{d.quantiles('output_tokens', [0.5])} AS answer, "
        "sum(CASE WHEN cached_tokens IS NOT NULL THEN cached_tokens END) AS cached, "
        "sum(CASE WHEN cached_tokens IS NOT NULL THEN prompt_tokens END) AS looked_up, "
        "sum(CASE WHEN http_status >= 400 THEN 1 ELSE 0 END) AS failed, count(http_status) AS answered "
        f"FROM {{requests}} WHERE {column} IS NOT NULL AND {_within(reader, since, until)} GROUP BY {column}"
    )
    return [_version(row) for row in _rows(reader, sql, since, until)]


def _version(row: Mapping[str, Any]) -> Version:
    def of(name: str, k: int = 0) -> float | None:
        return row[name][k] if row[name] else None

    return Version(
        row["name"],
        row["n"],
        row["first_at"].astimezone(UTC),
        row["last_at"].astimezone(UTC),
        of("ttft"),
        of("ttft", 1),
        of("tpot"),
        of("e2e"),
        of("e2e", 1),
        of("answer"),
        float(row["cached"]) / float(row["looked_up"]) if row["looked_up"] else None,
        float(row["failed"]) / row["answered"] if row["answered"] else None,
    )


def origins(reader: Reader, since: datetime, now: datetime) -> list[Origin]:
    """What each source and replica said of itself."""
    cell = reader.dialect.integer.format(
        f"least({CELLS - 1}, floor(({reader.dialect.epoch_us.format(AT)} - {round(since.timestamp() * 1e6)}) "
        f"/ {(now - since) // timedelta(microseconds=1) / CELLS}))"
    )
    newest = reader.dialect.latest
    rows = _rows(
        reader,
        f"SELECT source, replica, metric, {cell} AS k, max({AT}) AS newest, min(value) AS least, "
        "count(*) AS n, "
        f"sum(CASE WHEN value = 0 THEN 1 ELSE 0 END) AS zero, {newest.format('value', AT)} AS last "
        "FROM {metrics} WHERE metric IN ('up', 'scrape_duration_s', 'scrape_samples') "
        f"AND {_within(reader, since, now)} GROUP BY source, replica, metric, k ORDER BY source, replica, k",
        since,
        now,
    )
    keys = dict.fromkeys((r["source"], r["replica"]) for r in rows if r["metric"] == "up")
    return [_origin(key, [r for r in rows if (r["source"], r["replica"]) == key]) for key in keys]


def _origin(key: tuple[str, str], rows: list[dict[str, Any]]) -> Origin:
    up = {r["k"]: r for r in rows if r["metric"] == "up"}
    last = {r["metric"]: r["last"] for r in rows}
    return Origin(
        *key,
        newest=max(r["newest"] for r in up.values()).astimezone(UTC),
        up=last["up"],
        scrapes=sum(r["n"] for r in up.values()),
        failed=int(sum(r["zero"] for r in up.values())),
        duration_s=last.get("scrape_duration_s"),
        samples=last.get("scrape_samples"),
        cells=tuple(up[k]["least"] if k in up else None for k in range(CELLS)),
    )


def inlets(reader: Reader, since: datetime, now: datetime, source: str = "otlp") -> list[Inlet]:
    """What each receiver of traces counted, or each reader of MLflow's, and where it stands."""
    rows = _rows(
        reader,
        f"SELECT replica, metric, kind, label, max({AT}) AS newest, sum(value) AS total, "
        f"{reader.dialect.latest.format('value', AT)} AS last "
        f"FROM {{metrics}} WHERE source = {reader.dialect.literal(source)} "
        "AND (metric LIKE 'otlp%' OR metric LIKE 'forward%' OR metric LIKE 'mlflow%') "
        f"AND {_within(reader, since, now)} GROUP BY replica, metric, kind, label ORDER BY replica",
        since,
        now,
    )
    return [
        _inlet(replica, [r for r in rows if r["replica"] == replica])
        for replica in dict.fromkeys(r["replica"] for r in rows)
    ]


def _inlet(replica: str, rows: list[dict[str, Any]]) -> Inlet:
    newest = max(r["newest"] for r in rows)
    counters = {(r["metric"], r["label"]): round(r["total"]) for r in rows if r["kind"] == Kind.COUNTER}
    # a level that is no longer told is none: an MLflow that is not configured any more is not dead
    levels = {r["metric"]: r["last"] for r in rows if r["kind"] == Kind.GAUGE and r["newest"] == newest}
    return Inlet(replica, newest.astimezone(UTC), counters, levels)


def lives(reader: Reader, since: datetime, until: datetime) -> list[Life]:
    """The processes behind the replicas that answered a scrape in the span, by the start that they state."""
    rows = _rows(
        reader,
        f"SELECT replica, value, min({AT}) AS first FROM {{metrics}} WHERE metric = 'process_start_s' "
        f"AND {_within(reader, since, until)} GROUP BY replica, value ORDER BY replica, value",
        since,
        until,
    )
    return [
        Life(r["replica"], datetime.fromtimestamp(r["value"], UTC), r["first"].astimezone(UTC)) for r in rows
    ]


def row_counts(reader: Reader, since: datetime, now: datetime) -> dict[str, int]:
    """Rows of each table in the span."""
    within = _within(reader, since, now)
    columns = ", ".join(f"(SELECT count(*) FROM {{{t}}} WHERE {within}) AS {t}" for t in TABLES)
    return dict(_rows(reader, f"SELECT {columns}", since, now)[0])


def _within(reader: Reader, since: datetime | None, until: datetime) -> str:
    d = reader.dialect
    after = "" if since is None else f"{AT} > {d.instant(since)} AND "
    return f"{after}{AT} <= {d.instant(until)}"


def _rows(reader: Reader, sql: str, since: datetime | None, until: datetime) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reader.query(sql, since=since, until=until).to_pylist()
    return found


def _only(quantiles: Sequence[float] | None) -> float | None:
    """The one quantile asked for; None where there was no value. ClickHouse answers NaN to that."""
    value = quantiles[0] if quantiles else None
    return None if value is None or isnan(value) else value


def _utc(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC) if at else None
