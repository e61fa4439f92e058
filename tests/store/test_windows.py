"""What a reading makes of edges: windows, gaps, restarts, silent groups, reasons for no data, odd names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.model import Bucket, Kind, MetricFact, RequestFact
from collectors.signals.exposition import read
from collectors.signals.increments import Snapshot, advance
from collectors.signals.metrics import BY_NAME
from collectors.signals.points import Point, at_instant
from collectors.signals.predicates import always, equals, present
from collectors.signals.readings import (
    READINGS,
    Age,
    Computation,
    Level,
    Mean,
    Quantile,
    Rate,
    Ratio,
    Reading,
    RequestCount,
    RequestRate,
    RequestShare,
)
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.series import series

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
WINDOW = timedelta(seconds=60)


def metric(second: float, name: str, value: float, kind: Kind = Kind.GAUGE, **more: Any) -> MetricFact:
    plain: dict[str, Any] = {"source": "engine", "replica": "r1", "interval_s": 5.0}
    return MetricFact(
        at=T + timedelta(seconds=second), metric=name, kind=kind, value=value, **{**plain, **more}
    )


def counted(second: float, value: float, **more: Any) -> MetricFact:
    return metric(second, "preemptions", value, Kind.COUNTER, **more)


def observed(second: float, *buckets: Bucket, total: float | None = 1.0, **more: Any) -> MetricFact:
    count = sum(b.count for b in buckets)
    return metric(second, "ttft_s", count, Kind.HISTOGRAM, sum=total, buckets=buckets, **more)


def request(second: float, **more: Any) -> RequestFact:
    return RequestFact(at=T + timedelta(seconds=second), request_id=f"r{second}", source="gateway", **more)


UP, DOWN = metric(-1, "up", 1.0, interval_s=None), metric(-1, "up", 0.0, interval_s=None)
EMPTY = "nothing happened in the window that could be counted"
HITS = Ratio("prefix_cache_hits", "prefix_cache_queries")


def look(
    root: Path, kind: Computation, facts: Sequence[Any], by: tuple[str, ...] = (), **groups: Any
) -> list[Point]:
    """The reading at T over a minute."""
    writer = DeltaWriter(str(root))
    writer.append("metrics", [f for f in facts if isinstance(f, MetricFact)])
    writer.append("requests", [f for f in facts if isinstance(f, RequestFact)])
    return series(DuckReader(str(root)), Reading("r", "", kind, "", by=by), at_instant(T), WINDOW, **groups)


def check(root: Path, kind: Computation, facts: Sequence[Any], expected: float | str) -> None:
    """Its value, or why there is none."""
    [point] = look(root, kind, facts)
    assert (point.missing if point.value is None else point.value) == pytest.approx(expected)


EDGES: dict[str, tuple[Computation, list[Any], float | str]] = {
    "a fact at the window's end is in it": (RequestRate(), [request(0)], 1 / 60),
    "a fact at its beginning is not": (RequestRate(), [request(-60)], "no requests in the window"),
    "a fact after it is not": (RequestRate(), [request(0.000001)], "no requests in the window"),
    "microseconds count": (RequestRate(), [request(-59.999999), request(-60.000001)], 1 / 60),
    "an increment as long as the window fits": (Rate("preemptions"), [counted(0, 6, interval_s=60.0)], 0.1),
    "an increment over a longer time cannot be placed": (
        Rate("preemptions"),
        [counted(-5, 1), counted(0, 600, interval_s=60.5)],
        0.2,
    ),
    "a level after a gap is a level": (
        Level("kv_usage_ratio", "max"),
        [metric(0, "kv_usage_ratio", 0.9, interval_s=900.0)],
        0.9,
    ),
    "two models of a replica are two series": (
        Rate("preemptions"),
        [counted(0, 10, model="a"), counted(0, 5, model="b")],
        3.0,
    ),
    "a mean leaves out what has no sum": (
        Mean("ttft_s", 1000.0),
        [observed(-5, Bucket(0.0, 0.5, 4), total=1.0), observed(0, Bucket(0.0, 0.5, 4), total=None)],
        250.0,
    ),
    "two versions may divide the same range differently": (
        Quantile("ttft_s", 0.55),
        [
            observed(0, Bucket(0.1, 0.5, 10), replica="new"),
            observed(0, Bucket(0.0, 0.25, 9), Bucket(0.25, 0.5, 1), replica="old"),
        ],
        0.1 + 0.4 * (0.55 * 20 - 9) / 11,
    ),
    "an age is that of the last success": (
        Age("up"),
        [metric(-20, "up", 1), metric(-10, "up", 0)],
        20.0,
    ),
    "an outage longer than the window is at least as old as the first look in it": (
        Age("up"),
        [metric(-300, "up", 1), metric(-55, "up", 0), metric(-5, "up", 0)],
        55.0,
    ),
}
REASONS: dict[str, tuple[Computation, list[Any], float | str]] = {
    "nobody looked": (Level("requests_waiting", "sum"), [], "no scrape in the window"),
    "nobody answered": (Level("requests_waiting", "sum"), [DOWN], "no scrape in the window"),
    "this version has no such metric": (Rate("preemptions"), [UP], "not exposed by this version"),
    "nothing was observed": (Quantile("ttft_s", 0.5), [UP, observed(0, total=0.0)], EMPTY),
    "nothing was looked up, which is no hit rate of 0": (
        HITS,
        [
            UP,
            metric(0, "prefix_cache_hits", 0, Kind.COUNTER),
            metric(0, "prefix_cache_queries", 0, Kind.COUNTER),
        ],
        EMPTY,
    ),
    "something was looked up and nothing found, which is one": (
        HITS,
        [
            UP,
            metric(0, "prefix_cache_hits", 0, Kind.COUNTER),
            metric(0, "prefix_cache_queries", 9, Kind.COUNTER),
        ],
        0.0,
    ),
    "an engine at rest stalls nothing": (
        Ratio("generation_tokens", "requests_running"),
        [UP, metric(0, "generation_tokens", 0, Kind.COUNTER), metric(0, "requests_running", 0)],
        EMPTY,
    ),
    "no request": (
        RequestShare(equals("http_status", 429), present("http_status")),
        [],
        "no requests in the window",
    ),
    "no request that counts": (
        RequestShare(equals("http_status", 429), present("http_status")),
        [request(0)],
        "no requests in the window",
    ),
    "no request carries the flag": (
        RequestCount(equals("oom_caught", True), present("oom_caught")),
        [request(0)],
        "no request in the window carries oom_caught",
    ),
    "none ran out of memory, which is a count of 0": (
        RequestCount(equals("oom_caught", True), present("oom_caught")),
        [request(0, oom_caught=False)],
        0.0,
    ),
    "a missing value meets no condition": (
        RequestShare(equals("http_status", 200), always),
        [request(0)],
        0.0,
    ),
}


@pytest.mark.parametrize(
    ("kind", "facts", "expected"), [*EDGES.values(), *REASONS.values()], ids=[*EDGES, *REASONS]
)
def test_a_reading_at_its_edges(
    kind: Computation, facts: list[Any], expected: float | str, store_root: Path
) -> None:
    check(store_root, kind, facts, expected)


def test_a_silent_replica_is_no_scrape_though_its_neighbour_answers(store_root: Path) -> None:
    facts = [UP, metric(0, "kv_usage_ratio", 0.4), replace_replica(DOWN, "r2")]
    groups = [("r1",), ("r2",), ("r3",)]
    found = look(store_root, Level("kv_usage_ratio", "max"), facts, ("replica",), groups=groups)
    assert [(p.group, p.missing or p.value) for p in found] == [
        (("r1",), 0.4),
        (("r2",), "no scrape in the window"),
        (("r3",), "no scrape in the window"),
    ]


def replace_replica(fact: MetricFact, replica: str) -> MetricFact:
    return metric(-1, fact.metric, fact.value, fact.kind, replica=replica)


def test_a_restart_in_the_window_loses_only_what_nobody_saw(store_root: Path) -> None:
    name = BY_NAME["preemptions"].spellings[0].name
    facts: list[MetricFact] = []
    snapshot: Snapshot | None = None
    for k, total in enumerate((100, 130, 20, 50)):  # restarted between the second look and the third
        at = T + timedelta(seconds=10 * k - 30)
        step = advance(snapshot, read(f"{name} {total}\n"), at, source="e", replica="r", max_gap=WINDOW)
        snapshot, facts = step.snapshot, [*facts, *step.metrics]
    check(store_root, Rate("preemptions"), facts, (30 + 20 + 30) / 30)


NAMES = [
    "it's",
    "''",
    "\\",
    "\\'",
    "a\\' OR 1=1 --",
    "{requests}",
    "'{metrics}'",
    '"',
    "%_",
    "a\nb",
    "日本語",
    "--",
    "/*",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_ever_a_name(name: str, store_root: Path) -> None:
    facts = [request(0, adapter=name), request(-1, adapter="other"), metric(0, "up", 1, replica=name)]
    check(store_root, RequestCount(equals("adapter", name)), facts, 1)
    reader = DuckReader(str(store_root))
    ups = series(reader, READINGS["replica_up"], at_instant(T), WINDOW)
    ages = series(reader, READINGS["adapter_e2e_p95_ms"], at_instant(T), WINDOW, [(name,)])
    assert [(p.group, p.value) for p in ups] == [((name,), 1)]
    assert [p.group for p in ages] == [(name,)]
    assert look(store_root / name.encode().hex(), Rate(name), [])[0].missing == "no scrape in the window"


def test_a_store_may_lie_anywhere(tmp_path: Path) -> None:
    root = tmp_path / "it's {requests} 100% ü 日本 b=c #1?"
    check(root, RequestRate(), [request(0)], 1 / 60)
