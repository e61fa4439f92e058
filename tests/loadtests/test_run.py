"""Whole runs: real locust processes against a real server that does what servers do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtests.plan import parse
from loadtests.run import start
from loadtests.sent import Sent, sent
from loadtests.traffic import sessions
from tests.loadtests.server import WAYS, Served, Server, serving

pytestmark = pytest.mark.slow  # locust alone takes seconds to start

# Ten times faster than real: 6 s, about 150 requests.
PLAN: dict[str, Any] = {
    "seed": 7,
    "time_scale": 10,
    "expected": {"ttft_s": 0.02, "token_s": 0},
    "limits": {"silence_s": 2, "request_s": 4, "drain_s": 5},
    "phases": [
        {"name": "first", "seconds": 40, "sessions_per_s": 5},
        {"name": "second", "seconds": 20, "sessions_per_s": 5},
    ],
}


@dataclass(frozen=True)
class Ran:
    """What a run left behind, and what its server saw."""

    records: list[Sent]
    served: dict[str, Served]
    summary: dict[str, Any]
    code: int
    out: Path


def launched(out: Path, url: str, workers: int = 1, **more: Any) -> subprocess.Popen[bytes]:
    file = out.with_suffix(".yaml")
    file.write_text(json.dumps({**PLAN, **more}), encoding="utf-8")
    return start(file, url, out, workers)


def ended(process: subprocess.Popen[bytes], out: Path, server: Server) -> Ran:
    code = process.wait(60)
    assert code == 0, [each.read_text() for each in out.glob("*.log")]
    served = {each.body["request_id"]: each for each in server.served}
    assert len(served) == len(server.served)
    return Ran(list(sent(out)), served, json.loads((out / "summary.json").read_text()), code, out)


# ------------------------------------------------------------------------------ one run of all ways
@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Every other request is answered well, the others in all the ways a server can fail."""
    out = tmp_path_factory.mktemp("run") / "out"
    others = [way for way in WAYS if way != "good"]
    with serving(Server(lambda _, n: others[n // 2 % len(others)] if n % 2 else "good")) as server:
        yield ended(launched(out, server.url), out, server)


def test_every_request_the_server_saw_has_one_line(ran: Ran) -> None:
    assert len(ran.records) > 100
    assert sorted(r.request_id for r in ran.records) == sorted(ran.served)


def of_way(ran: Ran, *ways: str) -> list[Sent]:
    found = [r for r in ran.records if ran.served[r.request_id].way in ways]
    assert found, f"no request was answered the way of {ways}"
    return found


@pytest.mark.parametrize("way", ["good", "crlf", "in_pieces"])
def test_a_whole_answer_is_read_to_the_byte(ran: Ran, way: str) -> None:
    for record in of_way(ran, way):
        served = ran.served[record.request_id]
        assert (record.error, record.status, record.finish_reason) == (None, 200, "length")
        assert record.answer_sha256 == served.sha256
        assert record.answer_characters == len(served.answer)
        assert (record.prompt_tokens, record.cached_tokens) == (900, 640)
        assert record.output_tokens == record.chunks == 12
        assert (record.adapter, record.prompt_version) == ("jp_style_v1", "v42")
        assert record.answered_request_id == record.request_id


@pytest.mark.parametrize(
    ("way", "kind", "status"),
    [
        pytest.param("no_done", "no_done", 200, id="an end without [DONE]"),
        pytest.param("killed", "broken", 200, id="a stream reset in the middle"),
        pytest.param("closed_early", "broken", 200, id="a stream closed in the middle of a line"),
        pytest.param("error_event", "stream_error", 200, id="an error as an event"),
        pytest.param("bad_utf8", "bad_utf8", 200, id="half a character"),
        pytest.param("bad_json", "bad_json", 200, id="an event of another shape"),
        pytest.param("endless_line", "too_long", 200, id="a line without an end"),
        pytest.param("silent", "timeout", 200, id="a server that falls silent"),
        pytest.param("throttled", "http_429", 429, id="too many requests"),
        pytest.param("failing", "http_500", 500, id="a server error"),
        pytest.param("endless_refusal", "too_long", 503, id="a refusal without an end"),
        pytest.param("refused", "connection", None, id="a connection closed without a word"),
    ],
)
def test_a_failure_is_one_and_says_which(ran: Ran, way: str, kind: str, status: int | None) -> None:
    for record in of_way(ran, way):
        assert (record.error_kind, record.status) == (kind, status)
        assert record.error


def test_what_a_broken_stream_had_said_is_kept(ran: Ran) -> None:
    for record in of_way(ran, "killed"):
        assert record.chunks > 0
        assert record.ttft_ms is not None
        assert record.answer_sha256 == ran.served[record.request_id].sha256


def test_retry_after_is_kept(ran: Ran) -> None:
    assert {r.retry_after_s for r in of_way(ran, "throttled")} == {3.0}


def test_latency_counts_from_the_intended_instant(ran: Ran) -> None:
    for r in ran.records:
        assert r.sent_at >= r.intended_at
        assert r.schedule_lag_ms == pytest.approx((r.sent_at - r.intended_at) * 1000, abs=0.01)
        assert r.e2e_ms == pytest.approx((r.ended_at - r.intended_at) * 1000, abs=0.01)
        assert r.e2e_ms == pytest.approx(r.schedule_lag_ms + r.e2e_from_send_ms, abs=0.01)
        if r.first_token_at is not None and r.ttft_ms is not None:
            assert r.ttft_ms == pytest.approx((r.first_token_at - r.intended_at) * 1000, abs=0.01)


def test_turns_of_a_session_wait_for_each_other(ran: Ran) -> None:
    thinking = {
        turn.request_id: turn.think_s
        for session in sessions(parse(json.dumps(PLAN)))
        for turn in session.turns
    }
    by_session: dict[str, list[Sent]] = {}
    for record in ran.records:
        by_session.setdefault(record.session_id, []).append(record)
    later = 0
    for turns in by_session.values():
        turns.sort(key=lambda r: r.turn)
        for before, after in pairwise(turns):
            assert after.turn == before.turn + 1
            assert after.intended_at - before.ended_at == pytest.approx(thinking[after.request_id], abs=0.001)
            later += 1
    assert later > 50


def test_the_bodies_are_the_plan_s(ran: Ran) -> None:
    from loadtests.traffic import body

    plan = parse(json.dumps(PLAN))
    made = {turn.request_id: (s, turn) for s in sessions(plan) for turn in s.turns}
    for request_id, served in ran.served.items():
        assert served.body == body(plan, *made[request_id])


def test_each_request_carries_the_phase_of_its_instant(ran: Ran) -> None:
    began = json.loads((ran.out / "start.json").read_text())["start_at"]
    for record in ran.records:
        assert record.phase == ("first" if record.intended_at - began < 4 else "second")


def test_the_summary_counts_what_the_lines_say(ran: Ran) -> None:
    summary = ran.summary
    assert summary["whole"]
    assert summary["requests"]["offered"] == len(ran.records)
    assert summary["requests"]["failed"] == sum(r.error is not None for r in ran.records)
    assert summary["errors"] == Counter(r.error_kind for r in ran.records if r.error_kind)
    assert summary["sessions"]["planned"] == summary["sessions"]["offered"]
    assert summary["requests"]["planned"] == pytest.approx(len(ran.records), rel=0.3)
    assert summary["schedule_lag_ms"]["max"] == max(r.schedule_lag_ms for r in ran.records)
    assert 0 < summary["generator_cpu_share"] < 1
    assert sum(phase["offered"] for phase in summary["phases"]) == len(ran.records)


# ------------------------------------------------------------------------------------- other runs
@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, int]:
    """First token after a second, stream for another: how it is read, and how many the server had at once."""
    out = tmp_path_factory.mktemp("slow") / "out"
    phases = [{"name": "a", "seconds": 4, "sessions_per_s": 20}]
    server = Server(lambda *_: "good", first_token_s=1.0, token_s=0.25, most_tokens=4)
    with serving(server):
        process = launched(out, server.url, time_scale=1, run_in_s=0, phases=phases)
        return ended(process, out, server), server.most_open


def test_a_slow_server_gets_no_less_traffic(slow: tuple[Ran, int]) -> None:
    """Sessions begin when they should although nothing is answered before: an open loop."""
    ran, most_open = slow
    assert ran.summary["sessions"] == {"planned": len(ran.records), "offered": len(ran.records)}
    assert ran.summary["schedule_lag_ms"]["p50"] < 500
    assert most_open > 20


def test_a_first_token_is_seen_when_it_comes_and_not_with_the_last(slow: tuple[Ran, int]) -> None:
    """Bounds as wide as a busy machine needs: how exact it is, the benchmark tells."""
    ran, _ = slow
    errors_ms = []
    for r in ran.records:
        served = ran.served[r.request_id]
        assert served.first_token_at is not None
        assert r.ttft_from_send_ms is not None
        errors_ms.append(abs(r.ttft_from_send_ms - (served.first_token_at - served.received_at) * 1000))
        assert r.e2e_ms > r.ttft_ms  # type: ignore[operator]
    assert sorted(errors_ms)[len(errors_ms) // 2] < 300


def test_a_full_house_shows_as_latency(tmp_path: Path) -> None:
    """With four slots for about forty requests at once, they wait, and say for how long."""
    few: dict[str, Any] = {
        "limits": {"in_flight": 4, "drain_s": 5},
        "run_in_s": 0,
        "time_scale": 1,
        "phases": [{"name": "a", "seconds": 3, "sessions_per_s": 20}],
    }
    with serving(Server(lambda *_: "good", first_token_s=0.5)) as server:
        full = ended(launched(tmp_path / "full", server.url, **few), tmp_path / "full", server)
    assert server.most_open == 4
    waited = [r for r in full.records if r.pool_wait_ms > 100]
    assert len(waited) > len(full.records) / 2
    for r in waited:
        assert r.ttft_ms is None or r.ttft_ms > r.pool_wait_ms
        assert r.schedule_lag_ms == pytest.approx(r.pool_wait_ms, abs=100)


def test_workers_share_the_sessions(tmp_path: Path) -> None:
    brief = [{"name": "a", "seconds": 30, "sessions_per_s": 5}]
    with serving(Server(lambda *_: "good")) as server:
        process = launched(tmp_path / "two", server.url, workers=2, phases=brief)
        two = ended(process, tmp_path / "two", server)
    assert {r.worker for r in two.records} == {0, 1}
    assert {r.request_id for r in two.records} == set(two.served)
    owners: dict[str, set[int]] = {}
    for r in two.records:
        owners.setdefault(r.session_id, set()).add(r.worker)
    assert all(len(each) == 1 for each in owners.values())
    assert two.summary["workers"] == 2
    assert two.summary["sessions"]["planned"] == two.summary["sessions"]["offered"]


def test_a_stopped_run_leaves_a_line_for_every_request(tmp_path: Path) -> None:
    endless: dict[str, Any] = {
        "time_scale": 1,
        "phases": [{"name": "a", "seconds": 600, "sessions_per_s": 5}],
    }
    out = tmp_path / "stopped"
    with serving(Server(lambda *_: "good", first_token_s=1.0)) as server:
        process = launched(out, server.url, **endless)
        until = time.monotonic() + 30
        while len(server.served) < 20 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        stopped = ended(process, out, server)
    assert time.monotonic() - asked < 5
    assert len({r.request_id for r in stopped.records}) == len(stopped.records)
    assert {r.request_id for r in stopped.records} >= set(stopped.served)
    unseen = [r for r in stopped.records if r.request_id not in stopped.served]
    assert all((r.error_kind, r.status) == ("stopped", None) for r in unseen)  # they were connecting
    kinds = Counter(r.error_kind for r in stopped.records)
    assert kinds["stopped"] > 0
    assert set(kinds) <= {None, "stopped"}
    assert not stopped.summary["whole"]
    assert stopped.summary["until_s"] < 20
    assert stopped.summary["requests"]["planned"] < 300


def test_a_server_that_is_not_there_is_a_failure_of_every_request(tmp_path: Path) -> None:
    short: dict[str, Any] = {"phases": [{"name": "a", "seconds": 20, "sessions_per_s": 5}]}
    with serving(Server(lambda *_: "good")) as server:
        pass
    process = launched(tmp_path / "none", server.url, **short)
    assert process.wait(60) == 0
    found = list(sent(tmp_path / "none"))
    assert {(r.error_kind, r.status) for r in found} == {("connection", None)}
    assert all("refused" in str(r.error).lower() for r in found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--plan", "nowhere.yaml"], "nowhere.yaml: cannot be read", id="no such plan"),
        pytest.param(["--host", "localhost:80"], "--host: 'localhost:80' is no URL", id="no URL"),
        pytest.param(["--workers", "0"], "--workers: 0 is not between", id="nobody to do it"),
        pytest.param(["--out", "used"], "used holds an earlier run", id="a folder that is taken"),
    ],
)
def test_wrong_input_is_refused_before_anything_starts(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "plan.yaml").write_text(json.dumps(PLAN), encoding="utf-8")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "requests.jsonl").touch()
    given = {"--plan": "plan.yaml", "--host": "http://127.0.0.1:9", "--out": "out", words[0]: words[1]}
    for path in ("--plan", "--out"):
        given[path] = str(tmp_path / given[path])
    command = [sys.executable, "-m", "loadtests.run", *(word for pair in given.items() for word in pair)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, said in ran.stderr) == (2, True), ran.stderr
