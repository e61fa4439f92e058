"""The ends of the store: its first and newest facts, and how it was judged last."""

from __future__ import annotations

from datetime import UTC, datetime

from collectors.store.dialect import AT
from collectors.store.reader import Reader


def first_fact(reader: Reader) -> datetime | None:
    """The oldest instant of any engine or request fact; None in an empty store. Raises StoreError."""
    return _extreme(reader, "min")


def newest_fact(reader: Reader) -> datetime | None:
    """The newest instant of any engine or request fact; None in an empty store. Raises StoreError."""
    return _extreme(reader, "max")


def newest_scrapes(reader: Reader, source: str, since: datetime) -> dict[str, datetime]:
    """By replica: the newest scrape of this source after an instant. Raises StoreError."""
    d = reader.dialect
    rows = reader.query(
        f"SELECT replica, max({AT}) AS newest FROM {{metrics}} WHERE metric = 'up' "
        f"AND source = {d.literal(source)} AND {AT} > {d.instant(since)} GROUP BY replica",
        since=since,
    ).to_pylist()
    return {row["replica"]: row["newest"].astimezone(UTC) for row in rows}


def latest_clock_scale(reader: Reader, at: datetime) -> float | None:
    """The clock scale of the newest judgement up to an instant; None without any. Raises StoreError."""
    d = reader.dialect
    newest = d.latest.format("clock_scale", AT)
    rows = reader.query(
        f"SELECT {newest} AS scale FROM {{judgements}} WHERE {AT} <= {d.instant(at)}",
        until=at,
    ).to_pylist()
    return rows[0]["scale"] if rows else None


def _extreme(reader: Reader, which: str) -> datetime | None:
    found = [
        reader.query(f"SELECT {which}({AT}) AS t FROM {{{table}}}").to_pylist()[0]["t"]
        for table in ("metrics", "requests")
    ]
    known = [t.astimezone(UTC) for t in found if t is not None]
    pick = min if which == "min" else max
    return pick(known, default=None)


def newest_of_each(
    reader: Reader, kind: str, since: datetime | None = None, until: datetime | None = None
) -> list[str]:
    """What the newest event of a kind says (`after`) of each subject. Raises StoreError."""
    d = reader.dialect
    newest = d.latest.format('"after"', AT)
    sql = f"SELECT subject, {newest} AS told FROM {{events}} WHERE kind = {d.literal(kind)} GROUP BY subject"
    return [row["told"] for row in reader.query(sql, since=since, until=until).to_pylist()]
