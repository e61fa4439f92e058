"""Facts of a span as the columns that a diagnosis computes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from collectors.diagnose.columns import (
    ENGINE_NUMBERS,
    REQUEST_NUMBERS,
    REQUEST_WORDS,
    Requests,
    Scrapes,
    requests_of,
    scrapes_of,
)
from collectors.model import EventFact
from collectors.store.dialect import AT
from collectors.store.reader import Reader
from collectors.store.tables import TABLES, facts

# How the series of one replica are put together: the fullest cache, the sum of everything else.
_LARGEST = frozenset({"up", "kv_usage_ratio", "adapters_waiting", "adapter_slots", "process_start_s"})
_SCRAPE = "interval_s"


def requests_between(reader: Reader, after: datetime, upto: datetime) -> Requests:
    """Requests that ended in (after, upto]. Raises StoreError."""
    names = (*REQUEST_NUMBERS, *REQUEST_WORDS)
    found = reader.query(
        f"SELECT {_seconds(reader)}, {', '.join(names)} FROM {{requests}} WHERE {_span(reader, after, upto)}",
        since=after,
        until=upto,
    )
    return requests_of(_arrays(found, REQUEST_WORDS))


def scrapes_between(reader: Reader, after: datetime, upto: datetime) -> Mapping[str, Scrapes]:
    """Each replica's scrapes in (after, upto]; what other sources tell of a replica is left out."""
    sums = ", ".join(f"{_aggregate(n)} AS {n}" for n in ENGINE_NUMBERS if n != _SCRAPE)
    found = reader.query(
        f"SELECT replica, {_seconds(reader)}, max(interval_s) AS {_SCRAPE}, {sums} FROM {{metrics}} "
        f"WHERE {_span(reader, after, upto)} GROUP BY replica, {AT} "
        "HAVING max(CASE WHEN metric = 'up' THEN 1 END) IS NOT NULL",
        since=after,
        until=upto,
    )
    columns = _arrays(found, ("replica",))
    own = columns.pop("replica")
    return {
        str(name): scrapes_of({n: c[own == name] for n, c in columns.items()}) for name in sorted(set(own))
    }


def events_between(reader: Reader, after: datetime, upto: datetime, kinds: Sequence[str]) -> list[EventFact]:
    """Events of these kinds in (after, upto], oldest first. Raises StoreError."""
    listed = ", ".join(map(reader.dialect.literal, kinds))
    found = reader.query(
        f"SELECT * FROM {{events}} WHERE kind IN ({listed}) AND {_span(reader, after, upto)} ORDER BY {AT}",
        since=after,
        until=upto,
    )
    return facts(TABLES["events"], found)


def _aggregate(name: str) -> str:
    how = "max" if name in _LARGEST else "sum"
    return f"{how}(CASE WHEN metric = '{name}' THEN value END)"


def _seconds(reader: Reader) -> str:
    return f"{reader.dialect.epoch_us.format(AT)} / 1e6 AS seconds"


def _span(reader: Reader, after: datetime, upto: datetime) -> str:
    d = reader.dialect
    return f"{AT} > {d.instant(after)} AND {AT} <= {d.instant(upto)}"


def _arrays(found: pa.Table, words: Sequence[str]) -> dict[str, Any]:
    columns = {
        name: np.array(found[name].to_pylist(), dtype=object)
        if name in words
        else found[name].cast(pa.float64()).to_numpy()
        for name in found.column_names
    }
    columns["at"] = columns.pop("seconds")
    return columns
