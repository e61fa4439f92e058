"""Traces in: what the receiver takes for a thousand traces on one core, beside MLflow's own ingest."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors.signals.traces import Span
from collectors.sources.otlp.intake import Limits
from collectors.sources.otlp.listening import listen
from collectors.sources.otlp.receiving import receiving
from collectors.sources.otlp.written import Written
from tests.bench.report import Figure
from tests.servers import mlflow
from tests.sources.spans import T, export, later, trace

# OpenTelemetry's exporters send 512 spans at once: of a gateway, with three spans a trace, three such batches
# hold the traces of one batch of the engine's, with one span each.
BATCH = 170
ROUND, BODIES = 3 * BATCH, 4
ROUNDS, PEER_ROUNDS = 20, 1
RUNS = 15  # over half a minute; the fastest counts: whatever else runs on the core only makes it slower


def figures(root: Path) -> list[Figure]:
    """Milliseconds for a thousand traces of four spans, each written as a request row when it is answered."""
    bodies = root / "bodies"
    bodies.mkdir(parents=True)
    for number in range(ROUNDS):
        for part, body in enumerate(_bodies(number)):
            (bodies / f"{number:03}-{part}").write_bytes(body)
    ours = min(asyncio.run(_ours(bodies)) for _ in range(RUNS))
    with mlflow(root) as url:
        peer = _sent_s(url, bodies, PEER_ROUNDS, _cores())
    return [
        Figure(
            "1,000 traces taken in",
            "ms",
            _ms_for_a_thousand(ours, ROUNDS),
            _ms_for_a_thousand(peer, PEER_ROUNDS),
            "MLflow's own ingest, the same batches",
            200,
        )
    ]


async def _ours(bodies: Path) -> float:
    """Seconds to the answer of the last batch, with all of the receiver on one core."""
    unlimited = Limits(spans_per_s=1e9, burst_spans=1e9)
    with _on_one_core() as others, listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with receiving(listener, lambda: datetime.now(UTC), Written(), limits=unlimited) as receiver:
            took_s = await asyncio.to_thread(_sent_s, url, bodies, ROUNDS, others)
            rows = (await receiver.poll(datetime.now(UTC))).requests
    assert len(rows) == ROUNDS * ROUND
    assert all(row.decode_ms is not None for row in rows)
    return took_s


def _sent_s(url: str, bodies: Path, rounds: int, cores: set[int]) -> float:
    """Seconds in which a process of its own, on these cores, has the batches answered."""
    command = [sys.executable, "-m", "tests.bench.sending", url, str(bodies), str(rounds * BODIES)]
    done = subprocess.run([*command, *map(str, cores)], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


@contextmanager
def _on_one_core() -> Iterator[set[int]]:
    """This thread, and those that it starts, stay on one core; the others are for the senders."""
    all_cores = _cores()
    own = max(all_cores)
    os.sched_setaffinity(0, {own})
    try:
        yield all_cores - {own} or all_cores
    finally:
        os.sched_setaffinity(0, all_cores)


def _cores() -> set[int]:
    return os.sched_getaffinity(0)


def _ms_for_a_thousand(seconds: float, rounds: int) -> float:
    return seconds * 1e6 / (rounds * ROUND)


def _bodies(number: int) -> Iterator[bytes]:
    """A round's batches: those of the gateway, then the engine's."""
    ago = datetime.now(UTC) - timedelta(seconds=5) - T
    ids = range(number * ROUND + 1, (number + 1) * ROUND + 1)
    traces = [_described(later(trace(k, request=f"req-{k:016x}"), ago)) for k in ids]
    for first in range(0, ROUND, BATCH):
        yield export([s for t in traces[first : first + BATCH] for s in t[:3]]).SerializeToString()
    yield export([t[3] for t in traces]).SerializeToString()


def _described(spans: list[Span]) -> list[Span]:
    """With what the gateway says for MLflow, of which no row is made."""
    root, *rest = spans
    known = root.attributes
    tags = {
        f"mlflow.traceTag.{tag}": known[f"mangaassist.{tag}"]
        for tag in ("adapter_id", "backend_version", "prompt_version", "intent", "locale", "request_id")
    }
    said = {"mlflow.spanInputs": '{"request_id": "r", "turn": 2}', "mlflow.spanOutputs": "{}", "user.id": "u"}
    return [replace(root, attributes={**known, **tags, **said}), *rest]
