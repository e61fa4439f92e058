"""What happens when something breaks: the client, the engine before or amid an answer, the load."""

from __future__ import annotations

import concurrent.futures
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from loadtests.staging.standin import Manner
from tests.loadtests.gateway.running import Running, eventually, question

Start = Callable[..., Running]


def hang_up(gateway: Running, body: dict[str, Any], after: bytes | None) -> None:
    """Send a request, wait for these bytes of its answer, and close the connection."""
    content = json.dumps(body).encode()
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        read = b""
        while after is not None and after not in read:
            read += connection.recv(4096)
        if after is None:
            eventually(lambda: gateway.metric("mangaassist_inference_active") or None)


@pytest.mark.parametrize(
    ("stream", "after"),
    [
        pytest.param(True, "漫画".encode(), id="in the middle of a stream"),
        pytest.param(True, None, id="before the first token"),
        pytest.param(False, None, id="while the whole answer is made"),
    ],
)
def test_a_client_that_hangs_up_stops_the_engine(start: Start, stream: bool, after: bytes | None) -> None:
    gateway = start(manner=Manner(first_ms=300, token_ms=100), warm_up={"enabled": False})
    hang_up(gateway, question("Hello", request_id="gone", stream=stream, max_tokens=80), after)
    row = gateway.row("gone")
    assert (row["status"], row["error_kind"]) == (499, "client_closed")
    assert (row["ttft_ms"] is not None) is (after is not None)
    trace = gateway.trace(row["trace_id"])
    assert trace["orchestrator"][0].attributes["http.response.status_code"] == 499
    assert all(span.failed for spans in trace.values() for span in spans)
    assert gateway.metric("mangaassist_inference_active") == 0
    eventually(lambda: gateway.seen()["running"] == 0 or None)
    assert gateway.seen()["finished"] == 0


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        pytest.param("die_after=3", "connection_lost", id="its connection breaks"),
        pytest.param("error_after=3", "server_error", id="it says so"),
    ],
)
def test_an_engine_that_dies_in_a_stream_ends_it_with_an_error_and_without_done(
    gateway: Running, order: str, kind: str
) -> None:
    rid = f"dies-{kind}"
    events = gateway.stream(f"Hello [standin {order} token_ms=20]", request_id=rid, max_tokens=9)
    texts = [e["choices"][0]["delta"].get("content") for e in events[:-1]]
    assert texts == ["", *["漫画 "] * 3]
    assert set(events[-1]["error"]) == {"message", "type", "param", "code"}
    row = gateway.row(rid)
    assert (row["status"], row["error_kind"]) == (502, kind)
    trace = gateway.trace(row["trace_id"])
    assert all(span.failed for spans in trace.values() for span in spans)
    assert trace["orchestrator"][0].attributes["mangaassist.error_kind"] == kind


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_is_not_there_is_a_clear_error(start: Start, free_port: int, stream: bool) -> None:
    gateway = start(engine=f"http://127.0.0.1:{free_port}", warm_up={"enabled": False})
    answer = gateway.ask(stream=stream, request_id="nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_unavailable")
    assert str(free_port) in answer.json()["error"]["message"]
    assert gateway.row("nobody")["error_kind"] == "connection_lost"


def test_an_engines_refusal_is_handed_on(gateway: Running) -> None:
    answer = gateway.ask("Hello [standin status=400]", request_id="refused")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "engine_refused")
    assert gateway.row("refused")["error_kind"] == "client_error"


def test_a_silent_engine_times_out(start: Start) -> None:
    gateway = start()
    gateway.configure(engine={"silence": "300ms"})
    answer = gateway.ask("Hello [standin first_ms=3000]", stream=True, request_id="silent")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "engine_timeout")
    assert gateway.row("silent")["error_kind"] == "timeout"


CONVERSATION = [
    {"role": role, "content": f"Turn {n}: " + "I like quiet stories about travel. " * 8}
    for n in range(6)
    for role in ("user", "assistant")
]


def test_out_of_memory_is_tried_again_with_less(gateway: Running) -> None:
    prompt = len(gateway.seen()["requests"][0]["body"]["messages"][0]["content"])
    order = f"[standin oom_above={prompt + 2600}]"
    messages = [*CONVERSATION, {"role": "user", "content": f"What is next? {order}"}]
    answer = gateway.ask(messages=messages, request_id="oom")
    assert answer.status_code == 200, answer.text
    row = gateway.row("oom")
    assert (row["oom_caught"], row["budget_trimmed"], row["attempts"]) == (True, True, 2)
    assert row["error_kind"] is None
    clients = gateway.trace(row["trace_id"])["generation_client"]
    assert [(s.attributes["mangaassist.attempt"], s.failed) for s in clients] == [(1, True), (2, False)]
    assert gateway.metric("mangaassist_inference_oom_caught_total") == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("order", "oom", "attempts"),
    [
        pytest.param("oom_above=1", True, 3, id="memory ran out twice"),
        pytest.param("status=503", False, 2, id="the engine is overloaded"),
    ],
)
def test_the_fallback_takes_over(start: Start, stream: bool, order: str, oom: bool, attempts: int) -> None:
    gateway = start(spare=True)
    gateway.configure(fallback={"kind": "openai", "model": "spare"})
    answer = gateway.ask(f"Hello [standin {order}]", stream=stream, request_id="spare")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-adapter-id"] == "spare"
    row = gateway.row("spare")
    assert len(gateway.seen(gateway.spare)["requests"]) == 1
    assert gateway.seen(gateway.spare)["requests"][0]["body"]["model"] == "spare"
    assert (row["variant"], row["oom_caught"], row["attempts"]) == ("fallback", oom, attempts)
    assert (row["adapter"], row["status"]) == ("spare", 200)


def test_beyond_admission_is_429_with_retry_after(start: Start) -> None:
    gateway = start(manner=Manner(first_ms=600))
    gateway.configure(admission={"concurrent": 1, "queued": 1, "wait": "5s"})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(gateway.ask, request_id=f"crowd-{n}") for n in range(4)]
        answers = [each.result() for each in asked]
    statuses = sorted(a.status_code for a in answers)
    assert statuses == [200, 200, 429, 429]
    turned_away = next(a for a in answers if a.status_code == 429)
    assert int(turned_away.headers["retry-after"]) >= 1
    assert turned_away.json()["error"]["type"] == "rate_limit_error"
    rows = [gateway.row(f"crowd-{n}") for n in range(4)]
    assert sorted(r["error_kind"] or "" for r in rows) == ["", "", "rejected", "rejected"]
    assert max(r["queue_wait_ms"] or 0 for r in rows) > 300
    assert gateway.metric("mangaassist_inference_waiting") == 0


def test_too_many_a_second_are_told_when_to_come_back(start: Start) -> None:
    gateway = start()
    gateway.configure(admission={"rate_per_s": 0.2, "burst": 1})
    assert [gateway.ask().status_code for _ in range(2)] == [200, 429]
    assert int(gateway.ask().headers["retry-after"]) in range(3, 6)


def test_a_drill_turns_a_share_away(start: Start) -> None:
    gateway = start()
    gateway.configure(faults={"reject_share": 0.5})
    statuses = [gateway.ask(request_id=f"n-{n}").status_code for n in range(40)]
    assert 10 <= statuses.count(429) <= 30
    assert set(statuses) == {200, 429}
