"""The ends of the store: its first and newest facts, and how it was judged last."""

from __future__ import annotations

from datetime import UTC, datetime

from collectors.store.series import Reader
from collectors.store.sql import AT


def first_fact(reader: Reader) -> datetime | None:
    """The oldest instant of any engine or request fact; None in an empty store. Raises StoreError."""
    return _extreme(reader, "min")


def newest_fact(reader: Reader) -> datetime | None:
    """The newest instant of any engine or request fact; None in an empty store. Raises StoreError."""
    return _extreme(reader, "max")


def latest_clock_scale(reader: Reader, at: datetime) -> float | None:
    """The clock scale of the newest judgement up to an instant; None where nothing was judged. Raises StoreError."""
    d = reader.dialect
    rows = reader.query(
        f"SELECT {d.latest.format('clock_scale', AT)} AS scale FROM {{judgements}} WHERE {AT} <= {d.instant(at)}",  # noqa: S608
        until=at,
    ).to_pylist()
    return rows[0]["scale"] if rows else None


def _extreme(reader: Reader, which: str) -> datetime | None:
    found = [
        reader.query(f"SELECT {which}({AT}) AS t FROM {{{table}}}").to_pylist()[0]["t"]  # noqa: S608
        for table in ("metrics", "requests")
    ]
    known = [t.astimezone(UTC) for t in found if t is not None]
    pick = min if which == "min" else max
    return pick(known, default=None)
