"""Small random stores: irregular scrapes, gaps, silent replicas, rows with and without every column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import TypeVar

from collectors.model import Bucket, Kind, MetricFact, RequestFact
from collectors.store.delta import DeltaWriter

T = TypeVar("T")
START = datetime(
    2026, 11, 1, 23, 55, tzinfo=UTC
)  # so that windows reach over midnight, into another partition
LENGTH_S = 600
REPLICAS = ("r1", "r'2", 'r\\3"{metrics}')
BOUNDS = (0.0, 0.1, 0.25, 0.5, 1.0, float("inf"))
ADAPTERS = ("manga_base_v1", "manga_domain_v3", "manga_domain_v4", "it's {requests}", None)


@dataclass(frozen=True)
class Facts:
    """What was written, in the order of its time."""

    metrics: list[MetricFact]
    requests: list[RequestFact]


def generated(seed: int, root: Path) -> Facts:
    """Facts of ten minutes, written to the root in three commits a table."""
    rng = Random(seed)
    metrics = [f for replica in REPLICAS[: rng.randint(1, 3)] for f in _replica(rng, replica)]
    requests = [_request(rng, k) for k in range(rng.choice((0, 5, 60, 300)))]
    facts = Facts(sorted(metrics, key=lambda f: f.at), sorted(requests, key=lambda f: f.at))
    writer = DeltaWriter(str(root))
    for name, rows in (("metrics", facts.metrics), ("requests", facts.requests)):
        third = len(rows) // 3 + 1
        for k in range(3):
            writer.append(name, rows[k * third : (k + 1) * third])
    return facts


def _replica(rng: Random, replica: str) -> Iterator[MetricFact]:
    last: datetime | None = None
    models = rng.choice((("llama",), ("llama", "other")))
    at = START + timedelta(microseconds=rng.randint(0, 5_000_000))
    while (at - START).total_seconds() < LENGTH_S:
        scraped = rng.random() > 0.1
        up = MetricFact(at, "engine", replica, "up", Kind.GAUGE, float(scraped))
        interval_s = None if last is None else (at - last).total_seconds()
        yield up
        if scraped:
            yield from _scrape(rng, replace(up, interval_s=interval_s), models)
            last = at
        # now and then a gap that is longer than the windows
        at += timedelta(microseconds=rng.choice((5_000_000, 5_003_217, 10_000_000, 20_000_001, 97_000_000)))


def _scrape(rng: Random, like: MetricFact, models: Sequence[str]) -> Iterator[MetricFact]:
    for engine, model in product(("0", "1"), models):
        here = replace(like, engine=engine, model=model)
        for gauge in ("requests_running", "requests_waiting", "kv_usage_ratio"):
            yield replace(here, metric=gauge, value=rng.choice((0.0, 0.125, 3.0, 7.5)))
        if like.interval_s is None:
            continue
        for counter in ("generation_tokens", "prefix_cache_hits", "prefix_cache_queries"):
            yield replace(here, metric=counter, kind=Kind.COUNTER, value=float(rng.choice((0, 0, 17, 400))))
        for label in ("stop", "length"):
            increment = replace(here, metric="requests_finished", kind=Kind.COUNTER, label=label)
            yield replace(increment, value=float(rng.randint(0, 3)))
        yield _histogram(rng, here)


def _histogram(rng: Random, here: MetricFact) -> MetricFact:
    counts = [float(rng.choice((0, 0, 0, 2, 9))) for _ in BOUNDS[1:]]
    buckets = tuple(Bucket(*b) for b in zip(BOUNDS, BOUNDS[1:], counts, strict=False) if b[2])
    total = None if rng.random() < 0.1 else rng.random() * sum(counts)
    return replace(here, metric="ttft_s", kind=Kind.HISTOGRAM, value=sum(counts), sum=total, buckets=buckets)


def _request(rng: Random, k: int) -> RequestFact:
    def maybe(value: T) -> T | None:
        return value if rng.random() > 0.15 else None

    return RequestFact(
        at=START + timedelta(microseconds=rng.randint(0, LENGTH_S * 1_000_000)),
        request_id=f"r{k}",
        source="gateway",
        trace_id=maybe(f"{rng.getrandbits(128):032x}"),
        session_id=maybe(f"s{k // 4}"),
        replica=maybe(rng.choice(REPLICAS)),
        adapter=rng.choice(ADAPTERS),
        http_status=maybe(rng.choice((200, 200, 200, 400, 429, 500))),
        oom_caught=maybe(rng.random() < 0.1) if rng.random() < 0.3 else None,
        output_tokens=maybe(rng.randint(1, 400)),
        ttft_ms=maybe(rng.lognormvariate(4, 1)),
        e2e_ms=maybe(rng.lognormvariate(6, 1)),
    )
