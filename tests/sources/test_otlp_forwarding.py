"""Spans on their way to MLflow: the same bytes, again and again while it is away, and counted where lost."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from collectors.model import Batch
from collectors.sources.otlp.decoding import PROTOBUF
from collectors.sources.otlp.forwarding import EXPERIMENT_HEADER, Export, Forwarder, Patience
from collectors.sources.otlp.listening import listen
from collectors.sources.otlp.receiving import Destination, Receiver, receiving
from collectors.sources.otlp.written import Written
from tests.servers import free_port, running
from tests.sources.contract import closed_port
from tests.sources.spans import export
from tests.traces import trace

A = TypeVar("A")
PATIENCE_S = 30.0


@dataclass
class Sink:
    """A server that keeps what it is sent, and answers with these statuses in turn; the last one repeats."""

    statuses: Sequence[int]
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)

    def answer(self) -> int:
        return self.statuses[min(len(self.got), len(self.statuses)) - 1]


@contextmanager
def serving(sink: Sink) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sink.got.append((body, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(sink.answer())
            for name, value in sink.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def forwarded(url: str, work: Callable[[Forwarder], Awaitable[A]], patience: Patience | None = None) -> A:
    """What some work gave with a forwarder that runs."""

    async def live() -> A:
        async with httpx.AsyncClient() as client:
            forwarder = Forwarder(url, "7", client, patience)
            task = asyncio.create_task(forwarder.run())
            try:
                return await work(forwarder)
            finally:
                task.cancel()

    return asyncio.run(live())


BATCH = Export(b"\x0a\x00", PROTOBUF, "", 4)


@dataclass(frozen=True)
class Case:
    """How the server answers, what becomes of a batch of four spans, and how often it was sent."""

    statuses: Sequence[int]
    sent: int = 0
    dropped: int = 0
    times: int = 1
    said: str = ""


CASES = {
    "it is taken": Case([200], sent=4),
    "it is taken the third time": Case([503, 429, 200], sent=4, times=3),
    "a database that was busy": Case([422, 500, 200], sent=4, times=3),
    "an experiment that is not there": Case([404], dropped=4, said="HTTP 404"),
    "a store that keeps no traces": Case([501], dropped=4, said="HTTP 501"),
    "it is refused however often": Case([500], dropped=4, times=6, said="HTTP 500"),
}


def check(case: Case) -> None:
    sink = Sink(case.statuses)

    async def work(forwarder: Forwarder) -> Forwarder:
        forwarder.offer(BATCH)
        await asyncio.wait_for(forwarder.drained(), PATIENCE_S)
        return forwarder

    with serving(sink) as url:
        found = forwarded(url, work, Patience(attempts=6, pauses_s=(0.01,)))
    assert (found.counts["sent"], found.counts["dropped"]) == (case.sent, case.dropped)
    assert len(sink.got) == case.times
    assert found.retries == case.times - (case.dropped > 0 or case.sent > 0)
    assert (found.refusal.what if found.refusal else "").count(case.said) == 1 or not case.said


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_becomes_of_a_batch(case: Case) -> None:
    check(case)


def test_the_bytes_are_the_senders_own() -> None:
    sink = Sink([200])

    async def work(forwarder: Forwarder) -> None:
        forwarder.offer(Export(b"packed", "application/json", "gzip", 1))
        await asyncio.wait_for(forwarder.drained(), PATIENCE_S)

    with serving(sink) as url:
        forwarded(url, work)
    [(body, headers)] = sink.got
    assert body == b"packed"
    wanted = {"content-type": "application/json", "content-encoding": "gzip", EXPERIMENT_HEADER: "7"}
    assert wanted.items() <= headers.items()


def test_it_is_asked_again_no_sooner_than_it_says() -> None:
    sink = Sink([429, 200], {"Retry-After": "1"})

    async def work(forwarder: Forwarder) -> float:
        began = time.monotonic()
        forwarder.offer(BATCH)
        await asyncio.wait_for(forwarder.drained(), PATIENCE_S)
        return time.monotonic() - began

    with serving(sink) as url:
        assert forwarded(url, work) >= 1.0


def test_a_queue_that_is_full_loses_its_oldest_and_counts_them() -> None:
    async def work(forwarder: Forwarder) -> tuple[Forwarder, tuple[int, int]]:
        for _ in range(3):
            forwarder.offer(BATCH)
        await asyncio.sleep(0.2)  # one of them is being sent now
        for _ in range(10):
            forwarder.offer(BATCH)
        queued = forwarder.queued
        forwarder.give_up()
        return forwarder, queued

    found, queued = forwarded(f"http://127.0.0.1:{closed_port()}", work, Patience(batches=5))
    assert queued == (6, 24)
    assert found.counts["dropped"] == 13 * 4
    assert found.fault is not None
    assert "cannot be reached" in found.fault.what
    assert (found.queued, found.bytes) == ((0, 0), 0)


def test_large_batches_are_bounded_by_their_bytes() -> None:
    async def work(forwarder: Forwarder) -> Forwarder:
        for _ in range(10):
            forwarder.offer(Export(bytes(40), PROTOBUF, "", 4))
        return forwarder

    found = forwarded(f"http://127.0.0.1:{closed_port()}", work, Patience(body_bytes=100))
    assert (len(found._queue), found.counts["dropped"]) == (2, 32)


def test_a_dead_one_is_seen_before_anything_is_sent() -> None:
    async def work(forwarder: Forwarder) -> bool | None:
        await asyncio.sleep(0.5)
        return forwarder.reached

    assert forwarded(f"http://127.0.0.1:{closed_port()}", work) is False
    with serving(Sink([200])) as url:
        assert forwarded(url, work) is True


# ------------------------------------------------------------------------------ behind the receiver
def received(to: str, work: Callable[[Receiver, httpx.AsyncClient], Awaitable[A]]) -> A:
    """What some work gave with a receiver that forwards."""

    async def live() -> A:
        listener = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            receiving(listener, now, Written(), to=Destination(to, "0")) as receiver,
            httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client,
        ):
            return await work(receiver, client)

    return asyncio.run(live())


def now() -> datetime:
    return datetime.now(UTC)


async def sent(client: httpx.AsyncClient, number: int) -> set[str]:
    """Send so many requests, in a batch each; their trace ids."""
    found = set()
    for _ in range(number):
        spans = trace(now() - timedelta(seconds=1))
        found.add(spans[0].trace_id)
        body = export(spans).SerializeToString()
        response = await client.post("/v1/traces", content=body, headers={"content-type": PROTOBUF})
        assert response.status_code == 200
    return found


def figures(batches: Sequence[Batch], metric: str) -> dict[str, float]:
    """A counter's sums by label."""
    found: dict[str, float] = {}
    for fact in (f for b in batches for f in b.metrics if f.metric == metric):
        found[fact.label] = found.get(fact.label, 0.0) + fact.value
    return found


