"""From one scrape to the next: increments that are never negative and never counted twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.model import Bucket, EventFact, Kind
from collectors.signals.exposition import Distribution, Exposition, Fault, Key
from collectors.signals.increments import Advance, Snapshot, advance

T0 = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BORN = T0.timestamp() - 3600
STARTED = Key("process_start_s", "", "", "")
TOKENS, PREEMPTIONS = Key("prompt_tokens", "m", "0", ""), Key("preemptions", "m", "0", "")
STOPPED, ABORTED = Key("requests_finished", "m", "0", "stop"), Key("requests_finished", "m", "0", "abort")
TTFT, RUNNING = Key("ttft_s", "m", "0", ""), Key("requests_running", "m", "0", "")


def seen(
    counters: Mapping[Key, float] | None = None,
    *,
    ttft: Distribution | None = None,
    started_s: float | None = BORN,
    damaged: Sequence[str] = (),
) -> Exposition:
    return Exposition(
        gauges={RUNNING: 7.0} | ({STARTED: started_s} if started_s is not None else {}),
        counters=dict(counters or {}),
        histograms={TTFT: ttft} if ttft else {},
        damaged=frozenset(damaged),
        faults=tuple(Fault(name, "line 2: the value is nan", "Look") for name in damaged),
        exposed=frozenset(),
        versions="0.21 – 0.33",
        samples=9,
    )


def times(
    *counts: float, total: float = 1.0, bounds: tuple[float, ...] = (0.1, 0.5, math.inf)
) -> Distribution:
    """A histogram from the observations in each bucket by itself."""
    return Distribution(bounds, tuple(accumulate(counts)), total)


def run(steps: Sequence[tuple[float, Exposition]]) -> list[Advance]:
    """Scrapes at seconds after T0, one after the other."""
    done: list[Advance] = []
    before: Snapshot | None = None
    for second, exposition in steps:
        at = T0 + timedelta(seconds=second)
        done.append(advance(before, exposition, at, source="engine", replica="r1", max_gap=MINUTE))
        before = done[-1].snapshot
    return done


@dataclass(frozen=True)
class Expected:
    """What the last scrape brings. `grown` is (increment, interval in seconds) by series."""

    grown: Mapping[Key, tuple[float, float]]
    events: Sequence[str] = ()
    problems: Sequence[str] = ()
    levels: bool = True


def check(steps: Sequence[tuple[float, Exposition]], expected: Expected) -> None:
    last = run(steps)[-1]
    assert {
        Key(f.metric, f.model, f.engine, f.label): (f.value, f.interval_s)
        for f in last.metrics
        if f.kind is not Kind.GAUGE
    } == expected.grown
    assert [event.kind for event in last.events] == list(expected.events)
    assert len(last.problems) == len(expected.problems)
    for problem, words in zip(last.problems, expected.problems, strict=True):
        assert words in problem.what
        assert problem.remedy
    assert any(f.kind is Kind.GAUGE for f in last.metrics) is expected.levels
    at = T0 + timedelta(seconds=steps[-1][0])
    assert {(f.at, f.source, f.replica) for f in last.metrics} <= {(at, "engine", "r1")}


AFTER = BORN + 3605  # five seconds after T0: between the first scrape and the second
LONG_AGO = BORN + 1800
CASES = [
    pytest.param([(0, seen({TOKENS: 5}))], Expected({}), id="the first scrape tells levels only"),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen({TOKENS: 12}))],
        Expected({TOKENS: (7, 10)}),
        id="what a counter grew",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen({TOKENS: 5}))],
        Expected({TOKENS: (0, 10)}),
        id="nothing is a fact too",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5, PREEMPTIONS: 2})), (10, seen({TOKENS: 3, PREEMPTIONS: 4}))],
        Expected({TOKENS: (3, 10), PREEMPTIONS: (2, 10)}),
        id="one counter that fell began again, alone",
    ),
    pytest.param(
        [
            (0, seen({TOKENS: 5, PREEMPTIONS: 2, STOPPED: 1}, started_s=None)),
            (10, seen({TOKENS: 3, PREEMPTIONS: 0, STOPPED: 4}, started_s=None)),
        ],
        Expected({TOKENS: (3, 10), PREEMPTIONS: (0, 10), STOPPED: (4, 10)}, ["engine_restart"]),
        id="two counters that fell are a restart, also for a third that overtook itself",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen({TOKENS: 12}, started_s=AFTER))],
        Expected({TOKENS: (12, 10)}, ["engine_restart"]),
        id="a new start time is a restart, though the counter is higher than before",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen({TOKENS: 12}, started_s=BORN + 0.01))],
        Expected({TOKENS: (7, 10)}),
        id="a start time off by rounding is the same process",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen({TOKENS: 9000}, started_s=LONG_AGO))],
        Expected({}, ["engine_restart"], ["another engine answers at this address"]),
        id="a process that ran before we last looked brings no increments of its past",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5}, started_s=LONG_AGO)), (10, seen({TOKENS: 9000}))],
        Expected({}, [], ["another engine answers at this address"]),
        id="an older process than before is behind a load balancer, not restarted",
    ),
    pytest.param(
        [
            (0, seen({TOKENS: 5}, started_s=LONG_AGO)),
            (10, seen({TOKENS: 9000})),
            (20, seen({TOKENS: 9001})),
        ],
        Expected({TOKENS: (1, 10)}),
        id="after another process took over, counting goes on from it",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen({TOKENS: 6}, started_s=None)), (20, seen({TOKENS: 8}))],
        Expected({TOKENS: (2, 10)}),
        id="a start time that was missing once is no restart",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen({TOKENS: 5, STOPPED: 3}))],
        Expected({TOKENS: (0, 10), STOPPED: (3, 10)}),
        id="a series born since counts from zero",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5, STOPPED: 3})), (10, seen({TOKENS: 5})), (20, seen({TOKENS: 5, STOPPED: 4}))],
        Expected({TOKENS: (0, 10), STOPPED: (1, 20)}),
        id="a series that was away grew since it was last seen",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen(damaged=["prompt_tokens"])), (20, seen({TOKENS: 9}))],
        Expected({TOKENS: (4, 20)}),
        id="a series that was damaged loses nothing",
    ),
    pytest.param(
        [(0, seen(damaged=["prompt_tokens"])), (10, seen({TOKENS: 900}))],
        Expected({}),
        id="damaged at first sight, a series is no newborn: its past is not ours",
    ),
    pytest.param(
        [(0, seen(damaged=["prompt_tokens"])), (10, seen({TOKENS: 900})), (20, seen({TOKENS: 901}))],
        Expected({TOKENS: (1, 10)}),
        id="and counts from when it was first read",
    ),
    pytest.param(
        [
            (0, seen(damaged=["requests_finished"])),
            (10, seen({STOPPED: 900})),
            (20, seen({STOPPED: 900, ABORTED: 2})),
        ],
        Expected({STOPPED: (0, 10), ABORTED: (2, 10)}),
        id="a metric read once is known: its later series are newborn",
    ),
    pytest.param(
        [(0, seen(damaged=["prompt_tokens"])), (10, seen({TOKENS: 9}, started_s=AFTER))],
        Expected({TOKENS: (9, 10)}, ["engine_restart"]),
        id="unless the process is new: then all of it is",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (10, seen(damaged=["prompt_tokens"]))],
        Expected({}, [], ["prompt_tokens: line 2: the value is nan"]),
        id="what could not be read is a problem",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (60, seen({TOKENS: 12}))],
        Expected({TOKENS: (7, 60)}),
        id="the longest interval",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (61, seen({TOKENS: 12}))],
        Expected({TOKENS: (7, 61)}, ["telemetry_gap"]),
        id="above it the increment is true, and the gap is said",
    ),
    pytest.param(
        [(0, seen({TOKENS: 5})), (900, seen({TOKENS: 3}, started_s=BORN + 4000))],
        Expected({TOKENS: (3, 900)}, ["telemetry_gap", "engine_restart"]),
        id="a restart within a gap",
    ),
    pytest.param(
        [(10, seen({TOKENS: 5})), (0, seen({TOKENS: 12}))],
        Expected({}, [], ["the clock went back"], levels=False),
        id="a clock that went back tells nothing",
    ),
    pytest.param(
        [(10, seen({TOKENS: 5})), (10, seen({TOKENS: 12}))],
        Expected({}, [], ["the clock went back"], levels=False),
        id="nor does one that stood still",
    ),
    pytest.param(
        [(10, seen({TOKENS: 5})), (0, seen({TOKENS: 12})), (3, seen({TOKENS: 14}))],
        Expected({TOKENS: (2, 3)}),
        id="after it counting begins anew",
    ),
    pytest.param(
        [(0, seen(ttft=times(1, 1, 0))), (10, seen(ttft=times(1, 1, 0)))],
        Expected({TTFT: (0, 10)}),
        id="no new observation is a fact too",
    ),
    pytest.param(
        [(0, seen(ttft=times(5, 0, 0))), (10, seen(ttft=times(4, 9, 0)))],
        Expected({TTFT: (13, 10)}),
        id="a histogram of which one bucket fell began again as a whole",
    ),
    pytest.param(
        [
            (0, seen({TOKENS: 5}, ttft=times(5, 0, 0), started_s=None)),
            (10, seen({TOKENS: 7}, ttft=times(9, 0, bounds=(0.2, math.inf)), started_s=None)),
        ],
        Expected({TTFT: (9, 10), TOKENS: (7, 10)}, ["engine_restart"]),
        id="new bucket bounds are a restart",
    ),
    pytest.param(
        [(0, seen(ttft=times(5, 0, 0, total=2.0))), (10, seen(ttft=times(6, 0, 0, total=1.5)))],
        Expected({TTFT: (1, 10)}, [], ["its sum fell"]),
        id="a sum that fell alone is not known",
    ),
]


@pytest.mark.parametrize(("steps", "expected"), CASES)
def test_between_two_scrapes(steps: Sequence[tuple[float, Exposition]], expected: Expected) -> None:
    check(steps, expected)


def test_new_observations_stand_in_their_own_buckets() -> None:
    fact = run([(0, seen(ttft=times(4, 2, 0, total=1.0))), (10, seen(ttft=times(7, 2, 1, total=3.5)))])[
        -1
    ].metrics[-1]
    assert (fact.value, fact.sum) == (4, 2.5)
    assert fact.buckets == (Bucket(0.0, 0.1, 3), Bucket(0.5, math.inf, 1))
    assert (fact.metric, fact.model, fact.engine, fact.kind) == ("ttft_s", "m", "0", Kind.HISTOGRAM)


def test_events_say_what_was_before_and_after() -> None:
    events = run([(0, seen()), (754, seen(started_s=BORN + 4000))])[-1].events
    at = T0 + timedelta(seconds=754)
    assert events == (
        EventFact(
            at,
            "telemetry_gap",
            "r1",
            "engine",
            "last scrape 2026-11-21 09:00:00 UTC",
            "next scrape 2026-11-21 09:12:34 UTC, 12 min 34 s later",
        ),
        EventFact(
            at,
            "engine_restart",
            "r1",
            "engine",
            "started 2026-11-21 08:00:00 UTC, vLLM 0.21 – 0.33",
            "started 2026-11-21 09:06:40 UTC, vLLM 0.21 – 0.33",
        ),
    )


def test_the_snapshot_knows_the_last_scrape_and_the_one_before_it_is_untouched() -> None:
    first = run([(0, seen({TOKENS: 5}))])[0].snapshot
    again = replace(seen({TOKENS: 6}), versions="0.33", exposed=frozenset({"prompt_tokens"}))
    second = advance(first, again, T0 + MINUTE, source="s", replica="r", max_gap=MINUTE).snapshot
    assert (second.at, second.versions) == (T0 + MINUTE, "0.33")
    assert second.exposed == {"prompt_tokens"}
    assert first.series[TOKENS] == (T0, 5)


# ---------------------------------------------------------------------------------------- any history
# A life of an engine: what each scrape finds new, in three buckets. Several lives are restarts between.
NEW = st.tuples(*[st.integers(0, 1000)] * 3)
LIVES = st.lists(st.lists(NEW, min_size=1, max_size=6), min_size=1, max_size=5)


@given(LIVES, st.booleans())
def test_increments_add_up_to_what_was_counted_and_are_never_negative(lives, start_known: bool) -> None:
    done = run(list(scrapes(lives, start_known=start_known)))
    facts = [fact for step in done for fact in step.metrics if fact.kind is not Kind.GAUGE]
    assert all(fact.value >= 0 for fact in facts)
    assert all(fact.sum is None or fact.sum >= 0 for fact in facts)
    for fact in facts:
        if fact.buckets is not None:
            assert sum(bucket.count for bucket in fact.buckets) == fact.value
            assert all(bucket.count > 0 and bucket.low < bucket.high for bucket in fact.buckets)
    if start_known:
        counted = sum(map(sum, lives[0][1:])) + sum(sum(new) for life in lives[1:] for new in life)
        for metric in ("prompt_tokens", "ttft_s"):
            assert sum(fact.value for fact in facts if fact.metric == metric) == counted
        assert sum(event.kind == "engine_restart" for step in done for event in step.events) == len(lives) - 1


def scrapes(lives, *, start_known: bool):
    """Every scrape of every life, ten seconds apart, a new process beginning just before its first."""
    second = 0
    for life in lives:
        started_s = T0.timestamp() + second - 1
        totals = [0, 0, 0]
        for new in life:
            totals = [total + more for total, more in zip(totals, new, strict=True)]
            counters = {TOKENS: float(sum(totals))}
            ttft = times(*map(float, totals), total=float(sum(totals)))
            yield second, seen(counters, ttft=ttft, started_s=started_s if start_known else None)
            second += 10


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=20))
def test_a_lone_counter_follows_prometheus(values: list[float]) -> None:
    done = run([(10 * i, seen({TOKENS: value})) for i, value in enumerate(values)])
    grown = [fact.value for step in done for fact in step.metrics if fact.kind is Kind.COUNTER]
    expected = [b - a if b >= a else b for a, b in pairwise(values)]
    assert grown == expected


# ------------------------------------------------------------------------------------ configuration
def test_a_restart_with_another_configuration_tells_both() -> None:
    one, other = {"gpu_memory_utilization": "0.92"}, {"gpu_memory_utilization": "0.5"}
    first, second, third = run(
        [
            (0, replace(seen({TOKENS: 9.0}), configuration=one)),
            (15, seen({TOKENS: 9.0})),
            (30, replace(seen({TOKENS: 1.0}, started_s=BORN + 20), configuration=other)),
        ]
    )
    assert [e.kind for e in first.events] == ["present_at_start"]
    assert second.events == ()
    assert [(e.kind, e.subject) for e in third.events] == [
        ("engine_restart", "r1"),
        ("configuration", "configuration of r1"),
    ]
    assert third.events[1].before is not None
    assert third.events[1].before.startswith("gpu_memory_utilization=0.92; ")
