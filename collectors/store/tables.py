"""The four tables: their schemas, and how facts become rows. The one place that knows column types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from collectors.model import Bucket, EventFact, Judgement, MetricFact, RequestFact

AT = pa.timestamp("us", tz="UTC")
BUCKETS = pa.list_(pa.struct([("low", pa.float64()), ("high", pa.float64()), ("count", pa.float64())]))

METRICS = pa.schema(
    [
        ("day", pa.date32()),
        ("at", AT),
        ("source", pa.string()),
        ("replica", pa.string()),
        ("model", pa.string()),
        ("engine", pa.string()),
        ("metric", pa.string()),
        ("label", pa.string()),
        ("kind", pa.string()),
        ("interval_s", pa.float64()),
        ("value", pa.float64()),
        ("sum", pa.float64()),
        ("buckets", BUCKETS),
    ]
)

REQUESTS = pa.schema(
    [
        ("day", pa.date32()),
        ("at", AT),
        ("request_id", pa.string()),
        ("trace_id", pa.binary()),  # 16 bytes: half of the text, and Delta has no UUID type
        ("source", pa.string()),
        ("session_id", pa.string()),
        ("turn", pa.int32()),
        ("replica", pa.string()),
        ("variant", pa.string()),
        ("model", pa.string()),
        ("adapter", pa.string()),
        ("backend_version", pa.string()),
        ("prompt_version", pa.string()),
        ("intent", pa.string()),
        ("locale", pa.string()),
        ("http_status", pa.int32()),
        ("error_kind", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("cached_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("budget_trimmed", pa.bool_()),
        ("oom_caught", pa.bool_()),
        ("frontend_ms", pa.float64()),
        ("gateway_ms", pa.float64()),
        ("queue_ms", pa.float64()),
        ("prefill_ms", pa.float64()),
        ("decode_ms", pa.float64()),
        ("ttft_ms", pa.float64()),
        ("e2e_ms", pa.float64()),
        ("prefix_fingerprint", pa.string()),
    ]
)

EVENTS = pa.schema(
    [
        ("day", pa.date32()),
        ("at", AT),
        ("kind", pa.string()),
        ("subject", pa.string()),
        ("source", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
    ]
)

JUDGEMENTS = pa.schema(
    [
        ("day", pa.date32()),
        ("at", AT),
        ("subject", pa.string()),
        ("name", pa.string()),
        ("component", pa.string()),
        ("state", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("count", pa.float64()),
        ("threshold", pa.float64()),
        ("missing", pa.string()),
        ("active_at", AT),
        ("fired_at", AT),
        ("kept_since", AT),
        ("clock_scale", pa.float64()),
        ("settings", pa.string()),
    ]
)

Fact = MetricFact | RequestFact | EventFact | Judgement


@dataclass(frozen=True, slots=True)
class Table:
    """One Delta table. `sought` columns get Parquet bloom filters: they are looked up by value."""

    name: str
    schema: pa.Schema
    fact: type
    sought: tuple[str, ...] = ()


TABLES: Mapping[str, Table] = {
    t.name: t
    for t in (
        Table("metrics", METRICS, MetricFact),
        Table("requests", REQUESTS, RequestFact, ("request_id", "trace_id", "session_id")),
        Table("events", EVENTS, EventFact),
        Table("judgements", JUDGEMENTS, Judgement),
    )
}


def rows(table: Table, facts: Sequence[Any]) -> pa.Table:
    """Facts as an Arrow table of the table's schema; `day` is the UTC day of `at`."""
    columns: dict[str, Iterable[Any]] = {"day": [f.at.astimezone(UTC).date() for f in facts]}
    for field in fields(table.fact):
        convert = _CONVERT.get(field.name)
        values = [getattr(f, field.name) for f in facts]
        columns[field.name] = values if convert is None else [convert(v) for v in values]
    return pa.table(columns, schema=table.schema)


def _trace_bytes(text: str | None) -> bytes | None:
    return bytes.fromhex(text) if text else None


def _bucket_dicts(buckets: Any) -> list[dict[str, float]] | None:
    return None if buckets is None else [b._asdict() for b in buckets]


_CONVERT: Mapping[str, Callable[[Any], Any]] = {"trace_id": _trace_bytes, "buckets": _bucket_dicts}


def facts(table: Table, found: pa.Table) -> list[Any]:
    """The way back: rows read from the store as the table's facts."""
    names = [f.name for f in fields(table.fact)]
    return [table.fact(**{n: _BACK.get(n, _same)(row[n]) for n in names}) for row in found.to_pylist()]


def _same(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _trace_hex(value: bytes | None) -> str | None:
    return value.hex() if value else None


def _buckets_back(value: list[dict[str, float]] | None) -> tuple[Bucket, ...] | None:
    return None if value is None else tuple(Bucket(**b) for b in value)


_BACK: Mapping[str, Callable[[Any], Any]] = {"trace_id": _trace_hex, "buckets": _buckets_back}
