"""After a restart: what the collector knew, read back from what it stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from collectors.judge.alerts import Alert
from collectors.judging import FORGET_GROUP, Book, Key, Memory
from collectors.model import RequestFact
from collectors.signals.changes import PRESENT_AT_START, VERSIONED, Seen
from collectors.signals.configuration import CONFIGURATION, subject, unheard
from collectors.signals.startup import StartUp
from collectors.signals.startup_facts import KINDS, told_once
from collectors.store.dialect import AT
from collectors.store.reader import Reader
from collectors.store.tables import TABLES, facts


def restore_memory(reader: Reader, book: Book, before: datetime) -> Memory:
    """Alert states and last sights as of an instant, from the judgements of the same clock scale."""
    since = before - FORGET_GROUP
    d = reader.dialect
    where = (
        f"{AT} > {d.instant(since)} AND {AT} <= {d.instant(before)} AND clock_scale = {book.clock_scale!r}"
    )
    rows = reader.query(
        "SELECT name, component, max(CASE WHEN value IS NOT NULL THEN "  # noqa: S608
        f"{AT} END) AS seen, max({AT}) AS newest, {d.latest.format('state', AT)} AS state "
        f"FROM {{judgements}} WHERE subject = 'rule' AND {where} GROUP BY name, component",
        since=since,
        until=before,
    ).to_pylist()
    by = {rule.name: rule.source.by for rule in book.rules}
    groups = [(row, group_of(by[row["name"]], row["component"])) for row in rows if row["name"] in by]
    known = [(row, (row["name"], group)) for row, group in groups if group is not None]
    alerts = {key: _alert(reader, row) for row, key in known}
    seen: dict[Key, datetime] = {key: row["seen"].astimezone(UTC) for row, key in known if row["seen"]}
    return Memory(alerts, seen)


def judged_until(reader: Reader, book: Book, since: datetime, until: datetime) -> datetime | None:
    """The newest instant in (since, until] judged with this clock scale; None where none was."""
    d = reader.dialect
    where = f"{AT} > {d.instant(since)} AND {AT} <= {d.instant(until)} AND clock_scale = {book.clock_scale!r}"
    found = reader.query(
        f"SELECT max({AT}) AS newest FROM {{judgements}} WHERE subject = 'rule' AND {where}",  # noqa: S608
        since=since,
        until=until,
    ).to_pylist()[0]["newest"]
    return found.astimezone(UTC) if found else None


def restore_seen(reader: Reader, before: datetime, days: int) -> Seen:
    """Which versions were seen, and when last, over the days that are kept."""
    since = before - timedelta(days=days)
    d = reader.dialect
    where = f"{AT} > {d.instant(since)} AND {AT} <= {d.instant(before)}"
    last: dict[tuple[str, str], datetime] = {}
    starts: list[datetime] = []
    for column in VERSIONED:
        rows = reader.query(
            f"SELECT {column} AS v, max({AT}) AS newest, min({AT}) AS oldest FROM {{requests}} "  # noqa: S608
            f"WHERE {where} AND {column} IS NOT NULL GROUP BY {column}",
            since=since,
            until=before,
        ).to_pylist()
        last |= {(column, row["v"]): row["newest"].astimezone(UTC) for row in rows}
        starts += [row["oldest"].astimezone(UTC) for row in rows]
    return Seen(min(starts, default=None), last)


def restore_configurations(reader: Reader, before: datetime, days: int) -> dict[str, str]:
    """The hash of each replica's configuration as it was told last, over the days that are kept."""
    d, since = reader.dialect, before - timedelta(days=days)
    kinds = ", ".join(map(d.literal, (PRESENT_AT_START, CONFIGURATION)))
    found = reader.query(
        f"SELECT * FROM {{events}} WHERE kind IN ({kinds}) "  # noqa: S608
        f"AND subject LIKE {d.literal(subject('%'))} AND {AT} > {d.instant(since)} "
        f"AND {AT} <= {d.instant(before)} ORDER BY {AT}",
        since=since,
        until=before,
    )
    return unheard({}, facts(TABLES["events"], found))[0]


def restore_written(reader: Reader, source: str, since: datetime, limit: int) -> list[RequestFact]:
    """The newest requests that this source has told of, oldest first."""
    d = reader.dialect
    found = reader.query(
        f"SELECT * FROM {{requests}} WHERE source = {d.literal(source)} AND {AT} > {d.instant(since)} "  # noqa: S608
        f"ORDER BY {AT} DESC LIMIT {limit}",
        since=since,
    )
    return facts(TABLES["requests"], found)[::-1]


def restore_starts(reader: Reader, source: str, since: datetime) -> list[StartUp]:
    """The start-ups that this source has told of."""
    d = reader.dialect
    kinds = ", ".join(map(d.literal, KINDS))
    found = reader.query(
        f"SELECT * FROM {{events}} WHERE kind IN ({kinds}) AND source = {d.literal(source)} "  # noqa: S608
        f"AND {AT} > {d.instant(since)}",
        since=since,
    )
    return told_once(facts(TABLES["events"], found))


def group_of(by: Sequence[str], text: str) -> tuple[str, ...] | None:
    """A component such as "adapter=a, replica=r" back as the group ("a", "r"); None if `by` does not fit."""
    pattern = ", ".join(f"{re.escape(name)}=(.*?)" for name in by)
    found = re.fullmatch(pattern, text, re.DOTALL)
    return found.groups() if found else None


def _alert(reader: Reader, row: dict[str, object]) -> Alert:
    d = reader.dialect
    newest = row["newest"]
    assert isinstance(newest, datetime)  # noqa: S101 - max() of a group that has rows
    found = reader.query(
        "SELECT state, active_at, fired_at, kept_since FROM {judgements} WHERE subject = 'rule' "  # noqa: S608
        f"AND name = {d.literal(str(row['name']))} AND component = {d.literal(str(row['component']))} "
        f"AND {AT} = {d.instant(newest)}",
        since=newest - timedelta(seconds=1),
        until=newest,
    ).to_pylist()[0]
    return Alert(found["state"], *(_utc(found[k]) for k in ("active_at", "fired_at", "kept_since")))


def _utc(value: datetime | None) -> datetime | None:
    return value.astimezone(UTC) if value else None
