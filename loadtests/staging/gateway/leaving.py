"""Clients that hang up: what is done for them stops at once."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from loadtests.staging.gateway.refusals import CLIENT_CLOSED, Refusal


class Presence:
    """While it is open, a client that hangs up cancels the task in it, which then raises Refusal 499.

    One watcher for the whole request, and no task for the work itself: the task group of Starlette's
    StreamingResponse cost more than all of our own code. Enter it when the body has been read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = self._over = False

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._task, self._cancelled_before = task, task.cancelling()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        self._watcher.add_done_callback(self._left)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching. A cancellation from elsewhere goes on; ours becomes a refusal."""
        self._over = True
        self._watcher.cancel()
        if self._gone and kind is asyncio.CancelledError and self._task.uncancel() <= self._cancelled_before:
            raise closed() from error

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _left(self, watcher: asyncio.Task[None]) -> None:
        if not self._over and not watcher.cancelled():
            self._gone = True
            self._task.cancel()


def closed() -> Refusal:
    """The client hung up."""
    return Refusal(
        CLIENT_CLOSED, "client_closed", "the client hung up before the answer ended", kind="client_closed"
    )
