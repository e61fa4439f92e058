"""A start-up from its spans: every moment in one stage, however they are nested, doubled, lost or unknown."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.model import EventFact
from collectors.signals.startup import StartUp, stages, with_process
from collectors.signals.startup_facts import brief, event, read, summary, told_once
from collectors.signals.startup_spans import MAX_PIECES, STAGES, members, roots, start_up
from collectors.signals.traces import Span
from tests.sources.spans import READY, T, span
from tests.sources.spans import start_up as real

ENGINE = "10.0.0.11:8000"


def found(spans: Sequence[Span]) -> StartUp:
    [root] = roots(spans)
    return start_up(root, members(root, spans))


def check(spans: Sequence[Span], expected: Mapping[str, float]) -> None:
    """These stages with their seconds in every order of the spans; together they are the whole time."""
    for seed in range(4):
        told = found(random.Random(seed).sample(spans, len(spans)))
        assert {s.name: round(s.length_s, 2) for s in stages(told)} == expected
        assert sum(p.length_s for p in told.pieces) == pytest.approx(told.length_s)


def trace(*spans: tuple[str, int | None, float, float]) -> list[Span]:
    """Spans as (name, number of the parent, begin and end in seconds), numbered from 1."""
    return [
        span(90, n, name, parent, (1000 * begin, 1000 * end), {})
        for n, (name, parent, begin, end) in enumerate(spans, start=1)
    ]


ROOT = ("Overall Loading", None, 0, 100)
CORE, EXECUTOR = ("EngineCoreProc init", 1, 10, 100), ("Executor init", 2, 12, 60)
# As vLLM's source nests them on a GPU: workers stay below "Executor init" after that has ended.
GPU = trace(
    ROOT,
    CORE,
    EXECUTOR,
    ("Worker init", 3, 20, 58),
    ("Init device", 4, 20, 25),
    ("Loading (GPU)", 4, 25, 58),
    ("Load model", 6, 26, 57),
    ("Download weights - HF", 7, 26, 40),
    ("Load weights", 7, 41, 55),
    ("Prepare model", 2, 61, 99),
    ("Compile graph", 3, 62, 75),
    ("Inductor compilation", 11, 63, 74),
    ("Allocate KV cache", 3, 76, 78),
    ("Warmup (GPU)", 3, 78, 98),
    ("Capture model", 14, 85, 97),
)
CASES: dict[str, tuple[list[Span], dict[str, float]]] = {
    "vLLM on the CPU": (real(), {"init": 59.0, "weights": 1.65, "KV cache": 0.7}),
    "vLLM on a GPU": (
        GPU,
        {"init": 29.0, "weights": 33.0, "KV cache": 5.0, "graph capture": 25.0, "warm-up": 8.0},
    ),
    "an outermost span alone": (trace(ROOT), {"init": 100.0}),
    "two workers side by side count once": (
        trace(ROOT, EXECUTOR, ("Load model", 2, 20, 50), ("Load model", 2, 30, 55)),
        {"init": 65.0, "weights": 35.0},
    ),
    "a span of a later release has its own name": (
        trace(ROOT, CORE, ("Tune kernels", 2, 20, 50)),
        {"init": 70.0, "Tune kernels": 30.0},
    ),
    "a span of a later release inside a stage is of that stage": (
        trace(ROOT, ("Load model", 1, 20, 50), ("Convert weights", 2, 30, 40)),
        {"init": 70.0, "weights": 30.0},
    ),
    "parents that were lost": (
        trace(ROOT, ("Load weights", 77, 20, 50), ("Allocate KV cache", 78, 50, 60)),
        {"init": 60.0, "weights": 30.0, "KV cache": 10.0},
    ),
    "parents that stand below each other": (
        trace(ROOT, ("Load model", 3, 20, 50), ("Load weights", 2, 20, 50)),
        {"init": 70.0, "weights": 30.0},
    ),
    "a clock that is ahead": (
        trace(ROOT, ("Load model", 1, 80, 130), ("Load weights", 1, 120, 130)),
        {"init": 80.0, "weights": 20.0},
    ),
    "our gateway": (
        trace(
            ("gateway_startup", None, 0, 100),
            ("wait_for_engine", 1, 2, 90),
            ("warm_up", 1, 90, 99),
            ("load_adapter", 3, 93, 99),
        ),
        {"init": 3.0, "waiting for the engine": 88.0, "warm-up": 3.0, "adapters": 6.0},
    ),
}


@pytest.mark.parametrize(("spans", "expected"), CASES.values(), ids=CASES)
def test_the_stages_of_a_start(spans: list[Span], expected: dict[str, float]) -> None:
    check(spans, expected)


def test_a_stage_says_when_it_was_and_which_spans_told_of_it() -> None:
    init, weights, _ = stages(found(real()))
    assert [round(offset) for offset, _ in init.bars] == [0, 59, 60]
    assert [name for name, _ in init.told[:2]] == ["Executor init", "AsyncMPClient init"]
    [(offset, length)] = weights.bars
    assert (offset, length) == pytest.approx((57.8, 1.65), abs=0.01)


def test_starts_that_one_launcher_began_are_told_apart() -> None:
    launched = [replace(s, parent_id=s.parent_id or "f" * 16) for s in GPU]
    others = [
        replace(s, span_id=f"e{s.span_id[1:]}", parent_id=s.parent_id and f"e{s.parent_id[1:]}")
        for s in launched
    ]
    both = [*launched, *others]
    assert [start_up(r, members(r, both)).pieces for r in roots(both)] == 2 * [found(GPU).pieces]


def test_what_came_before_the_first_span_is_init() -> None:
    told = found(real())
    whole = with_process(told, T - timedelta(seconds=48))
    assert whole.length_s == pytest.approx(told.length_s + 48)
    assert sum(p.length_s for p in whole.pieces) == pytest.approx(whole.length_s)
    assert stages(whole)[0].told[0] == ("process and imports", 48.0)
    assert with_process(told, T) == told


# --------------------------------------------------------------------------------------- as a fact
def test_a_start_is_one_event_and_comes_back_from_it() -> None:
    told = found(real(who=ENGINE))
    kept = event(told, "otlp")
    assert (kept.at, kept.kind, kept.subject, kept.before) == (READY, "engine_startup", ENGINE, None)
    back = read(kept)
    assert back is not None
    assert replace(back, pieces=()) == replace(told, pieces=())
    for one, other in zip(back.pieces, told.pieces, strict=True):
        assert (one.stage, one.span) == (other.stage, other.span)
        assert (one.offset_s, one.length_s) == pytest.approx((other.offset_s, other.length_s), abs=0.0006)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "engine 10.0.0.11:8000 started, ready after 61 s of loading"),
        ({"sender": None}, "engine started, ready after 61 s of loading"),
        ({"end": T + timedelta(seconds=2)}, "engine 10.0.0.11:8000 started, ready after 2.0 s of loading"),
        ({"failed": True, "message": "no memory"}, "failed to start after 61 s: no memory"),
        ({"failed": True}, "failed to start after 61 s: it failed"),
        ({"name": "gateway_startup"}, "gateway 10.0.0.11:8000 started, ready after 61 s of warming up"),
    ],
)
def test_it_reads_as_one_change(change: dict[str, object], words: str) -> None:
    root = replace(real(who=ENGINE)[0], **change)  # type: ignore[arg-type]
    told = event(found([root]), "otlp")
    assert words in summary(told)
    assert summary(told).startswith(brief(told))


@pytest.mark.parametrize(
    "after", [None, "", "{", "[]", "{}", '{"pieces": [[1]]}', '{"begin": 5, "pieces": []}']
)
def test_an_event_that_cannot_be_read_is_none(after: str | None) -> None:
    fact = EventFact(T, "engine_startup", ENGINE, "otlp", None, after)
    assert read(fact) is None
    assert summary(fact) == brief(fact) == "engine 10.0.0.11:8000 started"


def test_of_two_events_of_one_start_one_counts() -> None:
    kept = event(found(real()), "otlp")
    other = event(found(real(91)), "otlp")
    restart = EventFact(T, "engine_restart", ENGINE, "engine", "a", "b")
    assert len(told_once([kept, restart, kept, other])) == 2


# -------------------------------------------------------------------------------- whatever happens
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*STAGES, "Other", "Another"]),
            st.one_of(st.none(), st.integers(0, 40)),
            st.integers(-20, 120),
            st.integers(0, 60),
        ),
        max_size=40,
    )
)
def test_stages_sum_to_the_whole_and_leave_no_gap(
    drawn: list[tuple[str, int | None, float, float]],
) -> None:
    spans = [*trace(ROOT), *trace(*((n, p, b, b + d) for n, p, b, d in drawn))]
    named = [replace(s, span_id=f"{k:016x}") for k, s in enumerate(spans)]
    told = start_up(named[0], members(named[0], named))
    at = 0.0
    for piece in told.pieces:
        assert piece.offset_s == pytest.approx(at, abs=1e-6)
        assert piece.length_s > 0
        at += piece.length_s
    assert at == pytest.approx(100.0)
    assert sum(s.length_s for s in stages(told)) == pytest.approx(100.0)


def test_very_many_spans_are_a_few_pieces() -> None:
    graphs = [("Compile graph" if k % 2 else "Load weights", 1, k / 10, k / 10 + 0.06) for k in range(900)]
    told = found(trace(ROOT, *graphs))
    assert len(told.pieces) <= MAX_PIECES
    assert sum(p.length_s for p in told.pieces) == pytest.approx(100.0)
