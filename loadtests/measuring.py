"""Reads back what a drill left: the generator's records, and the tables that the collector filled."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from collectors.episodes import episodes
from collectors.judging import Book
from collectors.replay import timeline
from collectors.store.duckdb import DuckReader
from collectors.store.incidents import incidents
from loadtests import keeping, records
from loadtests.certificate import Measured
from loadtests.conduct import Outcome
from loadtests.scenario import Drill
from loadtests.staging.parts import Place
from loadtests.validity import Driven, checks

AFTER = timedelta(seconds=60)  # rows and judgements that belong to a drill but came after its last phase
PACKAGES = ("mangaops", "mlflow", "locust", "duckdb", "deltalake")


def measured(drill: Drill, outcome: Outcome, place: Place, book: Book) -> Measured:
    """Everything that a certificate is reached from. Raises StoreError."""
    reader = DuckReader(str(place.store))
    since, until = outcome.happened[0].began, outcome.happened[-1].ended + AFTER
    sent = records.read(outcome.load)
    queue, stored, out_of_memory = _rows(reader, since, until)
    dropped, own = _dropped(reader, since, until), place.engine_url is None
    judged = [
        *checks(
            drill.limits, outcome.happened, sent, _driven(outcome.summary), _scrapes(reader, since, until)
        ),
        *keeping.checks(sent, stored, dropped, outcome.evidence, own_engine=own),
    ]
    found = episodes(timeline(reader, book, since - timedelta(seconds=1), until))
    return Measured(
        happened=outcome.happened,
        records=sent,
        episodes=found,
        queue_ms=queue,
        checks=judged,
        out_of_memory=out_of_memory,
        own_engine=own,
        followed=outcome.evidence.followed,
        incidents=incidents(reader, since, until),
    )


def provenance(text: str, book: Book, place: Place, engine: Mapping[str, Any]) -> dict[str, Any]:
    """What ran: versions, machine, and a fingerprint of drill, rules and the gateway's configuration."""
    digest = sha256(text.encode() + book.digest.encode() + place.gateway_config.read_bytes()).hexdigest()[:16]
    return {
        "configuration": digest,
        "engine": dict(engine),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def engine_facts(url: str) -> dict[str, Any]:
    """What the engine says of itself; empty where it says nothing."""
    try:
        answer = httpx.get(f"{url}/version", timeout=5)
        return {"version": answer.json().get("version")} if answer.is_success else {}
    except (httpx.HTTPError, ValueError):
        return {}


def _driven(summary: Mapping[str, Any]) -> Driven:
    # not requests: how many a session sends in its time depends on how fast it is answered
    sessions = summary["sessions"]
    return Driven(sessions["planned"], sessions["offered"], summary["generator_cpu_share"])


def _rows(
    reader: DuckReader, since: datetime, until: datetime
) -> tuple[dict[str, float], dict[str, str | None], int]:
    """(queue wait in ms by request id, trace id by request id, requests that ran out of memory)."""
    sql = "SELECT request_id, trace_id, queue_ms, oom_caught FROM {requests}"
    rows = reader.query(sql, since=since, until=until).to_pylist()
    queue = {r["request_id"]: float(r["queue_ms"]) for r in rows if r["queue_ms"] is not None}
    traces = {r["request_id"]: r["trace_id"].hex() if r["trace_id"] else None for r in rows}
    return queue, traces, sum(bool(r["oom_caught"]) for r in rows)


def _dropped(reader: DuckReader, since: datetime, until: datetime) -> int:
    """Spans that the collector gave up to hand on to MLflow."""
    sql = "SELECT sum(value) AS n FROM {metrics} WHERE metric = 'forward_spans' AND label = 'dropped'"
    return int(reader.query(sql, since=since, until=until).to_pylist()[0]["n"] or 0)


def _scrapes(reader: DuckReader, since: datetime, until: datetime) -> list[datetime]:
    sql = 'SELECT "at" FROM {metrics} WHERE metric = \'up\' AND value = 1 ORDER BY "at"'
    return [row["at"].astimezone(UTC) for row in reader.query(sql, since=since, until=until).to_pylist()]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
