"""The receiver on a real port: what it answers to whom, what it tells the collector, what it survives."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, TypeVar

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from collectors.model import Batch
from collectors.signals.traces import request_row
from collectors.sources.otlp.decoding import JSON, PROTOBUF
from collectors.sources.otlp.intake import Limits
from collectors.sources.otlp.listening import listen
from collectors.sources.otlp.receiving import Receiver, receiving
from collectors.sources.otlp.written import Written
from collectors.validation import ConfigError
from tests.sources.spans import CALL, ENGINE, READY, ROOT, T, export, start_up, trace, turned_away

NOW = T + timedelta(seconds=5)
TOKEN = "s3cret"
A = TypeVar("A")
BODY = export(trace()).SerializeToString()
PROTOBUF_HEADERS = {"Content-Type": PROTOBUF}


def received(
    work: Callable[[Receiver, httpx.AsyncClient], Awaitable[A]],
    clock: Callable[[], datetime] = lambda: NOW,
    **options: Any,
) -> A:
    """What some work gave with a receiver, and a client that has its address."""

    async def live() -> A:
        listener = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            receiving(listener, clock, Written(), **options) as receiver,
            httpx.AsyncClient(base_url=url) as client,
        ):
            return await work(receiver, client)

    return asyncio.run(live())


def counted(batch: Batch, metric: str) -> dict[str, float]:
    """A counter's increments by label, without those that did not move."""
    return {f.label: f.value for f in batch.metrics if f.metric == metric and f.value}


# ---------------------------------------------------------------------------------------- answers
@dataclass(frozen=True)
class Case:
    """A request, and the status and words of its answer."""

    status: int
    words: str = ""
    body: bytes = BODY
    headers: Mapping[str, str] = field(default_factory=lambda: PROTOBUF_HEADERS)
    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    rows: int = 0
    repeat: int = 1


def check(case: Case) -> None:
    """The answer, in the sender's own encoding, and how many requests came of it."""

    async def work(receiver: Receiver, client: httpx.AsyncClient) -> tuple[httpx.Response, Batch]:
        headers = {k.encode(): v.encode() for k, v in case.headers.items()}
        answers = [
            await client.post("/v1/traces", content=case.body, headers=headers) for _ in range(case.repeat)
        ]
        return answers[-1], await receiver.poll(NOW)

    response, batch = received(work, limits=case.limits, token=case.token)
    assert response.status_code == case.status
    assert case.words in told(response)
    assert len(batch.requests) == case.rows
    assert str(case.status) in counted(batch, "otlp_answers")
    assert [p.what for p in batch.problems if case.words in p.what] or case.status == 200
    if case.status == 429:
        assert int(response.headers["retry-after"]) >= 1


def told(response: httpx.Response) -> str:
    """The message of an answer, read as OTLP writes it."""
    if response.headers["content-type"] == JSON:
        data = response.json()
        return str(data.get("message") or data.get("partialSuccess", {}).get("errorMessage", ""))
    if response.status_code == 200:
        return str(ExportTraceServiceResponse.FromString(response.content).partial_success.error_message)
    return str(ExportTracePartialSuccess.FromString(response.content).error_message)


def bearer(token: str) -> dict[str, str]:
    return {**PROTOBUF_HEADERS, "Authorization": f"Bearer {token}"}


