"""Every kind of reading, computed by the store, is what plain Python computes from the same facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from collectors.signals.points import Grid, Point, at_instant
from collectors.signals.predicates import Where, equals, present
from collectors.signals.readings import (
    Age,
    Computation,
    HistogramShare,
    Level,
    Mean,
    Quantile,
    Rate,
    Ratio,
    Reading,
    RequestCount,
    RequestQuantile,
    RequestRate,
    RequestShare,
)
from collectors.store.duckdb import DuckReader
from collectors.store.reader import Reader
from collectors.store.series import series
from tests.store.bruteforce import expected
from tests.store.generated import BOUNDS, LENGTH_S, START, Facts, generated

SEEDS = range(30)
FAILED, ANSWERED = Where("http_status", ">=", 400), present("http_status")
KINDS: dict[str, tuple[Computation, tuple[str, ...]]] = {
    "rate": (Rate("requests_finished"), ()),
    "rate by replica": (Rate("generation_tokens"), ("replica",)),
    "ratio of counters": (Ratio("prefix_cache_hits", "prefix_cache_queries"), ()),
    "ratio of a counter and a level": (Ratio("generation_tokens", "requests_running"), ("replica",)),
    "mean": (Mean("ttft_s", 1000.0), ()),
    "median of a histogram": (Quantile("ttft_s", 0.5, 1000.0), ()),
    "P95 of a histogram by replica": (Quantile("ttft_s", 0.95), ("replica",)),
    "share under a bucket's bound": (HistogramShare("ttft_s", 0.25), ()),
    "share inside a bucket": (HistogramShare("ttft_s", 0.2), ("replica",)),
    "share inside the open bucket": (HistogramShare("ttft_s", 3.0), ()),
    "highest level by replica": (Level("kv_usage_ratio", "max"), ("replica",)),
    "lowest level": (Level("kv_usage_ratio", "min"), ()),
    "sum of levels": (Level("requests_waiting", "sum"), ()),
    "mean level": (Level("requests_waiting", "avg"), ()),
    "age by replica": (Age("up"), ("replica",)),
    "a metric that this version lacks": (Rate("preemptions"), ("replica",)),
    "a ratio that half exists": (Ratio("preemptions", "prefix_cache_queries"), ()),
    "median of requests": (RequestQuantile("ttft_ms", 0.5), ()),
    "P99 of requests by adapter": (RequestQuantile("e2e_ms", 0.99), ("adapter",)),
    "quantile of whole numbers": (RequestQuantile("output_tokens", 0.9), ()),
    "share of requests": (RequestShare(FAILED, ANSWERED), ("adapter",)),
    "share of all requests": (RequestShare(Where("http_status", "!=", 200)), ()),
    "count of what few say": (RequestCount(equals("oom_caught", True), present("oom_caught")), ("adapter",)),
    "count of a text": (RequestCount(equals("adapter", "it's {requests}")), ()),
    "rate of requests": (RequestRate(), ("replica",)),
    "rate of some requests": (RequestRate(Where("http_status", "<", 400)), ()),
}


def reading(name: str) -> Reading:
    computation, by = KINDS[name]
    return Reading(name, "", computation, "", by=by)


def looks(seed: int) -> list[tuple[Grid, timedelta]]:
    """A range of instants and a single one, with a window that may be shorter than the gaps."""
    rng = Random(seed)
    step = timedelta(seconds=rng.choice((1, 7.5, 30, 60)))
    start = START + timedelta(seconds=rng.randint(0, LENGTH_S // 2))
    window = timedelta(seconds=rng.choice((10, 60, 300)))
    return [(Grid(start, step, rng.randint(2, 12)), window), (at_instant(start + step), window)]


def check(reader: Reader, facts: Facts, kind: Reading, grid: Grid, window: timedelta) -> None:
    groups = [("nobody",) * len(kind.by)] if kind.by else []
    agree(series(reader, kind, grid, window, groups), expected(facts, kind, grid, window, groups), kind.name)


def agree(found: Sequence[Point], wanted: Sequence[Point], name: str) -> None:
    """The same points, numbers within 1e-9."""
    texts = [(p.at, p.group, p.missing) for p in found]
    assert texts == [(p.at, p.group, p.missing) for p in wanted], name
    assert numbers(found) == pytest.approx(numbers(wanted), rel=1e-9, abs=1e-12), name


def numbers(points: Sequence[Point]) -> list[float]:
    """All of them; -1 stands for none, for no reading is negative."""
    return [-1.0 if n is None else n for p in points for n in (p.value, p.low, p.high, p.count)]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_agrees_with_brute_force(seed: int, store_root: Path) -> None:
    facts, reader = generated(seed, store_root), DuckReader(str(store_root))
    with reader.snapshot():
        for number, name in enumerate(KINDS):
            grid, window = looks(seed)[(seed + number) % 2]
            check(reader, facts, reading(name), grid, window)


# ----------------------------------------------------------------------------------- single properties
@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, DuckReader]:
    """One full store for what needs no variety."""
    root = tmp_path_factory.mktemp("series") / "store"
    return generated(3, root), DuckReader(str(root))


@pytest.mark.parametrize("name", KINDS)
def test_an_instant_reads_the_same_alone_and_in_a_range(name: str, store: tuple[Facts, DuckReader]) -> None:
    grid = Grid(START + timedelta(seconds=200), timedelta(seconds=45), 8)
    whole = series(store[1], reading(name), grid, timedelta(seconds=60))
    for at in grid.instants():
        alone = series(store[1], reading(name), at_instant(at), timedelta(seconds=60))
        within = [p for p in whole if p.at == at]
        agree([p for p in alone if p.value is not None], [p for p in within if p.value is not None], name)


def bounded(reader: Reader, kind: Computation) -> list[tuple[float, float, float]]:
    """(low, value, high) by replica over the whole store."""
    grid = Grid(START, timedelta(seconds=20), 30)
    found = series(reader, Reading("r", "", kind, "", by=("replica",)), grid, timedelta(seconds=60))
    return [(p.low or 0.0, p.value, p.high or 0.0) for p in found if p.value is not None]


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_lies_inside_its_bucket(q: float, store: tuple[Facts, DuckReader]) -> None:
    found = bounded(store[1], Quantile("ttft_s", q))
    assert len(found) > 9
    for low, value, high in found:
        assert (low, high) in set(pairwise(BOUNDS))
        assert low <= value <= high
        assert (value == low) == (high == BOUNDS[-1])


@pytest.mark.parametrize("below", [0.05, 0.1, 0.2, 0.5, 0.7, 5.0])
def test_a_share_lies_within_bounds_that_meet_at_a_buckets_edge(
    below: float, store: tuple[Facts, DuckReader]
) -> None:
    found = bounded(store[1], HistogramShare("ttft_s", below))
    assert len(found) > 9
    for low, value, high in found:
        assert 0 <= low <= value <= high <= 1
        assert low == high or below not in BOUNDS
