"""Single requests are found by any of their ids, and compared with those that are like them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.diagnose.stages import PeerTimes
from collectors.model import EventFact, Kind, MetricFact, RequestFact
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.lookup import MAX_FOUND, events_before, find_requests, peers, scrape_interval
from tests.store.test_windows import NAMES

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRACE = "0af7651916cd43dd8448eb211c80319c"
STAGES: dict[str, Any] = {
    "gateway_ms": 1.0,
    "frontend_ms": 2.0,
    "queue_ms": 3.0,
    "prefill_ms": 4.0,
    "decode_ms": 5.0,
}
ASKED = RequestFact(
    T,
    "asked",
    "gateway",
    adapter="manga_domain_v4",
    prompt_tokens=1190,
    output_tokens=200,
    http_status=200,
    **STAGES,
)


def request(number: int, **more: Any) -> RequestFact:
    """One that is like the one asked about, but for what is said."""
    return replace(ASKED, request_id=f"r{number}", at=T + timedelta(seconds=number), **more)


def reader_of(root: Path, requests: list[RequestFact]) -> DuckReader:
    DeltaWriter(str(root)).append("requests", requests)
    return DuckReader(str(root))


# ------------------------------------------------------------------------------------------ finding
FOUND = {
    "by its request id": ("r1", ["r1"]),
    "by its request id, with spaces around it": ("  r1\n", ["r1"]),
    "by its trace id": (TRACE, ["r2"]),
    "by its trace id in upper case": (TRACE.upper(), ["r2"]),
    "all of a session, newest first": ("s7", ["r5", "r4", "r3"]),
    "by a request id that looks like a trace id": ("f" * 32, ["f" * 32]),
    "none by an unknown id": ("nobody", []),
    "none by an unknown trace id": ("0" * 32, []),
    "none by a part of an id": ("r", []),
    "none by nothing": ("", []),
}


@pytest.mark.parametrize(("wanted", "expected"), FOUND.values(), ids=FOUND)
def test_a_request_is_found(wanted: str, expected: list[str], store_root: Path) -> None:
    sessions = [request(k, session_id="s7") for k in (3, 4, 5)]
    odd = replace(request(6), request_id="f" * 32)
    reader = reader_of(store_root, [request(1), request(2, trace_id=TRACE), *sessions, odd])
    assert [r.request_id for r in find_requests(reader, wanted)] == expected


def test_a_request_comes_back_whole(store_root: Path) -> None:
    stored = request(1, trace_id=TRACE, session_id="s", oom_caught=False, turn=3)
    assert find_requests(reader_of(store_root, [stored]), "r1") == [stored]


@pytest.mark.parametrize("name", NAMES)
def test_no_id_can_leave_its_quotes(name: str, store_root: Path) -> None:
    stored = [request(1), replace(request(2), request_id=name), request(3, session_id=name, adapter=name)]
    reader = reader_of(store_root, stored)
    assert find_requests(reader, name) == ([stored[1]] if name.strip() == name else [])
    assert peers(reader, stored[2]).count == 0


def test_a_long_session_is_shown_from_its_newest(store_root: Path) -> None:
    reader = reader_of(store_root, [request(k, session_id="s") for k in range(MAX_FOUND + 5)])
    found = find_requests(reader, "s")
    assert (len(found), found[0].request_id) == (MAX_FOUND, f"r{MAX_FOUND + 4}")


def test_in_an_empty_store_nothing_is_found(store_root: Path) -> None:
    reader = DuckReader(str(store_root))
    assert find_requests(reader, "r1") == []
    assert peers(reader, ASKED).times["queue"] == PeerTimes(None, None)
    assert scrape_interval(reader, T) is None


# -------------------------------------------------------------------------------------------- peers
ALIKE: dict[str, tuple[dict[str, Any], bool]] = {
    "another like it": ({}, True),
    "another version of its adapter": ({"adapter": "manga_domain_v3"}, True),
    "its adapter without a version": ({"adapter": "manga_domain"}, True),
    "an adapter whose name begins the same": ({"adapter": "manga_domain_anime_v1"}, False),
    "another adapter": ({"adapter": "manga_base_v1"}, False),
    "no adapter": ({"adapter": None}, False),
    "the shortest prompt of its bucket": ({"prompt_tokens": 1024}, True),
    "the longest prompt of its bucket": ({"prompt_tokens": 2047}, True),
    "a shorter prompt": ({"prompt_tokens": 1023}, False),
    "a longer prompt": ({"prompt_tokens": 2048}, False),
    "a shorter answer": ({"output_tokens": 127}, False),
    "an answer of unknown length": ({"output_tokens": None}, False),
    "a failed one": ({"http_status": 400}, False),
    "one without stages": (dict.fromkeys(STAGES), False),
    "one with some stages": ({"gateway_ms": None}, True),
    "half an hour before": ({"at": T - 30 * MINUTE + timedelta(seconds=1)}, True),
    "more than half an hour before": ({"at": T - 30 * MINUTE}, False),
    "half an hour after": ({"at": T + 30 * MINUTE}, True),
}


@pytest.mark.parametrize(("changed", "counts"), ALIKE.values(), ids=ALIKE)
def test_a_peer_is_like_it(changed: dict[str, Any], counts: bool, store_root: Path) -> None:
    other = replace(request(1), **changed)
    assert peers(reader_of(store_root, [ASKED, other]), ASKED).count == counts


def test_peers_know_the_usual_time_of_each_stage(store_root: Path) -> None:
    reader = reader_of(store_root, [ASKED, *(request(k, queue_ms=float(k)) for k in range(1, 22))])
    found = peers(reader, ASKED)
    assert (found.count, found.enough) == (21, True)
    assert found.times["queue"] == PeerTimes(11.0, 20.0)
    assert found.times["decode"] == PeerTimes(5.0, 5.0)
    assert found.description == (
        "adapter manga_domain*, 1,024 to 2,047 prompt tokens, 128 to 255 output tokens, within 30 minutes"
    )


@pytest.mark.parametrize(
    ("asked", "other", "counts"),
    [
        pytest.param({"output_tokens": 0}, {"output_tokens": 0}, True, id="no token is a length"),
        pytest.param(
            {"output_tokens": 0}, {"output_tokens": 1}, False, id="no token and one are different lengths"
        ),
        pytest.param(
            {"output_tokens": None}, {"output_tokens": 7}, True, id="an unknown length rules nobody out"
        ),
        pytest.param({"adapter": None}, {"adapter": "a_v1"}, True, id="an unknown adapter rules nobody out"),
        pytest.param(
            {"adapter": "v4"}, {"adapter": "v3"}, True, id="names that are only versions are one family"
        ),
        pytest.param({"adapter": "v4"}, {"adapter": "v40_x"}, False, id="and no beginning of another name"),
    ],
)
def test_what_is_not_known_is_not_compared(
    asked: dict[str, Any], other: dict[str, Any], counts: bool, store_root: Path
) -> None:
    wanted = replace(ASKED, **asked)
    assert peers(reader_of(store_root, [wanted, request(1, **other)]), wanted).count == counts


# -------------------------------------------------------------------------------------------- around
def test_the_scrape_interval_is_the_usual_one_around_an_instant(store_root: Path) -> None:
    intervals = [5.0, 5.0, 5.1, 65.0, None]
    facts = [
        MetricFact(
            T + timedelta(seconds=k), "engine", "r1", "requests_running", Kind.GAUGE, 1.0, interval_s=s
        )
        for k, s in enumerate(intervals)
    ]
    DeltaWriter(str(store_root)).append("metrics", facts)
    assert scrape_interval(DuckReader(str(store_root)), T) == timedelta(seconds=5.05)
    assert scrape_interval(DuckReader(str(store_root)), T + 5 * MINUTE) is None


def test_events_before_are_those_of_the_span_and_the_kinds_newest_first(store_root: Path) -> None:
    ago = {"at": 0, "late": -1, "early": 14, "just out": 15}
    facts = [EventFact(T - m * MINUTE, "first_seen", name, "gateway") for name, m in ago.items()]
    DeltaWriter(str(store_root)).append(
        "events", [*facts, replace(facts[0], kind="problem", subject="other")]
    )
    found = events_before(DuckReader(str(store_root)), ASKED, 15 * MINUTE, ("first_seen", "engine_restart"))
    assert [e.subject for e in found] == ["at", "early"]
