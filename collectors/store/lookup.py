"""Single requests and their peers, looked up in the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from collectors.diagnose.stages import STAGES, Peers, PeerTimes
from collectors.model import EventFact, RequestFact
from collectors.signals.changes import family
from collectors.store.dialect import AT, Dialect
from collectors.store.reader import Reader
from collectors.store.tables import TABLES, facts

_TRACE = re.compile(r"(?:tr-)?([0-9a-f]{32})")  # MLflow puts tr- before it
PEER_SPAN = timedelta(minutes=30)
MAX_FOUND = 200  # a session of more turns is shown from its newest


def find_requests(reader: Reader, wanted: str) -> list[RequestFact]:
    """Requests whose request, trace or session id this is, newest first; none found is an empty list.

    Each id has a bloom filter, so a look-up reads the one file that holds it. Raises StoreError.
    """
    text = wanted.strip()
    if trace := _TRACE.fullmatch(text.lower()):
        found = _where(reader, f"trace_id = {reader.dialect.blob.format(trace[1])}")
        if found:
            return found
    for column in ("request_id", "session_id"):
        found = _where(reader, f"{column} = {reader.dialect.literal(text)}")
        if found:
            return found
    return []


def peers(
    reader: Reader, request: RequestFact, apart: Sequence[tuple[datetime, datetime | None]] = ()
) -> Peers:
    """Its peers' times, stage by stage. Raises StoreError.

    Those of `apart` (spans in which something was wrong) are left out, if enough remain: a request that is
    slow with all others is slow.
    """
    if apart:
        healthy = _peers(reader, request, apart)
        if healthy.enough:
            return healthy
    return _peers(reader, request, ())


def _peers(reader: Reader, request: RequestFact, apart: Sequence[tuple[datetime, datetime | None]]) -> Peers:
    since, until = request.at - PEER_SPAN, request.at + PEER_SPAN
    d = reader.dialect
    conditions = [
        "http_status < 400",
        f"request_id <> {d.literal(request.request_id)}",
        # one whose engine span never came is nobody to compare with
        f"coalesce({', '.join(f'{s}_ms' for s in STAGES)}) IS NOT NULL",
        *_alike(reader, request, since, until),
        *(_outside(d, began, ended) for began, ended in apart),
    ]
    cached = f"{d.quantiles('cached_tokens', [0.5])} AS cached"
    columns = ", ".join(f"{d.quantiles(f'{s}_ms', [0.5, 0.95])} AS {s}" for s in STAGES)
    row = reader.query(
        f"SELECT count(*) AS n, {cached}, {columns} FROM {{requests}} WHERE {' AND '.join(conditions)}",
        since=since,
        until=until,
    ).to_pylist()[0]
    where = _description(request) + (", outside incidents" if apart else "")
    usual = row["cached"][0] if row["cached"] else None
    return Peers(where, row["n"], {s: _times(row[s]) for s in STAGES}, usual)


def _outside(d: Dialect, began: datetime, ended: datetime | None) -> str:
    after = f" OR {AT} > {d.instant(ended)}" if ended else ""
    return f"({AT} < {d.instant(began)}{after})"


def events_before(
    reader: Reader, request: RequestFact, span: timedelta, kinds: tuple[str, ...]
) -> list[EventFact]:
    """Events of these kinds in the span before the request's end, newest first. Raises StoreError."""
    d, since = reader.dialect, request.at - span
    listed = ", ".join(d.literal(k) for k in kinds)
    found = reader.query(
        f"SELECT * FROM {{events}} WHERE kind IN ({listed}) AND {AT} > {d.instant(since)} "
        f"AND {AT} <= {d.instant(request.at)} ORDER BY {AT} DESC LIMIT 20",
        since=since,
        until=request.at,
    )
    return facts(TABLES["events"], found)


def scrape_interval(reader: Reader, at: datetime) -> timedelta | None:
    """How often engines were scraped around an instant; None where they were not. Raises StoreError."""
    d, since, until = reader.dialect, at - timedelta(minutes=1), at + timedelta(minutes=1)
    found = reader.query(
        f"SELECT {d.quantiles('interval_s', [0.5])} AS s FROM {{metrics}} WHERE metric = 'requests_running'",
        since=since,
        until=until,
    ).to_pylist()[0]["s"]
    return timedelta(seconds=found[0]) if found else None


def _where(reader: Reader, condition: str) -> list[RequestFact]:
    sql = f"SELECT * FROM {{requests}} WHERE {condition} ORDER BY {AT} DESC LIMIT {MAX_FOUND}"
    return facts(TABLES["requests"], reader.query(sql))


def _alike(reader: Reader, request: RequestFact, since: datetime, until: datetime) -> list[str]:
    d, found = reader.dialect, []
    if request.adapter is not None:
        kin = ", ".join(d.literal(name) for name in _kin(reader, request.adapter, since, until))
        found.append(f"adapter IN ({kin})")
    for column, tokens in _lengths(request):
        low, high = _bucket(tokens)
        found.append(f"{column} >= {low} AND {column} < {high}")
    return found


def _kin(reader: Reader, adapter: str, since: datetime, until: datetime) -> list[str]:
    """The adapter and all others of its family; a name that only begins like it is of another."""
    sql = "SELECT DISTINCT adapter FROM {requests} WHERE adapter IS NOT NULL"
    named = {row["adapter"] for row in reader.query(sql, since=since, until=until).to_pylist()}
    return sorted({adapter, *(name for name in named if family(name) == family(adapter))})


def _lengths(request: RequestFact) -> list[tuple[str, int]]:
    both = (("prompt_tokens", request.prompt_tokens), ("output_tokens", request.output_tokens))
    return [(column, tokens) for column, tokens in both if tokens is not None]


def _bucket(tokens: int) -> tuple[int, int]:
    """The power-of-two bucket that holds a length: [1024, 2048) for 1,190 tokens; 0 is one of its own."""
    low = 1 << (tokens.bit_length() - 1) if tokens > 0 else 0
    return low, max(low * 2, 1)


def _description(request: RequestFact) -> str:
    parts = [f"adapter {family(request.adapter) or 'v'}*"] if request.adapter else []
    for column, tokens in _lengths(request):
        low, high = _bucket(tokens)
        parts.append(f"{low:,} to {high - 1:,} {column.replace('_', ' ')}")
    return ", ".join([*parts, "within 30 minutes"])


def _times(found: Any) -> PeerTimes:
    return PeerTimes(*(found or (None, None)))
