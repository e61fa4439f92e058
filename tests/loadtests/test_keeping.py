"""Was everything kept: rows, traces, and one request looked up wherever it was written down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collectors.model import RequestFact
from collectors.signals.traces import Span
from collectors.store.delta import DeltaWriter
from loadtests import delivery, keeping
from loadtests.evidence import Evidence, gathered, usual
from loadtests.following import Followed, Sighting, followed
from loadtests.staging.parts import PORTS, Place
from tests.loadtests.test_drill import record
from tests.servers import free_port

ENDED = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROW = RequestFact(
    at=ENDED,
    request_id="req-1",
    source="otlp",
    trace_id=TRACE,
    frontend_ms=12.0,
    gateway_ms=3.0,
    queue_ms=5.0,
    prefill_ms=80.0,
    decode_ms=400.0,
    ttft_ms=100.0,
    e2e_ms=500.0,
    http_status=200,
)
NAMES = ("orchestrator", "generation_client", "vllm_gateway", "llm_request")
SPANS = tuple(
    Span(
        TRACE,
        f"{depth:016x}",
        f"{depth - 1:016x}" if depth else None,
        name,
        ENDED - timedelta(milliseconds=500 - depth),
        ENDED - timedelta(milliseconds=depth),
        {"mangaassist.request_id": "req-1", "mangaassist.ttft_ms": 100.4} if depth == 0 else {},
    )
    for depth, name in enumerate(NAMES)
)
SIGHTINGS = (Sighting("gateway's log", 100.0, 500.0), Sighting("request row", 101.0, 504.5))
FOLLOWED = Followed("req-1", TRACE, NAMES, SIGHTINGS)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    DeltaWriter(str(tmp_path / "store")).append("requests", [ROW])
    return tmp_path / "store"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    lines = [
        "INFO: a server's banner",
        json.dumps({"event": "request", "request_id": "req-0", "ttft_ms": 1.0, "e2e_ms": 2.0}),
        json.dumps({"event": "request", "request_id": "req-1", "ttft_ms": 99.8, "e2e_ms": 499.0}),
        '{"event": "request", "request_id": "req-1", "ttft',  # the last line may be half
    ]
    (tmp_path / "gateway.log").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "gateway.log"


# ------------------------------------------------------------------------------- one request
def test_a_request_is_found_in_the_log_its_row_its_trace_and_by_the_command(store: Path, log: Path) -> None:
    found = followed(ROW, log, SPANS[::-1], store)
    assert found.spans == NAMES
    assert found.sightings == (
        Sighting("gateway's log", 99.8, 499.0),
        Sighting("request row", 100.0, 500.0),
        Sighting("MLflow trace", 100.4, 500.0),
        Sighting("mangaops explain", 100.0, 500.0),
    )
    assert found.spread_ms == pytest.approx(1.0)


def test_a_request_that_a_place_does_not_know_is_told_as_such(store: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text("", encoding="utf-8")
    found = followed(replace(ROW, request_id="req-2"), tmp_path / "gateway.log", (), store)
    untold = {s.where for s in found.sightings if s.e2e_ms is None}
    assert untold == {"gateway's log", "MLflow trace", "mangaops explain"}
    assert found.spread_ms is None


def test_the_request_that_is_followed_is_an_answered_one_of_median_length() -> None:
    sent = [record(1, e2e_ms=9.0), record(2, e2e_ms=1.0), record(3, e2e_ms=5.0), record(4, error="timeout")]
    assert usual(sent) == sent[2]
    assert usual(sent[3:]) is None


# ------------------------------------------------------------------------------------ checks
def held(dropped: int = 0, e: Evidence | None = None, *, own: bool = True) -> dict[str, bool]:
    sent = [record(1, request_id="req-1"), record(2, request_id="req-2", status=None, error="refused")]
    evidence = e or Evidence(frozenset({TRACE}), FOLLOWED)
    checks = keeping.checks(sent, {"req-1": TRACE}, dropped, evidence, own_engine=own)
    return {c.name.split(",")[0]: c.held for c in checks}


def test_all_is_kept_where_every_answered_request_is_everywhere() -> None:
    assert set(held().values()) == {True}


@pytest.mark.parametrize(("dropped", "kept"), [(0, False), (1, True)])
def test_a_trace_that_is_missing_has_to_be_counted_as_dropped(dropped: int, kept: bool) -> None:
    assert held(dropped, Evidence(frozenset(), FOLLOWED))["traces in MLflow"] is kept


@pytest.mark.parametrize(
    "wrong",
    [
        Followed("req-1", TRACE, NAMES, (*SIGHTINGS, Sighting("MLflow trace", 100.0, 506.0))),
        Followed("req-1", TRACE, NAMES, (*SIGHTINGS, Sighting("MLflow trace", None, 500.0))),
        Followed("req-1", TRACE, NAMES[:3], SIGHTINGS),
        None,
    ],
)
def test_numbers_that_differ_or_are_missing_make_a_drill_invalid(wrong: Followed | None) -> None:
    assert not held(e=Evidence(frozenset({TRACE}), wrong))["one request"]


def test_an_engine_that_the_drill_did_not_start_may_send_no_span() -> None:
    without = Evidence(frozenset({TRACE}), replace(FOLLOWED, spans=NAMES[:3]))
    assert held(e=without, own=False)["one request"]


def test_an_mlflow_that_is_away_is_told_and_nothing_counts_as_kept(store: Path) -> None:
    place = Place(store.parent, {**PORTS, "mlflow": free_port()})
    found = gathered(place, ENDED, [record(1, request_id="req-1")], {"control"})
    assert found.lacking
    assert held(e=found) == {"request rows stored": True, "traces in MLflow": False, "one request": False}


# ---------------------------------------------------------------------------------- in MLflow
@pytest.fixture
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ARRIVE_S", 2.0)
    monkeypatch.setattr(delivery, "LOOK_S", 0.2)


@pytest.mark.usefixtures("_short_wait")
def test_a_trace_that_never_arrives_is_waited_for_and_left_out(mlflow_url: str) -> None:
    looks = []

    def wanted() -> set[str]:
        looks.append(1)
        return {TRACE}

    since = datetime.now(UTC) + timedelta(hours=1)
    assert delivery.arrived(mlflow_url, since, wanted) == frozenset()
    assert len(looks) > 2
    assert delivery.spans(mlflow_url, TRACE) == ()
