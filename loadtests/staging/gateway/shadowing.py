"""Shadows: the same question to a candidate after the client has its answer, for the comparison log alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from loadtests.staging.gateway.account import Account
from loadtests.staging.gateway.attempts import Job, prepare
from loadtests.staging.gateway.backends import Backend, Call, broken
from loadtests.staging.gateway.journal import compared
from loadtests.staging.gateway.refusals import Refusal
from loadtests.staging.gateway.relaying import Reading
from loadtests.staging.gateway.routing import Target
from loadtests.staging.gateway.timing import Clock
from loadtests.staging.gateway.tracing import unsampled


@dataclass(slots=True)
class Shadows:
    """Asks in the background, so many at once; more are left out and counted."""

    engine: Backend
    clock: Clock
    told: Callable[[Job, dict[str, Any]], None]
    skipped: Callable[[], None]
    base: str
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    def ask(self, job: Job, target: Target) -> None:
        """Begin, and return at once."""
        limit = job.setup.config.shadow.concurrent if job.setup.config.shadow else 0
        if len(self._running) >= limit:
            self.skipped()
            return
        task = asyncio.get_running_loop().create_task(self._ask(job, target))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Stop those that run."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _ask(self, job: Job, target: Target) -> None:
        anchor = self.clock.anchored()
        account = Account(f"{job.account.request_id[:120]}-shadow", anchor, variant="shadow")
        account.adapter, account.prompt_version = target.adapter.name, target.prompt_version
        account.backend_version = target.backend_version(self.base)
        asked = replace(job, target=target, account=account, chat=replace(job.chat, stream=True))
        try:
            await self._read(asked)
        except Refusal as refusal:
            account.failed(refusal)
        account.e2e_ms = anchor.since_ms(self.clock.steady_ns())
        self.told(asked, {"shadow_of": job.account.request_id, **compared(account, "".join(account.answer))})

    async def _read(self, job: Job) -> None:
        payload = prepare(job, job.target.adapter.served, self.clock, smaller=False)
        context = job.root.context
        call = Call(
            payload,
            job.account.request_id,
            unsampled(context.trace_id, context.span_id),
            job.setup.config.engine,
        )
        reading = Reading(job.account, self.clock, include_usage=True, keep=True)
        async for events in self.engine.stream(call):
            reading.take(events)
        if failure := reading.failure or (None if reading.done else broken("the stream ended early")):
            raise failure
