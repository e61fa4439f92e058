"""A past that Prometheus remembers, put into the store: chunk by chunk, and never what is there already.

Facts only. What was judged then stays as it was seen; readings, charts and SLOs of that time have their
facts from now on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from collectors.model import Batch
from collectors.signals.configuration import replica_of
from collectors.sources.prometheus.asking import Server
from collectors.sources.prometheus.polling import (
    LEAD,
    Choice,
    PrometheusState,
    members,
    pieces,
    read,
)
from collectors.sources.prometheus.stepping import SOURCE
from collectors.store.delta import DeltaWriter
from collectors.store.dialect import AT
from collectors.store.reader import Reader

# A scrape that was missed for longer is a gap, so no interval of a fact reaches further.
LONGEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the back-fill is: facts stored so far, and those left out because the time is covered."""

    until: datetime
    stored: int
    covered: int


@dataclass(frozen=True, slots=True)
class _Held:
    """Times that the store covers already: scrapes of ours by replica, and spans of other sources."""

    ours: frozenset[tuple[str, datetime]] = frozenset()
    others: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)

    def covers(self, replica: str, at: datetime, interval: timedelta) -> bool:
        """Whether what happened in the interval before an instant is in the store."""
        if (replica, at) in self.ours:
            return True
        spans = self.others.get(replica, [])
        after = bisect_left(
            spans, at, key=lambda span: span[1]
        )  # the first that ends at the instant or later
        before = spans[after - 1][1] if after else None
        return (before is not None and before > at - interval) or (
            after < len(spans) and spans[after][0] < at
        )


def backfill(
    server: Server, choice: Choice, reader: Reader, writer: DeltaWriter, since: datetime, until: datetime
) -> Iterator[Progress]:
    """Store the scrapes of (since, until]; doing it again stores nothing. Raises Unanswered and StoreError.

    A scrape whose interval another source covers is left out, for its increments are counted there.
    """
    state = PrometheusState(members=members(server, since - LEAD, until))
    state, _ = read(state, server, choice, since - LEAD, since)
    stored = covered = 0
    for start, end in pieces(since, until):
        state, batch = read(state, server, choice, start, end)
        kept = _uncovered(batch, _held(reader, start, end))
        for table, facts in (("metrics", kept.metrics), ("events", kept.events)):
            if facts:
                writer.append(table, facts)
        stored, covered = stored + len(kept.metrics), covered + len(batch.metrics) - len(kept.metrics)
        yield Progress(end, stored, covered)


def _uncovered(batch: Batch, held: _Held) -> Batch:
    intervals = {
        (f.replica, f.at): timedelta(seconds=f.interval_s or 0.0) for f in batch.metrics if f.metric == "up"
    }
    new = {key for key, interval in intervals.items() if not held.covers(*key, interval)}
    return Batch(
        tuple(f for f in batch.metrics if (f.replica, f.at) in new),
        events=tuple(e for e in batch.events if (replica_of(e) or e.subject, e.at) in new),
    )


def _held(reader: Reader, since: datetime, until: datetime) -> _Held:
    """What the store has of the range; a scrape soon after it may count what happened in it."""
    d = reader.dialect
    rows = reader.query(
        f"SELECT source, replica, {AT} AS scraped, interval_s FROM {{metrics}} WHERE metric = 'up' "  # noqa: S608
        f"AND {AT} > {d.instant(since - LONGEST)} AND {AT} <= {d.instant(until + LONGEST)} ORDER BY {AT}",
        since=since - LONGEST,
        until=until + LONGEST,
    ).to_pylist()
    ours, others = set[tuple[str, datetime]](), dict[str, list[tuple[datetime, datetime]]]()
    for row in rows:
        at = row["scraped"].astimezone(UTC)
        if row["source"] == SOURCE:
            ours.add((row["replica"], at))
        else:
            begin = at - timedelta(seconds=row["interval_s"] or 0.0)
            others.setdefault(row["replica"], []).append((begin, at))
    return _Held(frozenset(ours), others)
