"""Real servers on free loopback ports: the gateway, stand-in engines, and a receiver of spans."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn
import yaml
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.requests import Request
from starlette.responses import Response

from loadtests.staging import standin
from loadtests.staging.gateway.app import Addresses, build
from loadtests.staging.gateway.config import DEFAULT
from loadtests.staging.gateway.journal import Journal
from loadtests.staging.gateway.live import Live, load
from loadtests.staging.gateway.timing import Clock
from loadtests.staging.standin import Manner

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it arrived."""

    name: str
    span_id: str
    parent_id: str
    trace_id: str
    attributes: Mapping[str, Any]
    failed: bool
    duration_ms: float


@dataclass(slots=True)
class Running:
    """The gateway, and what is around it."""

    url: str
    engine: str
    config: Path
    out: io.StringIO
    spans: list[Received]
    client: httpx.Client
    spare: str  # the fallback; it obeys no orders

    def ask(self, text: str = "What is next?", **more: Any) -> httpx.Response:
        """One request, answered as a whole."""
        return self.client.post(f"{self.url}/v1/chat/completions", json=question(text, **more))

    def stream(self, text: str = "What is next?", **more: Any) -> list[Any]:
        """The data of every event of a streamed answer."""
        answer = self.ask(text, stream=True, **more)
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
        events = [e.removeprefix("data: ") for e in answer.text.split("\n\n") if e]
        return [e if e == "[DONE]" else json.loads(e) for e in events]

    def row(self, request_id: str) -> dict[str, Any]:
        """The request's line in the log; there is exactly one."""

        def look() -> dict[str, Any] | None:
            found = [r for r in self.log("request") if r["request_id"] == request_id]
            assert len(found) < 2
            return found[0] if found else None

        return eventually(look)

    def log(self, event: str) -> list[dict[str, Any]]:
        """Every line of one kind."""
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def trace(self, trace_id: str) -> dict[str, list[Received]]:
        """The spans of a trace by name, when its root has arrived."""

        def look() -> dict[str, list[Received]] | None:
            found = [s for s in self.spans if s.trace_id == trace_id]
            names = {s.name for s in found}
            return {n: [s for s in found if s.name == n] for n in names} if "orchestrator" in names else None

        return eventually(look)

    def seen(self, where: str | None = None) -> dict[str, Any]:
        """What the stand-in engine remembers."""
        return dict(self.client.get(f"{where or self.engine}/standin").json())

    def configure(self, **change: Any) -> None:
        """Change the configuration, and wait until it is taken or refused."""
        before = len(self.log("config_taken")) + len(self.log("config_refused"))
        data = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        self.config.write_text(yaml.safe_dump(merged(data, change), sort_keys=False), encoding="utf-8")
        eventually(lambda: len(self.log("config_taken")) + len(self.log("config_refused")) > before or None)

    def metric(self, name: str) -> float:
        """The sum of a counter over its labels."""
        text = self.client.get(f"{self.url}/metrics").text
        values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)]
        assert values, f"{name} is not among the metrics"
        return sum(map(float, values))


def question(text: str, **more: Any) -> dict[str, Any]:
    """The body of a request."""
    return {
        "model": "mangaassist",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 4,
        **more,
    }


def merged(data: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The data with the change laid over it, level by level."""
    below = {k: merged(data.get(k) or {}, v) for k, v in change.items() if isinstance(v, Mapping)}
    return {**data, **change, **below}


T = TypeVar("T")


def eventually(look: Callable[[], T | None]) -> T:
    """What is there at last; fails after ten seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := look()) is None:
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """An application on a port, a free one where none is named, in a thread."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started or None)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@contextmanager
def running(
    folder: Path,
    *,
    manner: Manner | None = None,
    engine: str | None = None,
    otlp: str | None = None,
    spare: bool = False,
    **change: Any,
) -> Iterator[Running]:
    """The gateway with this change of its shipped configuration, before a stand-in engine."""
    config = folder / "gateway.yaml"
    shipped = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump(merged(shipped, change), sort_keys=False), encoding="utf-8")
    spans: list[Received] = []
    out = io.StringIO()
    with ExitStack() as stack:
        engine = engine or stack.enter_context(served(standin.build(manner or Manner())))
        other = stack.enter_context(served(standin.build(Manner(), obeys=False))) if spare else None
        otlp = otlp or stack.enter_context(served(receiver(spans)))
        clock = Clock(time.time_ns, time.perf_counter_ns)
        app, _ = build(Live(config, load(config)), Addresses(engine, other, otlp), clock, Journal(out))
        url = stack.enter_context(served(app))
        client = stack.enter_context(httpx.Client(timeout=PATIENCE_S, trust_env=False))
        yield Running(url, engine, config, out, spans, client, other or "")


def ready(gateway: Running) -> Running:
    """The gateway after its warm-up."""
    eventually(lambda: gateway.client.get(f"{gateway.url}/ping").is_success or None)
    return gateway


def receiver(spans: list[Received]) -> FastAPI:
    """Takes OTLP over HTTP, in protobuf."""
    app = FastAPI()

    @app.post("/v1/traces")
    async def traces(request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                spans.extend(_received(span) for span in scope.spans)
        return Response(media_type="application/x-protobuf")

    return app


def _received(span: Any) -> Received:
    return Received(
        span.name,
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_id.hex(),
        {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes},
        span.status.code == 2,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
    )
