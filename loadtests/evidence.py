"""What only a running stack can tell: which traces reached MLflow, and one request looked up everywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from collectors.fetching import Unanswered
from collectors.store.duckdb import DuckReader
from collectors.store.lookup import find_requests
from loadtests import delivery
from loadtests.following import Followed, followed
from loadtests.records import Record
from loadtests.staging.parts import Place


@dataclass(frozen=True, slots=True)
class Evidence:
    """`traces` are the ids that MLflow holds; `lacking` says why something could not be had."""

    traces: frozenset[str] = frozenset()
    followed: Followed | None = None
    lacking: str | None = None


def gathered(place: Place, since: datetime, sent: Sequence[Record], quiet: Collection[str]) -> Evidence:
    """All of it; `quiet` are the phases in which nothing was wrong. What fails is told, never raised."""
    reader = DuckReader(str(place.store))

    def stored() -> set[str]:
        sql = "SELECT trace_id FROM {requests} WHERE trace_id IS NOT NULL"
        rows = reader.query(sql, since=since, until=datetime.now(UTC)).to_pylist()
        return {row["trace_id"].hex() for row in rows}

    try:
        traces = delivery.arrived(place.url("mlflow"), since, stored)
        return Evidence(traces, _followed(reader, place, usual([r for r in sent if r.phase in quiet])))
    except (Unanswered, OSError, subprocess.SubprocessError) as error:
        return Evidence(lacking=str(error))


def usual(sent: Sequence[Record]) -> Record | None:
    """The answered request of median length; None where none was answered."""
    answered = sorted((r for r in sent if not r.failed and r.ttft_ms is not None), key=lambda r: r.e2e_ms)
    return answered[len(answered) // 2] if answered else None


def _followed(reader: DuckReader, place: Place, record: Record | None) -> Followed | None:
    rows = find_requests(reader, record.request_id) if record else []
    if not rows or rows[0].trace_id is None:
        return None
    spans = delivery.spans(place.url("mlflow"), rows[0].trace_id)
    return followed(rows[0], place.root / "logs" / "gateway.log", spans, place.store)
