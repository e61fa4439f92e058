"""Where a request's time went: the stage with the largest excess leads, or it is said why none does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.diagnose.stages import (
    ENOUGH_PEERS,
    STAGES,
    Peers,
    PeerTimes,
    StageShare,
    leading,
    sentence,
    split,
)
from collectors.model import RequestFact

# gateway, frontend, queue, prefill, decode: what the peers usually take
USUAL_MS, RARE_MS = (20.0, 5.0, 1.0, 60.0, 900.0), (40.0, 9.0, 4.0, 90.0, 1200.0)


def request(*stages_ms: float | None, **more: Any) -> RequestFact:
    """One with these stages; their sum is its time."""
    parts: dict[str, Any] = {f"{s}_ms": ms for s, ms in zip(STAGES, stages_ms, strict=True)}
    whole = {"e2e_ms": sum(ms or 0.0 for ms in stages_ms), "ttft_ms": 120.0, "http_status": 200}
    return RequestFact(datetime(2026, 11, 1, tzinfo=UTC), "r1", "gateway", **{**parts, **whole, **more})


def peers(count: int = 1234) -> Peers:
    times = {s: PeerTimes(*t) for s, t in zip(STAGES, zip(USUAL_MS, RARE_MS, strict=True), strict=True)}
    return Peers("adapter manga*", count, times)


def explained(asked: RequestFact, alike: Peers) -> tuple[StageShare | None, str]:
    shares = split(asked, alike)
    return leading(asked, shares, alike), sentence(asked, shares, alike, "")


def check(asked: RequestFact, alike: Peers, leader: str | None, text: str) -> None:
    lead, said = explained(asked, alike)
    assert (lead.stage if lead else None) == leader
    assert said == text


NOTHING = dict.fromkeys(("e2e_ms", "ttft_ms"))
TOOK = "Request r1 took 1,986 ms (first token after 120 ms)"
QUEUED = f"{TOOK}: 1,001 ms of it in queue (waiting in the engine for a place)"
UNKNOWN = "Request r1 took an unknown time (first token after an unknown time)"
QUICK = "Request r1 took 0.350 ms (first token after 0.250 ms)"
CASES: dict[str, tuple[RequestFact, Peers, str | None, str]] = {
    "the stage with the largest excess leads": (
        request(20, 5, 1001, 60, 900),
        peers(),
        "queue",
        f"{QUEUED}, where its 1,234 peers spend 1 ms (median).",
    ),
    "not the longest stage, but the one beyond its peers": (
        request(20, 5, 1, 860, 1100),
        peers(),
        "prefill",
        f"{TOOK}: 860 ms of it in prefill (reading the prompt), where its 1,234 peers spend 60 ms (median).",
    ),
    "what is within the peers' P95 leads nothing": (
        request(40, 9, 4, 90, 1200, e2e_ms=1986.0),
        peers(),
        None,
        f"{TOOK}; no stage stands out against its 1,234 peers.",
    ),
    "a fifth of the request's time is an explanation": (
        request(20, 5, 402, 60, 900, e2e_ms=2000.0),
        peers(),
        "queue",
        QUEUED.replace("1,986", "2,000").replace("1,001", "402")
        + ", where its 1,234 peers spend 1 ms (median).",
    ),
    "less than a fifth explains nothing": (
        request(20, 5, 397, 60, 900, e2e_ms=1986.0),
        peers(),
        None,
        f"{TOOK}; no stage stands out against its 1,234 peers.",
    ),
    "too few peers support no claim": (
        request(20, 5, 1001, 60, 900),
        peers(ENOUGH_PEERS - 1),
        None,
        f"{TOOK}, 1,001 ms of it in queue; only 19 peers, too few to compare.",
    ),
    "a single peer is no peers": (
        request(20, 5, 1001, 60, 900),
        peers(1),
        None,
        f"{TOOK}, 1,001 ms of it in queue; only 1 peer, too few to compare.",
    ),
    "just enough peers do": (
        request(20, 5, 1001, 60, 900),
        peers(ENOUGH_PEERS),
        "queue",
        f"{QUEUED}, where its 20 peers spend 1 ms (median).",
    ),
    "a request without a span has unknown stages": (
        request(None, None, None, None, None, e2e_ms=1986.0),
        peers(),
        None,
        f"{TOOK}; its stages are unknown, because no engine span was received for it.",
    ),
    "a stage that is not known leads nothing, the others may": (
        request(None, None, 1001, 60, 900, e2e_ms=1986.0),
        peers(),
        "queue",
        f"{QUEUED}, where its 1,234 peers spend 1 ms (median).",
    ),
    "a failed request is no slow one": (
        request(20, 5, 1001, 60, 900, http_status=400, error_kind="context_overflow"),
        peers(),
        "queue",
        "Request r1 failed with HTTP 400 (context_overflow) after 1,986 ms.",
    ),
    "a failure of no kind that is known": (
        request(20, 5, 1001, 60, 900, http_status=500),
        peers(),
        "queue",
        "Request r1 failed with HTTP 500 after 1,986 ms.",
    ),
    "times that nobody told are unknown": (
        request(None, None, 1, 60, 900, **NOTHING),
        peers(3),
        None,
        f"{UNKNOWN}, 900 ms of it in decode; only 3 peers, too few to compare.",
    ),
    "below a millisecond digits matter": (
        request(0.0, 0.0, 0.25, 0.0, 0.1, ttft_ms=0.25),
        peers(0),
        None,
        f"{QUICK}, 0.250 ms of it in queue; only 0 peers, too few to compare.",
    ),
}


@pytest.mark.parametrize(("asked", "alike", "leader", "text"), CASES.values(), ids=CASES)
def test_a_request_is_explained(asked: RequestFact, alike: Peers, leader: str | None, text: str) -> None:
    check(asked, alike, leader, text)


def test_stages_stand_in_the_order_in_which_they_happen_with_their_excess() -> None:
    shares = split(request(20, 5, None, 160, 800), peers())
    assert [s.stage for s in shares] == ["gateway", "frontend", "queue", "prefill", "decode"]
    assert [s.excess_ms for s in shares] == [0.0, 0.0, None, 100.0, -100.0]
    assert shares[3] == StageShare("prefill", 160, 60.0, 90.0, 100.0)


def test_peers_that_lack_a_stage_give_it_no_excess() -> None:
    shares = split(request(20, 5, 1001, 60, 900), Peers("", 100, {}))
    assert [(s.peer_p50_ms, s.excess_ms) for s in shares] == [(None, None)] * 5
    assert leading(request(20, 5, 1001, 60, 900), shares, Peers("", 100, {})) is None


Ms = st.none() | st.floats(min_value=0, max_value=1e6)


@given(st.tuples(Ms, Ms, Ms, Ms, Ms), st.integers(min_value=0, max_value=50))
def test_what_leads_is_beyond_its_peers_and_a_good_part_of_the_whole(
    stages_ms: tuple[float | None, ...], count: int
) -> None:
    asked, alike = request(*stages_ms), peers(count)
    lead, said = explained(asked, alike)
    assert said.endswith(".")
    assert "None" not in said
    if lead is not None:
        assert count >= ENOUGH_PEERS
        assert lead.ms is not None
        assert lead.peer_p95_ms is not None
        assert lead.ms > lead.peer_p95_ms
        assert lead.excess_ms == max(s.excess_ms for s in split(asked, alike) if s.excess_ms is not None)
