"""How the gateway ends: /ping says 503 first, answers that have begun may end, then the sockets close."""

from __future__ import annotations

import gc
import socket
from types import FrameType

import uvicorn

from loadtests.staging.gateway.serving import Service


class Server(uvicorn.Server):
    """Uvicorn, but on SIGTERM or SIGINT it goes on listening until the drain is over.

    Closing the socket at once, as it does by itself, would tell a load balancer by refused connections.
    A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._drains_since_s: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and take what was loaded out of the collector's sight: each full look at it took 50 ms."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; the second time, end."""
        if self._drains_since_s is None:
            self._drains_since_s = self._service.clock.steady_s()
            self._service.readiness.state, self._service.readiness.step = (
                "draining",
                "answers that have begun",
            )
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is over."""
        if self._drains_since_s is not None and self._drained(self._drains_since_s):
            self.should_exit = True
        return await super().on_tick(counter)

    def _drained(self, since_s: float) -> bool:
        drain = self._service.live.setup.config.drain
        past_s = self._service.clock.steady_s() - since_s
        noticed = past_s >= drain.notice.total_seconds()
        return noticed and (self._service.open_requests == 0 or past_s >= drain.limit.total_seconds())