def level(batch: Batch, metric: str) -> float:
    return next(f.value for f in batch.metrics if f.metric == metric)


def test_with_mlflow_dead_every_row_is_there_and_every_span_is_counted() -> None:
    async def work(receiver: Receiver, client: httpx.AsyncClient) -> tuple[list[Batch], float]:
        await sent(client, 10)
        first = await receiver.poll(now())
        began = time.monotonic()
        return [first, await receiver.last(now())], time.monotonic() - began

    batches, took_s = received(f"http://127.0.0.1:{closed_port()}", work)
    assert len(batches[0].requests) == 10
    assert level(batches[0], "forward_up") == 0
    assert level(batches[0], "forward_spans_queued") == 40
    assert any("cannot be reached" in p.what for p in batches[0].problems)
    assert figures(batches, "forward_spans")["dropped"] == 40
    assert any("were dropped" in p.what for p in batches[1].problems)
    assert took_s < 10


@asynccontextmanager
async def mlflow(folder: Path, port: int) -> AsyncIterator[None]:
    """An MLflow server at this port."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    server = running(command, folder / "mlflow.log", f"http://127.0.0.1:{port}/health")
    await asyncio.to_thread(server.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


@pytest.mark.slow
def test_what_is_sent_while_mlflow_is_down_arrives_when_it_is_up_or_is_counted(tmp_path: Path) -> None:
    """Down, up, down again: on a real server, whose first start takes most of the time."""
    port, batches = free_port(), list[Batch]()

    async def polled(receiver: Receiver, until: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < ends, [p.what for b in batches for p in b.problems]
            batches.append(await receiver.poll(now()))
            await asyncio.sleep(0.2)

    async def work(receiver: Receiver, client: httpx.AsyncClient) -> tuple[set[str], set[str]]:
        arrive = await sent(client, 20)
        await polled(receiver, lambda: any(level(b, "forward_spans_queued") == 80 for b in batches))
        async with mlflow(tmp_path, port):
            arrive |= await sent(client, 2)
            await polled(receiver, lambda: figures(batches, "forward_spans").get("sent") == 88)
            assert level(batches[-1], "forward_up") == 1
            assert await asyncio.to_thread(span_counts, port, arrive) == dict.fromkeys(arrive, 4)
        lost = await sent(client, 3)
        await polled(receiver, lambda: level(batches[-1], "forward_up") == 0)
        batches.append(await receiver.last(now()))
        return arrive, lost

    arrived, lost = received(f"http://127.0.0.1:{port}", work)
    assert {r.trace_id for b in batches for r in b.requests} == arrived | lost
    assert sum(len(b.requests) for b in batches) == 25
    counted = figures(batches, "forward_spans")
    assert (counted["sent"], counted["dropped"]) == (88, 12)


def span_counts(port: int, ids: set[str]) -> dict[str, int]:
    """How many spans MLflow holds of each trace."""
    import mlflow as client

    tracking = client.MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
    return {each: len(tracking.get_trace(f"tr-{each}").data.spans) for each in ids}
