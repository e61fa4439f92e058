"""What a drill's requests left in MLflow: asked while it still runs, after the last answer has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import datetime

import httpx

from collectors.signals.traces import Span
from collectors.sources.mlflow.asking import Server, search, whole

EXPERIMENT = "0"  # where the collector sends what it was not told to send elsewhere
ARRIVE_S = 60.0  # what was queued while MLflow was away arrives within it
LOOK_S = 2.0


def arrived(url: str, since: datetime, wanted: Callable[[], Collection[str]]) -> frozenset[str]:
    """The ids of the traces that began since then; waits until all `wanted` are there, or a minute.

    `wanted` is asked at every look, for rows are stored meanwhile. Raises Unanswered where MLflow is away.
    """
    return asyncio.run(_arrived(Server(url, EXPERIMENT), since, wanted))


def spans(url: str, trace_id: str) -> tuple[Span, ...]:
    """The spans of a trace; none of one that is not there. Raises Unanswered where MLflow is away."""
    return asyncio.run(_spans(Server(url, EXPERIMENT), trace_id))


async def _arrived(server: Server, since: datetime, wanted: Callable[[], Collection[str]]) -> frozenset[str]:
    until = time.monotonic() + ARRIVE_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            found = await _all(client, server, since)
            if found >= set(wanted()) or time.monotonic() > until:
                return frozenset(found)
            await asyncio.sleep(LOOK_S)


async def _all(client: httpx.AsyncClient, server: Server, since: datetime) -> set[str]:
    found, token = set[str](), None
    while True:
        page = await search(client, server, since, token)
        found |= {t.trace_id for t in page.traces if t.end is not None}
        token = page.next
        if token is None:
            return found


async def _spans(server: Server, trace_id: str) -> tuple[Span, ...]:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await whole(client, server, [trace_id])).get(trace_id, ())
