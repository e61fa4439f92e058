"""What the gateway adds to an answer, beside the same stand-in engine asked directly at the same time.

Open loop: every 50 ms one request goes through the gateway, and 25 ms later the same one past it. A figure is
the difference of two quantiles, through and past: what a quantile of users waits longer. (A quantile of the
differences between neighbours would count the engine's and the machine's own jitter twice.) Gateway, engine
and client share this machine, and the gateway's spans are sent. Requests of the half of the seconds count in
which the hypervisor took least from the machine; how much it took then is a figure of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import aiohttp
import httpx
import numpy as np

from loadtests.staging import standin
from tests.bench.quiet import Quiet
from tests.bench.report import Figure

REQUESTS_PER_S = 20
SECONDS, WARM_UP_S = 80, 4
TOKENS, FIRST_MS, TOKEN_MS = 8, 20, 12  # an answer of 104 ms: two or three are under way at once
READY_S = 60
WORD = standin.WORD.encode()
HISTORY = [
    {"role": "user", "content": "I finished volume 3 of Frieren. What is it about from here on?"},
    {"role": "assistant", "content": "The journey goes north, and an examination for mages begins."},
    {"role": "user", "content": "『葬送のフリーレン』第4巻の在庫はありますか?"},
]
PASSAGES = ["Frieren volume 4 (paperback): in stock in Tokyo, 3 to 5 days to Europe."]


class Taken(NamedTuple):
    """When it was asked (seconds since the epoch), and the milliseconds to first token and end."""

    at: float
    first_ms: float
    whole_ms: float


def figures(root: Path) -> list[Figure]:
    """Milliseconds that the gateway adds, at the middle and at the end of the distribution."""
    root.mkdir(parents=True, exist_ok=True)
    with _processes(root) as (gateway, engine), Quiet() as machine:
        through, past = asyncio.run(_measured(gateway, engine))
        kept = machine.quiet([t.at for t in through])
        stolen = machine.taken([t.at for t in compress(through, kept)]).mean()
    first = [[t.first_ms for t in compress(each, kept)] for each in (through, past)]
    whole = [[t.whole_ms for t in compress(each, kept)] for each in (through, past)]
    return [
        *_added("first token", *first),
        *_added("whole answer", *whole),
        Figure("taken by the hypervisor meanwhile", "%", float(stolen)),
    ]


def _added(what: str, through: Sequence[float], past: Sequence[float]) -> list[Figure]:
    return [
        Figure(
            f"added to the {what}, p{q}",
            "ms",
            float(np.percentile(through, q) - np.percentile(past, q)),
            float(np.percentile(past, q)),
            f"the engine alone, p{q}",
            aim,
        )
        for q, aim in ((50, 2.0), (99, 5.0))
    ]


async def _measured(gateway: str, engine: str) -> tuple[list[Taken], list[Taken]]:
    """The same number of requests through the gateway and past it, without those of the warm-up."""
    asked = {"messages": HISTORY, "max_tokens": TOKENS, "stream": True}
    through = json.dumps({**asked, "model": "mangaassist", "retrieval": PASSAGES}).encode()
    past = json.dumps({**asked, "model": "manga-base"}).encode()
    gc.disable()  # ours, so that its pauses are not taken for the gateway's
    try:
        async with aiohttp.ClientSession() as session:
            tasks, start = [], time.perf_counter()
            for number in range((WARM_UP_S + SECONDS) * REQUESTS_PER_S):
                for offset, url, body in ((0.0, gateway, through), (0.5, engine, past)):
                    due = start + (number + offset) / REQUESTS_PER_S
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    tasks.append(asyncio.create_task(_ask(session, url, body)))
            taken = await asyncio.gather(*tasks)
    finally:
        gc.enable()
    kept = taken[2 * WARM_UP_S * REQUESTS_PER_S :]
    return kept[::2], kept[1::2]


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> Taken:
    at, began, first, read = time.time(), time.perf_counter(), 0.0, b""
    async with session.post(f"{url}/v1/chat/completions", data=body) as answer:
        async for piece in answer.content.iter_any():
            read += piece
            if not first and WORD in read:
                first = time.perf_counter()
    assert answer.status == 200, read
    assert read.endswith(b"data: [DONE]\n\n"), read[-200:]
    return Taken(at, (first - began) * 1000, (time.perf_counter() - began) * 1000)


@contextmanager
def _processes(root: Path) -> Iterator[tuple[str, str]]:
    """(gateway, engine): their addresses, while they run."""
    engine, gateway = (f"http://127.0.0.1:{port}" for port in _ports())
    pace = ["--first-ms", str(FIRST_MS), "--token-ms", str(TOKEN_MS)]
    commands = [
        ["loadtests.staging.standin", "--port", engine.rpartition(":")[2], *pace],
        [
            "loadtests.staging.gateway",
            "--port",
            gateway.rpartition(":")[2],
            "--engine",
            engine,
            "--otlp",
            engine,
        ],
    ]
    with (root / "log").open("wb") as log:
        running = [subprocess.Popen([sys.executable, "-m", *c], stdout=log, stderr=log) for c in commands]
        try:
            _wait_for(f"{gateway}/ping")
            yield gateway, engine
        finally:
            for process in running:
                process.kill()
                process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} was not ready within {READY_S} s")


def _ports() -> list[int]:
    import socket

    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
