"""The receiver of traces in a thread and event loop of its own, so that no flood of spans delays a scrape."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from socket import socket
from typing import Any, TypeVar

import httpx
import uvicorn

from collectors.model import Batch, Problem
from collectors.sources.otlp.assembly import Assembler
from collectors.sources.otlp.facts import REMEDIES, SOURCE, Turn, facts, problem, since
from collectors.sources.otlp.forwarding import Forwarder
from collectors.sources.otlp.intake import Intake, Limits
from collectors.sources.otlp.written import Written

T = TypeVar("T")
# With the last commit these stay below the time after which `mangaops up` kills its children.
CLOSING_S = 3
DRAINING_S = 5.0
# Exporters send every five seconds and keep their connections; more senders than this are refused.
KEEP_ALIVE_S = 75
MAX_CONNECTIONS = 256
_STARTING_S = 10.0


@dataclass(frozen=True, slots=True)
class Destination:
    """The MLflow server and experiment that everything is forwarded to."""

    url: str
    experiment: str


@dataclass(slots=True)
class _Seen:
    """What was counted up to the last poll."""

    at: datetime | None = None
    counts: dict[str, Counter[str]] = field(default_factory=dict)


class Receiver:
    """What the collector's loop may ask of the thread."""

    def __init__(self, replica: str, loop: asyncio.AbstractEventLoop, parts: _Parts) -> None:
        self._replica, self._loop, self._parts = replica, loop, parts
        self._seen = _Seen()

    async def poll(self, now: datetime) -> Batch:
        """The rows, facts and problems since the last poll."""
        return await self._ask(self._turn(now, last=False))

    async def last(self, now: datetime) -> Batch:
        """Stop receiving, send on what can be sent in a few seconds, and tell the rest."""
        return await self._ask(self._turn(now, last=True))

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Run in the thread's loop, without blocking ours."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._loop))

    async def _turn(self, now: datetime, *, last: bool) -> Batch:
        parts = self._parts
        if last:
            await parts.close()
        parts.assembler.expire(self._loop.time())
        counted = parts.counted()
        interval_s = (now - self._seen.at).total_seconds() if self._seen.at and self._seen.at < now else None
        fresh = {name: since(c, self._seen.counts.get(name, Counter())) for name, c in counted.items()}
        self._seen = _Seen(now, {name: Counter(c) for name, c in counted.items()})
        rows = parts.assembler.take()
        turn = Turn(now, self._replica, interval_s, fresh | {"otlp_rows": {"": len(rows)}}, parts.levels())
        starts = parts.assembler.take_starts()
        return Batch(facts(turn), rows, starts, tuple(parts.problems(turn)))


@dataclass(slots=True)
class _Parts:
    """What runs in the thread."""

    assembler: Assembler
    intake: Intake
    forwarder: Forwarder | None
    server: uvicorn.Server
    serving: asyncio.Task[None]
    sending: asyncio.Task[None] | None

    async def close(self) -> None:
        """Take in nothing more, write every request, and send on for a bounded time."""
        self.server.should_exit = True
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.serving), 2 * CLOSING_S)
        self.assembler.finish()
        if self.forwarder and self.sending:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.forwarder.drained(), DRAINING_S)
            self.sending.cancel()
            self.forwarder.give_up()

    def counted(self) -> dict[str, Counter[str]]:
        """Everything counted so far, by metric."""
        spans = self.intake.spans + self.assembler.counts
        found = {"otlp_answers": self.intake.answers, "otlp_spans": spans}
        if self.forwarder:
            found["forward_spans"] = self.forwarder.counts
            found["forward_retries"] = Counter({"": self.forwarder.retries})
        return found

    def levels(self) -> dict[str, float]:
        """How things stand, by metric."""
        found = {
            "otlp_up": float(not self.serving.done()),
            "otlp_traces_held": float(self.assembler.traces),
            "otlp_spans_held": float(self.assembler.spans),
        }
        if self.forwarder is None:
            return found
        batches, spans = self.forwarder.queued
        found |= {"forward_batches_queued": float(batches), "forward_spans_queued": float(spans)}
        if self.forwarder.reached is not None:
            found["forward_up"] = float(self.forwarder.reached)
        return found

    def problems(self, turn: Turn) -> Iterator[Problem]:
        """What a person has to know of this turn."""
        happened = {name for counted in turn.counters.values() for name, count in counted.items() if count}
        for name in sorted(happened & REMEDIES.keys()):
            yield problem(turn, *REMEDIES[name])
        if self.intake.refusal:
            yield problem(turn, f"refused: {self.intake.refusal}", "Correct the sender")
            self.intake.refusal = None
        if self.serving.done() and not self.server.should_exit:
            yield problem(turn, "the receiver of traces has stopped", "Start the collector again")
        if self.forwarder is None:
            return
        for fault in (self.forwarder.fault, self.forwarder.refusal):
            if fault:
                yield problem(turn, fault.what, fault.remedy)
        self.forwarder.refusal = None


@asynccontextmanager
async def receiving(
    listener: socket,
    clock: Callable[[], datetime],
    written: Written,
    *,
    token: str | None = None,
    to: Destination | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Receiver]:
    """A receiver on this listening socket, until the block ends."""
    ready: Future[Receiver] = Future()
    over = threading.Event()
    assembler = Assembler(SOURCE, written)

    async def live() -> None:
        async with httpx.AsyncClient() as client:
            forwarder = Forwarder(to.url, to.experiment, client) if to else None
            intake = Intake(assembler, forwarder, clock, token, limits)
            async with _running(intake, assembler, forwarder, listener) as parts:
                host, port = listener.getsockname()[:2]
                ready.set_result(Receiver(f"{host}:{port}", asyncio.get_running_loop(), parts))
                await asyncio.to_thread(over.wait)

    def run() -> None:
        try:
            asyncio.run(live())
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="otlp", daemon=True)
    thread.start()
    try:
        yield await asyncio.wait_for(asyncio.wrap_future(ready), _STARTING_S)
    finally:
        over.set()
        await asyncio.to_thread(thread.join, _STARTING_S)


@asynccontextmanager
async def _running(
    intake: Intake, assembler: Assembler, forwarder: Forwarder | None, listener: socket
) -> AsyncIterator[_Parts]:
    config = uvicorn.Config(
        intake.app,
        http="httptools",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSING_S,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    sending = asyncio.create_task(forwarder.run()) if forwarder else None
    try:
        yield _Parts(assembler, intake, forwarder, server, serving, sending)
    finally:
        server.should_exit = True
        await asyncio.wait({serving}, timeout=2 * CLOSING_S)
        if sending:
            sending.cancel()