LATE = [replace(s, end=NOW + timedelta(days=1)) for s in turned_away(2)]
AS_JSON = json.dumps(
    {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": "0af7651916cd43dd8448eb211c80319c",
                                "spanId": "b7ad6b7169203331",
                                "name": "orchestrator",
                                "startTimeUnixNano": str(int(T.timestamp() * 1e9)),
                                "endTimeUnixNano": str(int(NOW.timestamp() * 1e9)),
                                "attributes": [
                                    {"key": "mangaassist.request_id", "value": {"stringValue": "r"}},
                                    {"key": "http.response.status_code", "value": {"intValue": "429"}},
                                ],
                            }
                        ]
                    }
                ]
            }
        ]
    }
).encode()
CASES = {
    "a good batch": Case(200, rows=1),
    "in gzip": Case(200, "", gzip.compress(BODY), {**PROTOBUF_HEADERS, "Content-Encoding": "gzip"}, rows=1),
    "in JSON, with a character set": Case(
        200, "", AS_JSON, {"Content-Type": "application/json; charset=utf-8"}
    ),
    "nothing": Case(200, body=b""),
    "with a span that is none": Case(
        200, "in the future", export([*trace(), *LATE]).SerializeToString(), rows=1
    ),
    "garbage": Case(400, "no OTLP trace export", b"garbage"),
    "garbage in JSON": Case(400, "no OTLP trace export", b"{", {"Content-Type": JSON}),
    "a page": Case(415, "neither", b"<!doctype html>", {"Content-Type": "text/html"}),
    "no word of what it is": Case(415, "neither", headers={}),
    "packed by nobody we know": Case(
        415, "not known", headers={**PROTOBUF_HEADERS, "Content-Encoding": "br"}
    ),
    "too much": Case(413, "more than 100 bytes", limits=Limits(body_bytes=100)),
    "too much, unpacked": Case(
        413,
        "unpacks to more than",
        gzip.compress(bytes(1_000_000)),
        {**PROTOBUF_HEADERS, "Content-Encoding": "gzip"},
        Limits(body_bytes=10_000),
    ),
    "too much of all senders together": Case(429, "too many senders", limits=Limits(reading_bytes=100)),
    "too many a second": Case(
        429, "Send more slowly", limits=Limits(spans_per_s=1, burst_spans=3), repeat=2, rows=1
    ),
    "no token": Case(401, "bearer token", token=TOKEN),
    "another token": Case(401, "bearer token", headers=bearer("wrong"), token=TOKEN),
    "a token of strange letters": Case(401, "bearer token", headers=bearer("naïve"), token=TOKEN),
    "a token of strange letters that is right": Case(200, headers=bearer("naïve"), token="naïve", rows=1),
    "the token": Case(200, headers=bearer(TOKEN), token=TOKEN, rows=1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_sender_is_answered(case: Case) -> None:
    check(case)


def test_other_paths_and_methods_are_not_there() -> None:
    async def work(_: Receiver, client: httpx.AsyncClient) -> list[int]:
        answers = [await client.get("/v1/traces"), await client.post("/v1/metrics"), await client.get("/")]
        return [a.status_code for a in answers]

    assert received(work) == [405, 404, 404]


def test_who_sends_too_much_may_send_again_later() -> None:
    async def work(receiver: Receiver, client: httpx.AsyncClient) -> list[int]:
        found: list[int] = []
        for _ in range(20):
            found.append(
                (await client.post("/v1/traces", content=BODY, headers=PROTOBUF_HEADERS)).status_code
            )
            await asyncio.sleep(0.05)
        return found

    found = received(work, limits=Limits(spans_per_s=20, burst_spans=4))
    assert found[0] == 200
    assert found.count(429) > 3
    assert found.count(200) > 3


@pytest.mark.parametrize("hangs_up", [True, False], ids=["hangs up", "never goes on"])
def test_a_sender_that_stops_half_way_is_let_go(hangs_up: bool) -> None:
    async def work(receiver: Receiver, client: httpx.AsyncClient) -> Batch:
        host, port = client.base_url.host, client.base_url.port
        reader, writer = await asyncio.open_connection(host, port)
        head = (
            f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 999\r\n\r\n"
        )
        writer.write(head.encode() + BODY[:10])
        await writer.drain()
        if hangs_up:
            await asyncio.sleep(0.1)
        else:
            assert b"408" in await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        await asyncio.sleep(0.1)
        assert (await client.post("/v1/traces", content=BODY, headers=PROTOBUF_HEADERS)).status_code == 200
        return await receiver.poll(NOW)

    batch = received(work, limits=Limits(reading_s=0.5))
    assert len(batch.requests) == 1
    assert len(batch.problems) == 1


# --------------------------------------------------------------------------- what the loop is told
def test_every_poll_tells_what_happened_since_the_last() -> None:
    async def work(receiver: Receiver, client: httpx.AsyncClient) -> list[Batch]:
        found: list[Batch] = []
        for bodies in ([trace(1), trace(2)[:3]], [trace(3)], []):
            for spans in bodies:
                content = export(spans).SerializeToString()
                await client.post("/v1/traces", content=content, headers=PROTOBUF_HEADERS)
            found.append(await receiver.poll(NOW + timedelta(seconds=5 * len(found))))
        return found

    batches = received(work)
    assert [counted(b, "otlp_spans") for b in batches] == [{"received": 7}, {"received": 4}, {}]
    assert [counted(b, "otlp_rows") for b in batches] == [{"": 1}, {"": 1}, {}]
    assert [[r.request_id for r in b.requests] for b in batches] == [["req-1"], ["req-3"], []]
    levels = [{f.metric: f.value for f in b.metrics if f.metric.endswith("held")} for b in batches]
    assert levels[0] == {"otlp_traces_held": 1, "otlp_spans_held": 3}
    assert {f.interval_s for f in batches[1].metrics} == {5.0}
    assert {f.source for b in batches for f in b.metrics} == {"otlp"}


def test_what_is_held_when_it_stops_is_told_and_nothing_more_is_taken() -> None:
    async def work(receiver: Receiver, client: httpx.AsyncClient) -> Batch:
        content = export([*trace(1)[:3], *trace(2)[3:]]).SerializeToString()
        await client.post("/v1/traces", content=content, headers=PROTOBUF_HEADERS)
        assert (await receiver.poll(NOW)).requests == ()
        batch = await receiver.last(NOW)
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient(base_url=client.base_url).post("/v1/traces")
        return batch

    assert {r.request_id for r in received(work).requests} == {"req-1", "req-2"}


@pytest.mark.parametrize(
    ("resource", "who"), [({}, "127.0.0.1"), ({"service.instance.id": "10.0.0.11:8000"}, "10.0.0.11:8000")]
)
def test_the_start_of_an_engine_is_told_with_the_engine_that_it_is_of(
    resource: dict[str, str], who: str
) -> None:
    """Three processes send their spans, each with exports of its own, and one of them tries twice."""
    spans = start_up()
    bodies = [export(s, resource).SerializeToString() for s in (spans[4:], spans[2:4], spans[:2], spans[:2])]

    async def work(receiver: Receiver, client: httpx.AsyncClient) -> Batch:
        for body in bodies:
            await client.post("/v1/traces", content=body, headers=PROTOBUF_HEADERS)
        return await receiver.last(READY)

    batch = received(work, lambda: READY + timedelta(seconds=5))
    [told] = batch.events
    assert (told.at, told.kind, told.subject, told.source) == (READY, "engine_startup", who, "otlp")
    assert not batch.requests
    assert counted(batch, "otlp_spans") == {"received": 14, "duplicate": 2, "of_a_start": 12}


def test_the_sdk_of_opentelemetry_sends_what_becomes_a_row() -> None:
    """Real exporters, the gateway's with gzip and the engine's without, each with batches of its own."""
    spans = trace()

    def send(url: str) -> None:
        providers = [TracerProvider(), TracerProvider()]
        for provider, how in zip(providers, (Compression.Gzip, Compression.NoCompression), strict=True):
            exporter = OTLPSpanExporter(f"{url}/v1/traces", compression=how)
            provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
        gateway, engine = (p.get_tracer("test") for p in providers)
        with (
            gateway.start_as_current_span("orchestrator", attributes={"mangaassist.request_id": "r", **ROOT}),
            gateway.start_as_current_span("generation_client"),
            gateway.start_as_current_span("vllm_gateway", attributes=CALL),
            engine.start_as_current_span("llm_request", attributes={**ENGINE, "gen_ai.latency.e2e": 0.0}),
        ):
            time.sleep(0.02)
        for provider in providers:
            provider.shutdown()

    async def work(receiver: Receiver, client: httpx.AsyncClient) -> Batch:
        await asyncio.to_thread(send, str(client.base_url).rstrip("/"))
        return await receiver.poll(datetime.now(UTC))

    [found] = received(work, lambda: datetime.now(UTC)).requests
    assert found.e2e_ms is not None
    assert 20 <= found.e2e_ms < 2000
    expected = request_row(spans, "otlp")
    assert expected is not None
    measured = {n: getattr(found, n) for n in ("at", "trace_id", "e2e_ms", "gateway_ms", "frontend_ms")}
    assert found == replace(expected, request_id="r", **measured)


def test_a_flood_of_spans_does_not_hold_up_the_collectors_loop() -> None:
    flood = [
        export([s for k in range(1, 129) for s in trace(128 * n + k)]).SerializeToString() for n in range(16)
    ]

    async def work(receiver: Receiver, client: httpx.AsyncClient) -> tuple[list[float], Batch]:
        lags: list[float] = []

        async def ticking() -> None:
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.01)
                lags.append(time.monotonic() - began - 0.01)

        ticks = asyncio.create_task(ticking())
        posts = [client.post("/v1/traces", content=b, headers=PROTOBUF_HEADERS) for b in flood]
        assert {r.status_code for r in await asyncio.gather(*posts)} == {200}
        ticks.cancel()
        return lags, await receiver.poll(NOW)

    lags, batch = received(work)
    assert len(batch.requests) == 16 * 128
    assert median(lags) < 0.05


# ----------------------------------------------------------------------------------- where it listens
def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"otlp_port: 127\.0\.0\.1:{port}: .*--otlp-port"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(ConfigError, match="otlp_port: 192\\.0\\.2\\.1:4318: "):
        listen("192.0.2.1", 4318)
