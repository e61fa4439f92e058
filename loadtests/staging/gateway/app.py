"""The gateway's HTTP face, and how its parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from loadtests.staging.gateway import starting
from loadtests.staging.gateway.admission import Gate
from loadtests.staging.gateway.attempts import Attempts, Job
from loadtests.staging.gateway.backends import Backend, OpenAi
from loadtests.staging.gateway.bedrock import Bedrock
from loadtests.staging.gateway.config import Fallback
from loadtests.staging.gateway.journal import Comparisons, Journal
from loadtests.staging.gateway.live import Live, described
from loadtests.staging.gateway.metrics import Metrics
from loadtests.staging.gateway.readiness import Readiness, warm_up
from loadtests.staging.gateway.refusals import Refusal
from loadtests.staging.gateway.serving import Service
from loadtests.staging.gateway.shadowing import Shadows
from loadtests.staging.gateway.timing import NS_PER_S, Anchor, Clock
from loadtests.staging.gateway.tracing import Tracing

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the gateway's neighbours are; None where there is none."""

    engine: str
    fallback: str | None = None
    otlp: str | None = None


@dataclass(frozen=True, slots=True)
class Front:
    """Hands chat requests to the service at once, and everything else to FastAPI.

    Its layers would stand around every piece of a stream.
    """

    others: FastAPI
    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        chat = scope["type"] == "http" and scope["path"] == CHAT and scope["method"] == "POST"
        await (self.service if chat else self.others)(scope, receive, send)


def build(live: Live, addresses: Addresses, clock: Clock, journal: Journal) -> tuple[Front, Service]:
    """The application and the service behind it. Has to be called where an event loop will run it."""
    engine = OpenAi(addresses.engine, "vllm")
    fallbacks = Fallbacks(addresses.fallback)
    service = _service(live, engine, fallbacks.chosen, Tracing(addresses.otlp), clock, journal)
    began = clock.anchored()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(_watch(service)), asyncio.create_task(_warm_up(service, engine, began))]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await service.shadows.close()
        await engine.close()
        await fallbacks.close()
        service.comparisons.close()
        await asyncio.to_thread(service.tracing.close)

    app = FastAPI(lifespan=lifespan, openapi_url=None, routes=[Route(CHAT, service, methods=["POST"])])
    _routes(app, service)
    return Front(app, service), service


class Fallbacks:
    """Makes the backend that the configuration names, and keeps it."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._made: dict[Fallback, Backend] = {}

    def chosen(self, settings: Fallback) -> Backend | None:
        """None where there is none, or no --fallback URL for it."""
        if settings.kind == "none" or (settings.kind == "openai" and self._url is None):
            return None
        if settings not in self._made:
            made = OpenAi(str(self._url), "openai") if settings.kind == "openai" else Bedrock(settings)
            self._made[settings] = made
        return self._made[settings]

    async def close(self) -> None:
        """Close those that were made."""
        for each in self._made.values():
            await each.close()


def _service(
    live: Live,
    engine: Backend,
    fallback: Callable[[Fallback], Backend | None],
    tracing: Tracing,
    clock: Clock,
    journal: Journal,
) -> Service:
    gate, comparisons = Gate(), Comparisons()
    metrics = Metrics(lambda: gate.active, lambda: gate.waiting)

    def told(job: Job, line: Mapping[str, Any]) -> None:
        comparisons.tell(job.setup.config.comparison, clock.now(), line)

    return Service(
        live=live,
        attempts=Attempts(engine, tracing, clock),
        fallback=fallback,
        gate=gate,
        readiness=Readiness(),
        shadows=Shadows(engine, clock, told, metrics.shadows_skipped.inc, live.setup.config.base.served),
        tracing=tracing,
        metrics=metrics,
        journal=journal,
        comparisons=comparisons,
        clock=clock,
    )


async def _watch(service: Service) -> None:
    def told(event: str, known: Mapping[str, Any]) -> None:
        service.journal.tell(service.clock.now(), event, known)

    told("started", described(service.live.setup))
    await service.live.watch(told)


async def _warm_up(service: Service, engine: Backend, began: Anchor) -> None:
    clock = service.clock
    warming_ns = clock.steady_ns()
    warmed = await warm_up(service.readiness, service.live, engine, clock.steady_ns)
    ready_ns = clock.steady_ns()
    starting.tell(service.tracing, began, warming_ns, warmed, ready_ns)
    took_s = round((ready_ns - warming_ns) / NS_PER_S, 3)
    service.journal.tell(clock.now(), "ready", {"adapters": len(warmed), "warm_up_s": took_s})


def _routes(app: FastAPI, service: Service) -> None:
    @app.get("/ping")
    async def ping() -> Response:
        ready = service.readiness.state == "ready"
        return JSONResponse(dict(service.readiness.told()), 200 if ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def models() -> Response:
        config = service.live.setup.config
        names = [config.model, *config.by_name()]
        told = [{"id": n, "object": "model", "created": 0, "owned_by": "mangaassist"} for n in names]
        return JSONResponse({"object": "list", "data": told})

    @app.exception_handler(HTTPException)
    async def otherwise(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        refusal = Refusal(status, "unknown_url", f"{request.method} {request.url.path}: {error}")
        return Response(refusal.body(), status, media_type="application/json")
