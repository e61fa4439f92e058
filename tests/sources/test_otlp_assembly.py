"""Spans in any order, late, lost, doubled, mixed: one row a request in the end, and never two."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.model import EventFact, RequestFact
from collectors.signals.startup import stages
from collectors.signals.startup_facts import read
from collectors.signals.traces import Span, request_row
from collectors.sources.otlp.assembly import ALONE_S, BELOW_S, START_S, Assembler, Bounds
from collectors.sources.otlp.grouping import ENGINE_S, SETTLE_S
from collectors.sources.otlp.written import Written
from tests.sources.spans import ENGINE, READY, later, span, start_up, stripped, trace, turned_away

Arrivals = Sequence[tuple[float, Iterable[Span]]]
LONG = 10 * BELOW_S


def assembled(arrivals: Arrivals, bounds: Bounds | None = None, until_s: float = LONG) -> Assembler:
    """What an assembler made of exports that came at these seconds, looked at every second."""
    assembler = Assembler("otlp", Written(), bounds)
    coming = sorted(arrivals, key=lambda a: a[0])
    for second in range(int(until_s) + 1):
        while coming and coming[0][0] <= second:
            at_s, spans = coming.pop(0)
            assembler.add(list(spans), at_s)
        assembler.expire(float(second))
        if not coming and not assembler.traces:
            break
    return assembler


def check(arrivals: Arrivals, expected: Iterable[RequestFact | None], **counts: int) -> None:
    """These rows, once each, and of the spans that make none so many of each kind; nothing is held."""
    found = assembled(arrivals)
    assert Counter(found.take()) == Counter(expected)
    assert +found.counts == Counter(counts)
    assert (found.spans, found.traces) == (0, 0)


def row(spans: Iterable[Span]) -> RequestFact | None:
    return request_row(list(spans), "otlp")


def one_by_one(spans: Iterable[Span], gap_s: float = 0.0) -> list[tuple[float, list[Span]]]:
    return [(gap_s * k, [s]) for k, s in enumerate(spans)]


ROOT, CLIENT, CALL, ENGINE_SPAN = trace()
CASES: dict[str, tuple[Arrivals, list[RequestFact | None], dict[str, int]]] = {
    "all at once": ([(0, trace())], [row(trace())], {}),
    "one by one": (one_by_one(trace(), 1), [row(trace())], {}),
    "the root first, then the rest": (one_by_one([ROOT, ENGINE_SPAN, CALL, CLIENT], 2), [row(trace())], {}),
    "the engine a minute before the gateway": ([(0, [ENGINE_SPAN]), (60, trace()[:3])], [row(trace())], {}),
    "the engine five seconds later, as vLLM exports": (
        [(0, trace()[:3]), (5, [ENGINE_SPAN])],
        [row(trace())],
        {},
    ),
    "an engine that never tells": ([(0, trace()[:3])], [row(trace()[:3])], {}),
    "an engine that tells too late": (
        [(0, trace()[:3]), (ENGINE_S + 1, [ENGINE_SPAN])],
        [row(trace()[:3])],
        {"late": 1},
    ),
    "a middle that was lost": ([(0, [ROOT, CALL, ENGINE_SPAN])], [row([ROOT, CALL, ENGINE_SPAN])], {}),
    "a root that was lost": ([(0, trace()[1:])], [row([ENGINE_SPAN])], {"of_no_request": 2}),
    "a root that comes when nobody waits for it": (
        [(0, trace()[1:]), (BELOW_S + 1, [ROOT])],
        [row([ENGINE_SPAN])],
        {"of_no_request": 2, "late": 1},
    ),
    "an engine alone": ([(0, [replace(ENGINE_SPAN, parent_id=None)])], [row([ENGINE_SPAN])], {}),
    "turned away": ([(0, turned_away())], [row(turned_away())], {}),
    "another program's spans": ([(0, [span(7, 1, "GET /", None, (0, 5), {})])], [], {"of_no_request": 1}),
    "a batch sent twice at once": ([(0, trace()), (0, trace())], [row(trace())], {"late": 4}),
    "the gateway's batch sent twice": (
        [(0, trace()[:3]), (1, trace()[:3]), (3, [ENGINE_SPAN])],
        [row(trace())],
        {"duplicate": 3},
    ),
    "everything sent again a minute later": ([(0, trace()), (60, trace())], [row(trace())], {"late": 4}),
    "where traceparent is stripped": ([(0, stripped(trace()))], [row(stripped(trace()))], {}),
    "stripped, the engine first": (
        [(0, stripped(trace())[3:]), (9, trace()[:3])],
        [row(stripped(trace()))],
        {},
    ),
    "stripped, the engine later": (
        [(0, trace()[:3]), (5, stripped(trace())[3:])],
        [row(stripped(trace()))],
        {},
    ),
    "stripped, the engine too late": (
        [(0, trace()[:3]), (ENGINE_S + 1, stripped(trace())[3:])],
        [row(trace()[:3])],
        {"late": 1},
    ),
    "stripped, the gateway too late": (
        [(0, stripped(trace())[3:]), (ALONE_S + 1, trace()[:3])],
        [row(stripped(trace())[3:])],
        {"late": 1, "of_no_request": 2},
    ),
    "an id that was used before": (
        [(0, trace(1, request="same")), (100, later(trace(2, request="same"), timedelta(minutes=5)))],
        [row(trace(1, request="same")), row(later(trace(2, request="same"), timedelta(minutes=5)))],
        {},
    ),
    "turned away, and tried again under the same id": (
        [(0, turned_away()), (3, later(trace(5, request="req-1"), timedelta(seconds=2)))],
        [row(turned_away()), row(later(trace(5, request="req-1"), timedelta(seconds=2)))],
        {},
    ),
}


@pytest.mark.parametrize(("arrivals", "expected", "counts"), CASES.values(), ids=CASES)
def test_one_row_a_request(
    arrivals: Arrivals, expected: list[RequestFact | None], counts: dict[str, int]
) -> None:
    check(arrivals, expected, **counts)


def same_trace(first: Sequence[Span], *others: Sequence[Span]) -> list[list[Span]]:
    """Requests of one trace, as a client sends them that traces its whole conversation."""
    return [list(first), *([replace(s, trace_id=first[0].trace_id) for s in each] for each in others)]


def test_the_turns_of_one_trace_are_requests_of_their_own() -> None:
    turns = same_trace(
        trace(1), later(trace(2), timedelta(seconds=9)), later(trace(3), timedelta(seconds=20))
    )
    check([(10.0 * k, turn) for k, turn in enumerate(turns)], map(row, turns))


def test_requests_of_one_trace_at_the_same_time_are_kept_apart() -> None:
    both = same_trace(trace(1), trace(2))
    mixed = [s for pair in zip(*both, strict=True) for s in pair]
    check([(0, mixed[:5]), (1, mixed[5:])], map(row, both))


def test_the_calls_of_an_agent_that_sends_no_spans_are_requests_of_their_own() -> None:
    agent = "00000000000000ff"
    calls = [
        replace(s, trace_id="a" * 32, parent_id=agent)
        for s in (trace(1)[3], later(trace(2), timedelta(seconds=9))[3])
    ]
    check([(0, calls)], [row([each]) for each in calls])


def test_a_second_attempt_a_minute_later_belongs_to_the_same_request() -> None:
    minute = timedelta(minutes=1)
    root = replace(ROOT, end=ROOT.end + minute)
    failed = span(1, 51, "vllm_gateway", 12, (10, 310), {}, failed=True, message="out of memory")
    told = span(1, 52, "llm_request", 51, (11, 300), {"gen_ai.request.id": "chatcmpl-req-1", **ENGINE})
    rest = [replace(CLIENT, end=CLIENT.end + minute), *later([CALL, ENGINE_SPAN], minute)]
    expected = row([root, failed, told, *rest])
    check([(0.5, [failed]), (1, [told]), (62, [*rest, root])], [expected])
    assert expected is not None
    assert expected.decode_ms == pytest.approx(900)


# -------------------------------------------------------------------------------------- start-ups
STARTED = start_up(90, "10.0.0.11:8000")
OUTERMOST, *INNER = STARTED
STARTS: dict[str, tuple[Arrivals, int, dict[str, int]]] = {
    "all at once": ([(0, STARTED)], 1, {"of_a_start": 12}),
    "each process for itself, the outermost last": (
        [(0, INNER[4:]), (5, INNER[:4]), (9, [OUTERMOST])],
        1,
        {"of_a_start": 12},
    ),
    "a quarter of an hour between two spans": (
        [(0, INNER[:6]), (900, INNER[6:]), (1000, [OUTERMOST])],
        1,
        {"of_a_start": 12},
    ),
    "a batch that comes after the outermost": (
        [(0, [OUTERMOST, *INNER[:4]]), (ENGINE_S - 1, INNER[4:])],
        1,
        {"of_a_start": 12},
    ),
    "everything sent twice at once": (
        [(0, STARTED), (1, STARTED)],
        1,
        {"of_a_start": 12, "duplicate": 12},
    ),
    "everything sent again a minute later": (
        [(0, STARTED), (60, STARTED)],
        1,
        {"of_a_start": 12, "late": 12},
    ),
    "the outermost alone": ([(0, [OUTERMOST])], 1, {"of_a_start": 1}),
    "one that never ended": ([(0, INNER)], 0, {"of_no_request": 11}),
    "two engines at once": (
        [(0, [*STARTED, *start_up(91, "10.0.0.12:8000")])],
        2,
        {"of_a_start": 24},
    ),
    "among requests": ([(0, [*trace(1), *STARTED, *trace(2)])], 1, {"of_a_start": 12}),
}


@pytest.mark.parametrize(("arrivals", "starts", "counts"), STARTS.values(), ids=STARTS)
def test_a_start_is_told_once(arrivals: Arrivals, starts: int, counts: dict[str, int]) -> None:
    found = assembled(arrivals, until_s=START_S + LONG)
    told = found.take_starts()
    assert [(e.kind, e.at) for e in told] == [("engine_startup", READY)] * starts
    assert [e.subject for e in told] == ["10.0.0.11:8000", "10.0.0.12:8000"][:starts]
    assert +found.counts == Counter(counts)
    assert (found.spans, found.traces, found.take_starts()) == (0, 0, ())


def names(told: EventFact) -> list[str]:
    start = read(told)
    assert start is not None
    return [stage.name for stage in stages(start)]


def test_a_start_waits_for_the_spans_of_its_other_processes() -> None:
    [told] = assembled([(0, [OUTERMOST]), (6, INNER)]).take_starts()
    assert names(told) == ["init", "weights", "KV cache"]


def test_starts_below_one_launcher_wait_for_each_other_no_longer_than_themselves() -> None:
    launched = [replace(s, parent_id=s.parent_id or "f" * 16) for s in STARTED]
    other = [
        replace(s, span_id=f"e{s.span_id[1:]}", parent_id=s.parent_id and f"e{s.parent_id[1:]}")
        for s in launched
    ]
    other = [replace(s, parent_id="f" * 16) if s.name == OUTERMOST.name else s for s in other]
    found = assembled([(0, launched), (0, other[1:]), (100, other[:1])])
    assert [names(told) for told in found.take_starts()] == 2 * [["init", "weights", "KV cache"]]
    assert +found.counts == Counter({"of_a_start": 24})


def test_a_request_is_not_held_back_by_a_start_in_its_trace() -> None:
    engine = replace(ENGINE_SPAN, trace_id=OUTERMOST.trace_id, parent_id=None)
    found = assembled([(0, [engine, *INNER])], until_s=BELOW_S)
    assert [r.request_id for r in found.take()] == ["req-1"]


def test_a_start_has_room_for_more_spans_than_a_request_and_its_outermost_fits() -> None:
    bounds = Bounds(spans_a_trace=20, spans_a_start=40)
    graphs = [span(90, k, "Compile graph", 4, (k, k + 1), {}) for k in range(100, 200)]
    junk = [span(90, k, "GET /", 4, (k, k + 1), {}) for k in range(200, 300)]
    found = assembled([(0, [*graphs[:25], *junk, OUTERMOST, *graphs[25:]])], bounds)
    assert len(found.take_starts()) == 1
    assert +found.counts == Counter({"of_a_start": 40, "crowded": 161})


# -------------------------------------------------------------------------------- whatever happens
REQUESTS = [
    trace(1),
    stripped(trace(2)),
    turned_away(3),
    trace(4)[:3],
    later(trace(5, request="req-1"), timedelta(minutes=30)),
]


@settings(max_examples=40)
@given(
    st.randoms(use_true_random=False),
    st.lists(st.floats(min_value=0, max_value=SETTLE_S - 0.5), min_size=40, max_size=40),
    st.integers(min_value=1, max_value=2),
)
def test_in_every_order_and_however_often_each_request_is_one_whole_row(
    random_: random.Random, waits: list[float], copies: int
) -> None:
    spans = [s for each in REQUESTS for s in each] * copies
    random_.shuffle(spans)
    found = assembled([(wait, [s]) for wait, s in zip(waits, spans, strict=False)]).take()
    assert Counter(found) == Counter(map(row, REQUESTS))


@settings(max_examples=40)
@given(
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.lists(st.floats(min_value=0, max_value=300), min_size=40, max_size=40),
)
def test_whatever_is_lost_or_late_no_request_has_two_rows(kept: list[bool], waits: list[float]) -> None:
    spans = [s for each in REQUESTS[:4] for s in each] * 2
    arrivals = [(w, [s]) for w, s, keep in zip(waits, spans, kept, strict=False) if keep]
    assembler = assembled(arrivals)
    rows = Counter(r.request_id for r in assembler.take())
    assert not rows or max(rows.values()) == 1
    assert {f"req-{n}" for n in (1, 2, 3, 4)} >= set(rows)
    heads = {s.attributes["mangaassist.request_id"] for _, [s] in arrivals if s.name == "orchestrator"}
    assert heads <= set(rows)
    assert (assembler.spans, assembler.traces) == (0, 0)


# ---------------------------------------------------------------------------------------- bounded
def test_more_traces_than_there_is_room_for_are_written_as_they_are() -> None:
    many = [trace(k, request=f"r-{k}")[:3] for k in range(1, 41)]
    found = assembled([(0, [s]) for each in many for s in each], Bounds(traces=10, spans=1000), until_s=0)
    assert found.traces == 10
    assert found.counts["evicted"] == 30
    assert [r.request_id for r in found.take()] == [f"r-{k}" for k in range(1, 31)]


def test_more_spans_than_there_is_room_for_are_not_held() -> None:
    junk = [span(k, 1, "GET /", None, (0, 5), {}) for k in range(1, 100)]
    found = assembled([(0, junk)], Bounds(traces=1000, spans=50), until_s=0)
    assert found.spans == 50
    assert found.counts["evicted"] == 49


def test_one_trace_id_for_everything_is_bounded_too() -> None:
    crowd = [span(1, k, "GET /", None, (0, 5), {}) for k in range(1, 100)]
    found = assembled([(0, crowd)], Bounds(spans_a_trace=20), until_s=0)
    assert (found.spans, found.counts["crowded"]) == (20, 79)


def test_a_steady_stream_leaves_no_planned_looks_behind() -> None:
    assembler = Assembler("otlp", Written(100))
    for k in range(1, 5000):
        spans = trace(k, request=f"r-{k}")
        assembler.add(spans[3:], k * 0.01)
        assembler.add(spans[:3], k * 0.01)
    assert len(assembler.take()) == 4999
    assert len(assembler._looks) <= 1010
    assert assembler._named == {}


def test_when_nothing_more_will_come_everything_is_written() -> None:
    assembler = Assembler("otlp", Written())
    assembler.add([*trace(1)[:3], *trace(2)[3:]], 0.0)
    assembler.finish()
    assert {r.request_id for r in assembler.take()} == {"req-1", "req-2"}
    assert assembler.traces == 0


def test_when_nothing_more_will_come_a_start_is_told_as_far_as_it_is_known() -> None:
    assembler = Assembler("otlp", Written())
    assembler.add([*STARTED, *start_up(91)[1:]], 0.0)
    assembler.finish()
    assert len(assembler.take_starts()) == 1
    assert (assembler.traces, assembler.spans) == (0, 0)


def test_starts_that_nobody_takes_count_as_rows() -> None:
    assembler = Assembler("otlp", Written(), Bounds(rows=1))
    assembler.add(STARTED, 0.0)
    assembler.expire(LONG)
    assert assembler.full
    assembler.take_starts()
    assert not assembler.full


def test_rows_that_nobody_takes_are_told() -> None:
    assembler = Assembler("otlp", Written(), Bounds(rows=2))
    assembler.add([*trace(1), *trace(2)], 0.0)
    assert assembler.full
    assembler.take()
    assert not assembler.full
