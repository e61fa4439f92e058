"""An engine's stream, handed on to the client as it comes, while its first token and usage are noted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.types import Send

from loadtests.staging.gateway import sse
from loadtests.staging.gateway.account import Account
from loadtests.staging.gateway.attempts import Opened, failure_of
from loadtests.staging.gateway.backends import BackendError, broken
from loadtests.staging.gateway.refusals import Refusal
from loadtests.staging.gateway.timing import Clock


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


async def relay(content: AsyncGenerator[bytes, None], headers: Mapping[str, str], send: Send) -> None:
    """Send a stream as it comes."""
    raw = [(name.encode(), value.encode()) for name, value in {**headers, **_STREAM_HEADERS}.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    async with aclosing(content):
        async for piece in content:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


def _as_broken(failure: BackendError) -> Refusal:
    """The 200 is on its way already; the account says what it came to."""
    return Refusal(max(500, failure.status), failure.code, failure.message, kind=failure.kind)
