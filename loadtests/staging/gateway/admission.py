"""How many requests are let in: so many at once, so many waiting, so many a second."""

from __future__ import annotations

import asyncio
from collections import deque

from loadtests.staging.gateway.config import Admission
from loadtests.staging.gateway.refusals import busy

QUEUE_RETRY_S = 1.0


class Gate:
    """First come, first served. Belongs to one event loop; the limits may change between two requests."""

    def __init__(self) -> None:
        self.active = 0
        self._limit = 1
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tokens: float | None = None
        self._refilled_s = 0.0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    async def enter(self, limits: Admission, now_s: float) -> None:
        """Come in, or wait for a place. Raises Refusal 429. Who came in has to `leave`."""
        self._limit = limits.concurrent
        self._spend(limits, now_s)
        if self.active < limits.concurrent and not self._waiting:
            self.active += 1
        elif len(self._waiting) >= limits.queued:
            raise busy(
                f"{limits.concurrent} requests are being answered and {limits.queued} wait; try again later",
                QUEUE_RETRY_S,
            )
        else:
            await self._wait(limits)

    def leave(self) -> None:
        """Give the place to who waits longest."""
        self.active -= 1
        while self._waiting and self.active < self._limit:
            place = self._waiting.popleft()
            if not place.done():
                self.active += 1
                place.set_result(None)

    def _spend(self, limits: Admission, now_s: float) -> None:
        """A token bucket: `rate_per_s` on average, `burst` at once."""
        before = limits.burst if self._tokens is None else self._tokens
        refill = (now_s - self._refilled_s) * limits.rate_per_s if self._tokens is not None else 0.0
        self._tokens, self._refilled_s = min(float(limits.burst), before + refill), now_s
        if self._tokens < 1:
            raise busy(
                f"more than {limits.rate_per_s:g} requests a second", (1 - self._tokens) / limits.rate_per_s
            )
        self._tokens -= 1

    async def _wait(self, limits: Admission) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        wait_s = limits.wait.total_seconds()
        try:
            async with asyncio.timeout(wait_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.leave()  # the place was given to us in the very moment we gave up
            elif place in self._waiting:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise busy(f"no place within {wait_s:g} s; try again later", QUEUE_RETRY_S) from None
            raise
