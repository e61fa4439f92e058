"""An engine's stream, handed on to the client as it comes, while its first token and usage are noted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from loadtests.staging.gateway import sse
from loadtests.staging.gateway.account import Account
from loadtests.staging.gateway.attempts import Opened, failure_of
from loadtests.staging.gateway.backends import BackendError, broken
from loadtests.staging.gateway.refusals import CLIENT_CLOSED, Refusal
from loadtests.staging.gateway.timing import Clock

Answer = TypeVar("Answer")


class Relay(StreamingResponse):
    """A streamed answer that is always ended, even if its client is gone before it began."""

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        ended: Callable[[], Awaitable[None]],
        limit_s: float,
    ) -> None:
        super().__init__(content, headers=headers, media_type="text/event-stream")
        self._content, self._ended, self._limit_s = content, ended, limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. A client that reads slower than the limit is left."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limit_s):
                    await super().__call__(scope, receive, send)
        finally:
            await self._content.aclose()
            await self._ended()


class Reading:
    """Notes what the account needs of a stream; everything else passes untouched."""

    def __init__(self, account: Account, clock: Clock, *, include_usage: bool, keep: bool) -> None:
        self._account, self._clock = account, clock
        self._include_usage, self._keep = include_usage, keep
        self._begun = self.done = False
        self.failure: BackendError | None = None
        self.complete = False

    def take(self, events: list[bytes]) -> bytes:
        """What is sent on of these events; after a failure, nothing more."""
        out: list[bytes] = []
        for event in events:
            if self.failure is None and self._wanted(event):
                out += (event, sse.END)
        return b"".join(out)

    async def relayed(self, opened: Opened) -> AsyncGenerator[bytes, None]:
        """The stream for the client; a broken one ends with an error event and without [DONE]."""
        try:
            if out := self.take(opened.first):
                yield out
            if opened.rest is not None:
                async for events in opened.rest:
                    if out := self.take(events):
                        yield out
            if self.failure is None and not self.done:
                self.failure = broken("the engine ended the stream before [DONE]")
        except BackendError as error:
            self.failure = error
        if self.failure is not None:
            self._account.failed(_as_broken(self.failure))
            self._account.oom_caught |= self._account.error_kind == "oom"
            yield self.failure.event()
        self.complete = True

    def _wanted(self, event: bytes) -> bool:
        if event == sse.DONE:
            self.done = True
            return True
        # Most events are one more token: two searches in 200 bytes in place of parsing them.
        if self._begun and not self._keep and b'"usage"' not in event and b'"error"' not in event:
            return True
        self.failure = failure_of(event)
        return self.failure is None and self._noted(sse.data(event))

    def _noted(self, chunk: dict[str, Any] | None) -> bool:
        """Whether the client asked for this chunk."""
        if chunk is None:
            return True
        if text := sse.content(chunk):
            self._first()
            if self._keep:
                self._account.answer.append(text)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._account.took(usage)
        return bool(chunk.get("choices")) or self._include_usage or not usage

    def _first(self) -> None:
        if not self._begun:
            self._begun = True
            self._account.ttft_ms = self._account.anchor.since_ms(self._clock.steady_ns())


async def until_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The work's result, unless the client hangs up first: then it is cancelled. Raises Refusal 499."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
        if task.cancelled():
            raise closed()
        return task.result()  # with a client that is gone, whoever sends it will notice
    finally:
        watcher.cancel()
        task.cancel()


def closed() -> Refusal:
    """The client hung up."""
    return Refusal(
        CLIENT_CLOSED, "client_closed", "the client hung up before the answer ended", kind="client_closed"
    )


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _as_broken(failure: BackendError) -> Refusal:
    """The 200 is on its way already; the account says what it came to."""
    return Refusal(max(500, failure.status), failure.code, failure.message, kind=failure.kind)
