"""Whether clients may be served: not before the warm-up has ended, not while the gateway drains."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtests.staging.gateway.backends import Backend, BackendError, Call
from loadtests.staging.gateway.config import Adapter
from loadtests.staging.gateway.live import Live
from loadtests.staging.gateway.refusals import Refusal
from loadtests.staging.gateway.tracing import unsampled

RETRY_S = 1.0
GREETING = "Hello! こんにちは"


@dataclass(slots=True)
class Readiness:
    """`state` is warming, ready or draining; `step` says what it waits for."""

    state: str = "warming"
    step: str = "the engine"

    def require(self) -> None:
        """Raises Refusal 503 unless ready."""
        if self.state != "ready":
            raise Refusal(
                503,
                "not_ready",
                f"the gateway is {self.state} ({self.step}); try again later",
                retry_after_s=RETRY_S,
            )

    def told(self) -> Mapping[str, Any]:
        """For /ping."""
        return {"status": self.state} | ({} if self.state == "ready" else {"waits_for": self.step})


async def warm_up(readiness: Readiness, live: Live, engine: Backend) -> int:
    """Ask every adapter something small until it answers; the number of adapters that did.

    Loads the adapters and puts the prefix into the cache. Nothing of it is traced or counted: it is nobody's
    request.
    """
    if not live.setup.config.warm_up.enabled:
        readiness.state = "ready"
        return 0
    asked: set[str] = set()
    while missing := [a for a in live.setup.config.by_name().values() if a.name not in asked]:
        readiness.step = f"adapter {missing[0].name}"
        try:
            await engine.complete(_greeting(live, missing[0]))
        except BackendError as error:
            readiness.step = f"adapter {missing[0].name}: {error.message}"
            await asyncio.sleep(live.setup.config.warm_up.retry.total_seconds())
        else:
            asked.add(missing[0].name)
    if readiness.state == "warming":
        readiness.state, readiness.step = "ready", ""
    return len(asked)


def _greeting(live: Live, adapter: Adapter) -> Call:
    config = live.setup.config
    prompt = live.setup.prompts[config.prompt_version]
    messages = [{"role": "system", "content": prompt.text}, {"role": "user", "content": GREETING}]
    payload = {"model": adapter.served, "messages": messages, "max_tokens": config.warm_up.max_tokens}
    return Call(payload, f"warm-up-{adapter.name.replace('/', '-')}", unsampled(1, 1), config.engine)
