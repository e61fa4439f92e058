"""Reading a real MLflow: every request is one row, the same that its spans make where they are received."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from collectors.fetching import FetchLimits
from collectors.model import Batch, RequestFact
from collectors.signals import fingerprints
from collectors.signals.traces import Span, request_row
from collectors.sources.mlflow.asking import PAGE, Server
from collectors.sources.mlflow.joining import JOIN, SOURCE
from collectors.sources.mlflow.polling import EVERY, GIVE_UP, SETTLE, MlflowState, poll, resumed
from collectors.sources.otlp.listening import listen
from collectors.sources.otlp.receiving import Destination, receiving
from collectors.sources.otlp.written import Written
from tests.sources import contract
from tests.sources.contract import SICK, Case, Subject, closed_port, says, serving
from tests.test_collecting import lived, rows, settings
from tests.traces import MS, apart, experiment, exported, send, trace

NOW = datetime.now(UTC).replace(microsecond=123_000)
ENDED = NOW - 2 * SETTLE


@pytest.fixture
def server(mlflow_url: str) -> Server:
    return Server(mlflow_url, experiment(mlflow_url))


def polled(server: Server, state: MlflowState, *nows: datetime) -> tuple[MlflowState, Batch]:
    """The outcome of polls at these instants."""

    async def all_of_them() -> tuple[MlflowState, Batch]:
        last, batch = state, Batch()
        async with httpx.AsyncClient(trust_env=False) as client:
            for now in nows:
                last, more = await poll(last, server, client, now)
                batch += more
        return last, batch

    return asyncio.run(all_of_them())


def check(found: Batch, wanted: Collection[list[Span]]) -> None:
    """One row a request, as its spans tell it, and no problem."""
    assert not found.problems
    assert Counter(found.requests) == Counter(filter(None, (request_row(spans, SOURCE) for spans in wanted)))


def test_every_trace_is_the_row_that_its_spans_make(server: Server) -> None:
    requests = [trace(ENDED - k * 100 * MS) for k in range(5)]
    failed = trace(ENDED, about={"http.response.status_code": 429, "mangaassist.error_kind": "rejected"})[:1]
    requests.append([replace(failed[0], failed=True, message="too many requests")])
    send(server.url, server.experiment, [span for spans in requests for span in spans])
    _, found = polled(server, MlflowState(), NOW, NOW + EVERY)
    check(found, requests)
    assert len(found.requests) == 6
    assert all(r.decode_ms is not None and r.trace_id for r in found.requests if r.http_status == 200)


def test_a_prompt_that_lies_in_mlflow_is_read_as_its_fingerprint(server: Server) -> None:
    rules = "Never invent a title.\n" * 20
    prompt = {"messages": [{"role": "system", "content": rules}, {"role": "user", "content": "秘密"}]}
    root, *others = trace(ENDED)
    bare = {name: value for name, value in root.attributes.items() if name != fingerprints.DIGEST}
    asked = replace(root, attributes={**bare, "mlflow.spanInputs": json.dumps(prompt)})
    send(server.url, server.experiment, [asked, *others])
    _, found = polled(server, MlflowState(), NOW, NOW + EVERY)
    assert fingerprints.read(found.requests[0].prefix_fingerprint) == fingerprints.fingerprint(rules)
    assert "秘密" not in repr(found)


def test_received_here_and_read_from_mlflow_it_is_the_same_row(server: Server) -> None:
    """One run: the spans come to our receiver, which forwards them to MLflow, which we read."""
    ended = datetime.now(UTC) - 2 * SETTLE
    requests = [trace(ended - k * 100 * MS) for k in range(4)]
    requests.append(trace(ended, about={"mangaassist.request_id": "20261121", "session.id": "077"}))
    here, there = asyncio.run(both(server, [span for spans in requests for span in spans], len(requests)))
    assert here
    assert Counter(replace(row, source=SOURCE) for row in here) == Counter(there)


async def both(server: Server, spans: list[Span], count: int) -> tuple[list[RequestFact], list[RequestFact]]:
    """The rows of our receiver, and those read from the MLflow to which it forwards."""
    here, there, state = list[RequestFact](), list[RequestFact](), MlflowState()
    listener = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
    headers, ends = {"Content-Type": "application/x-protobuf"}, time.monotonic() + 60
    to = Destination(server.url, server.experiment)
    async with (
        receiving(listener, lambda: datetime.now(UTC), Written(), to=to) as receiver,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        sent = await client.post(address, content=exported(spans).SerializeToString(), headers=headers)
        assert sent.status_code == 200
        while min(len(here), len(there)) < count and time.monotonic() < ends:
            here += (await receiver.poll(datetime.now(UTC))).requests
            state, batch = await poll(state, server, client, datetime.now(UTC))
            there += batch.requests
            await asyncio.sleep(0.2)
    return here, there


def test_what_is_no_request_makes_no_row(server: Server) -> None:
    loading = Span("ab" * 16, "cd" * 8, None, "Load weights", ENDED - MS, ENDED, {})
    send(server.url, server.experiment, [loading])
    check(polled(server, MlflowState(), NOW, NOW + EVERY)[1], [])


def test_where_the_traceparent_was_lost_the_request_id_joins(server: Server) -> None:
    spans = apart(trace(ENDED))
    send(server.url, server.experiment, spans[3:])
    state, early = polled(server, MlflowState(), NOW)
    check(early, [])
    send(server.url, server.experiment, spans[:3])
    _, found = polled(server, state, NOW + EVERY, NOW + EVERY + 2 * JOIN)
    check(found, [spans])
    assert found.requests[0].queue_ms is not None


def test_an_engine_that_speaks_too_late_makes_no_second_row(server: Server) -> None:
    spans = apart(trace(ENDED))
    send(server.url, server.experiment, spans[:3])
    state, found = polled(server, MlflowState(), NOW)
    check(found, [spans[:3]])
    send(server.url, server.experiment, spans[3:])
    for known in (state, resumed(found.requests, NOW + EVERY)):
        check(polled(server, known, NOW + EVERY, NOW + 3 * JOIN)[1], [])


def test_an_engine_that_nobody_speaks_for_tells_what_it_knows(server: Server) -> None:
    alone = apart(trace(ENDED))[3:]
    send(server.url, server.experiment, alone)
    state, early = polled(server, MlflowState(), NOW, NOW + EVERY)
    check(early, [])
    check(polled(server, state, NOW + 2 * JOIN, NOW + 3 * JOIN)[1], [alone])


def test_a_root_that_comes_late_is_waited_for(server: Server) -> None:
    spans = trace(ENDED)
    send(server.url, server.experiment, spans[1:])
    state, early = polled(server, MlflowState(), NOW, NOW + EVERY, NOW + 20 * EVERY)
    check(early, [])
    send(server.url, server.experiment, spans[:1])
    check(polled(server, state, NOW + 25 * EVERY, NOW + 26 * EVERY)[1], [spans])


def test_a_root_that_never_comes_is_given_up(server: Server) -> None:
    spans = trace(ENDED)[1:]
    send(server.url, server.experiment, spans)
    later = NOW + GIVE_UP + EVERY
    _, found = polled(server, MlflowState(), NOW, later, later + 2 * JOIN)
    check(found, [spans])


def test_spans_of_a_trace_that_has_just_ended_are_waited_for(server: Server) -> None:
    spans = trace(NOW - MS)
    send(server.url, server.experiment, spans[:3])
    state, early = polled(server, MlflowState(), NOW)
    check(early, [])
    send(server.url, server.experiment, spans[3:])
    check(polled(server, state, NOW + SETTLE)[1], [spans])


def test_a_clock_of_theirs_that_is_ahead_does_not_matter(server: Server) -> None:
    spans = trace(NOW + timedelta(minutes=3))
    send(server.url, server.experiment, spans)
    check(polled(server, MlflowState(), NOW, NOW + SETTLE)[1], [spans])


def test_after_a_restart_nothing_is_missing_and_nothing_twice(server: Server) -> None:
    before, after = [trace(ENDED) for _ in range(3)], trace(ENDED + MS)
    send(server.url, server.experiment, [span for spans in before for span in spans])
    _, found = polled(server, MlflowState(), NOW, NOW + EVERY)
    check(found, before)
    send(server.url, server.experiment, after)
    check(polled(server, resumed(found.requests, NOW + EVERY), NOW + EVERY)[1], [after])


def test_more_traces_than_a_page_holds(server: Server) -> None:
    roots = [trace(ENDED - k * MS)[:1] for k in range(PAGE + 40)]
    send(server.url, server.experiment, [span for spans in roots for span in spans])
    _, found = polled(server, MlflowState(), NOW, NOW + EVERY, NOW + 2 * EVERY)
    check(found, roots)


def test_traces_too_large_for_one_answer_are_asked_for_in_parts(server: Server) -> None:
    requests = [
        trace(ENDED - k * MS, about={"mlflow.spanOutputs": json.dumps("x" * 20_000)}) for k in range(8)
    ]
    send(server.url, server.experiment, [span for spans in requests for span in spans])
    tight = replace(server, limits=FetchLimits(max_body_bytes=100_000))
    check(polled(tight, MlflowState(), NOW, NOW + EVERY)[1], requests)


def test_what_senders_held_back_during_an_outage_is_found(server: Server) -> None:
    dead = replace(server, url=f"http://127.0.0.1:{closed_port()}")
    state, _ = polled(server, MlflowState(), NOW)
    late = trace(NOW + EVERY)
    gone = NOW + timedelta(minutes=12)
    state, problems = polled(dead, state, NOW + EVERY, gone)
    assert ["cannot connect" in p.what for p in problems.problems] == [True, True]
    state, _ = polled(server, state, gone + EVERY)
    send(server.url, server.experiment, late)
    check(polled(server, state, gone + 2 * EVERY, gone + 3 * EVERY)[1], [late])


def test_a_collector_stores_each_request_once(server: Server, store_root: Path) -> None:
    ended = datetime.now(UTC) - 2 * SETTLE
    requests = [trace(ended - k * MS) for k in range(3)]
    send(server.url, server.experiment, [span for spans in requests for span in spans])
    chosen = settings(store_root, {}, mlflow=server.url, mlflow_experiment=server.experiment)
    lived(chosen, lambda _: len(ids_in(store_root)) == len(requests))
    ends = time.monotonic() + 2
    lived(chosen, lambda _: time.monotonic() > ends)
    wanted = sorted(str(spans[0].attributes["mangaassist.request_id"]) for spans in requests)
    assert ids_in(store_root) == wanted


def ids_in(root: Path) -> list[str]:
    return sorted(row["request_id"] for row in rows(root, "SELECT request_id FROM {requests}"))


# ---------------------------------------------------------------------------------------- sick ones
LIMITS = FetchLimits(timedelta(seconds=0.8), 100_000)
SUBJECT = Subject(
    poll=lambda urls: polled(Server(urls[SICK], "0", LIMITS), MlflowState(), NOW)[1],
    whole=b'{"traces": [\n' + b'{"trace_id": "x",\n "request_time": "2026"},\n' * 40 + b"{}]}",
    health=frozenset(),
    max_body_bytes=LIMITS.max_body_bytes,
    within_s=3.0,
)
ODD = [
    pytest.param(Case(says(b"[]"), "cannot be read"), id="a list"),
    pytest.param(Case(says(b'{"traces": 7}'), "cannot be read"), id="a number of traces"),
    pytest.param(Case(says(b'{"traces": [{"trace_id": "tr-1"}, 3]}'), "cannot be read"), id="odd traces"),
]


@pytest.mark.parametrize("case", [*contract.CASES, *ODD])
def test_whatever_mlflow_answers_is_one_problem(case: Case) -> None:
    with serving(SUBJECT, {SICK: case.answer}) as urls:
        began = time.monotonic()
        batch = SUBJECT.poll(urls)
        took_s = time.monotonic() - began
    assert took_s < SUBJECT.within_s
    assert batch.requests == ()
    assert {f.metric: f.value for f in batch.metrics}["mlflow_up"] == 0
    assert [(p.subject, case.words in p.what, bool(p.remedy)) for p in batch.problems] == [
        (urls[SICK].split("/")[2], True, True)
    ], batch.problems
