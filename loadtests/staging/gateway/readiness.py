"""Whether clients may be served: not before the warm-up has ended, not while the gateway drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.staging.gateway.backends import Backend, BackendError, Call
from loadtests.staging.gateway.config import Adapter
from loadtests.staging.gateway.live import Live
from loadtests.staging.gateway.refusals import Refusal
from loadtests.staging.gateway.starting import Warmed
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


async def warm_up(
    readiness: Readiness, live: Live, engine: Backend, steady_ns: Callable[[], int]
) -> list[Warmed]:
    """Ask every adapter something small until it answers; those that did, in their order.

    Loads the adapters and puts the prefix into the cache. None of the answers is traced or counted: they are
    nobody's requests.
    """
    if not live.setup.config.warm_up.enabled:
        readiness.state = "ready"
        return []
    warmed: list[Warmed] = []
    while missing := _missing(live, warmed):
        adapter, asked_ns = missing[0], steady_ns()
        readiness.step = f"adapter {adapter.name}"
        try:
            await engine.complete(_greeting(live, adapter))
        except BackendError as error:
            readiness.step = f"adapter {adapter.name}: {error.message}"
            await asyncio.sleep(live.setup.config.warm_up.retry.total_seconds())
        else:
            base = adapter.name == live.setup.config.base.name
            warmed.append(Warmed(adapter.name, base, asked_ns, steady_ns()))
    if readiness.state == "warming":
        readiness.state, readiness.step = "ready", ""
    return warmed


def _missing(live: Live, warmed: Sequence[Warmed]) -> list[Adapter]:
    """Adapters that have not answered yet; the configuration may change meanwhile."""
    asked = {each.adapter for each in warmed}
    return [a for a in live.setup.config.by_name().values() if a.name not in asked]


def _greeting(live: Live, adapter: Adapter) -> Call:
    config = live.setup.config
    prompt = live.setup.prompts[config.prompt_version]
    messages = [{"role": "system", "content": prompt.text}, {"role": "user", "content": GREETING}]
    payload = {"model": adapter.served, "messages": messages, "max_tokens": config.warm_up.max_tokens}
    return Call(payload, f"warm-up-{adapter.name.replace('/', '-')}", unsampled(1, 1), config.engine)
