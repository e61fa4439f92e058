"""One request of ten million explained, beside the same answer put together with MLflow's client.

MLflow is asked for one trace and for those of its adapter; it holds a thousand traces, not ten million.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from mlflow import MlflowClient

from collectors.explaining import explain, find_requests
from collectors.model import Kind, MetricFact, RequestFact
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from tests.bench.otlp import PEER_ROUNDS, ROUND, _bodies, _cores, _sent_s
from tests.bench.report import Figure, timed_ms
from tests.servers import mlflow
from tests.sources.spans import ROOT as SPAN

SCRAPES, PACE = 240, timedelta(seconds=5)
PAGE = 500
AIM_MS = 300


def figure(root: Path, request_id: str) -> Figure:
    """Milliseconds of `explain`, from the table under `root` that holds the request."""
    reader = DuckReader(str(root))
    [asked] = find_requests(reader, request_id)
    DeltaWriter(str(root)).append("metrics", list(_scrapes(asked)))
    ours = timed_ms(lambda: explain(reader, find_requests(reader, request_id)[0]))
    return Figure(
        "why was this request slow, of ten million",
        "ms",
        ours,
        _peer_ms(root.parent / "explaining"),
        f"MLflow's client, of {PEER_ROUNDS * ROUND:,} traces",
        AIM_MS,
    )


def _scrapes(asked: RequestFact) -> Iterator[MetricFact]:
    """The engine around the request, so that its state is read too."""
    levels = {"up": 1.0, "requests_running": 20.0, "requests_waiting": 0.0, "kv_usage_ratio": 0.3}
    counted = {"prefix_cache_hits": 800.0, "prefix_cache_queries": 1000.0, "generation_tokens": 2000.0}
    for number in range(SCRAPES):
        at: datetime = asked.at + (number - SCRAPES // 2) * PACE
        for kind, values in ((Kind.GAUGE, levels), (Kind.COUNTER, counted)):
            for name, value in values.items():
                yield MetricFact(at, "bench", str(asked.replica), name, kind, value, interval_s=5.0)


def _peer_ms(root: Path) -> float:
    bodies = root / "bodies"
    bodies.mkdir(parents=True)
    for number in range(PEER_ROUNDS):
        for part, body in enumerate(_bodies(number)):
            (bodies / f"{number:03}-{part}").write_bytes(body)
    with mlflow(root) as url:
        _sent_s(url, bodies, PEER_ROUNDS, _cores())
        client = MlflowClient(tracking_uri=url)
        return timed_ms(lambda: _assembled(client), 1)


def _assembled(client: MlflowClient) -> None:
    """Stages of one trace beside the medians and P95s of its adapter's others."""
    chosen = f"tags.adapter_id = '{SPAN['mangaassist.adapter_id']}'"
    times: dict[str, list[int]] = {}
    token, found = None, 0
    while True:
        page = client.search_traces(
            locations=["0"], filter_string=chosen, max_results=PAGE, page_token=token, include_spans=True
        )
        found += len(page)
        for trace in page:
            for span in trace.data.spans:
                times.setdefault(span.name, []).append((span.end_time_ns or 0) - span.start_time_ns)
        token = page.token
        if not token:
            break
    assert found == PEER_ROUNDS * ROUND, found
    assert len({name: np.percentile(ns, [50, 95]) for name, ns in times.items()}) >= 4
