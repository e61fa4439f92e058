"""From the spans of a trace, in whatever order they stand, to the request's one row."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.model import RequestFact
from collectors.signals.traces import ATTRIBUTES, MAX_TEXT, Span, request_row, roots
from tests.sources.spans import ENGINE, ROOT, T, span, stripped, trace, turned_away

ROW = RequestFact(
    at=T + timedelta(seconds=1),
    request_id="req-1",
    source="otlp",
    trace_id=f"{1:032x}",
    session_id="s-1",
    turn=2,
    replica="10.0.0.11:8000",
    variant="primary",
    model="manga-base",
    adapter="manga_domain_v3",
    backend_version="manga-base+manga_domain_v3",
    prompt_version="v42",
    intent="recommendation",
    locale="ja-JP",
    http_status=200,
    prompt_tokens=1200,
    cached_tokens=900,
    output_tokens=80,
    budget_trimmed=False,
    oom_caught=False,
    frontend_ms=10.0,
    gateway_ms=50.0,
    queue_ms=10.0,
    prefill_ms=30.0,
    decode_ms=900.0,
    ttft_ms=56.5,
    e2e_ms=1000.0,
    prefix_fingerprint="0f3a",
)
UNKNOWN_STAGES: dict[str, Any] = dict.fromkeys(
    ["frontend_ms", "gateway_ms", "queue_ms", "prefill_ms", "decode_ms"]
)


def check(spans: list[Span], expected: RequestFact | None) -> None:
    """The same row in every order; times to a nanosecond."""
    for seed in range(4):
        shuffled = random.Random(seed).sample(spans, len(spans))
        found = request_row(shuffled, "otlp")
        assert (found is None) == (expected is None)
        if found and expected:
            for field in fields(RequestFact):
                one, other = getattr(found, field.name), getattr(expected, field.name)
                assert one == (pytest.approx(other, abs=1e-6) if isinstance(other, float) else other), (
                    field.name
                )


def with_attributes(number: int, changed: Mapping[str, Any]) -> list[Span]:
    """A good trace with attributes of one of its spans changed; None takes one away."""
    spans = trace()
    left = {k: v for k, v in {**spans[number].attributes, **changed}.items() if v is not None}
    spans[number] = replace(spans[number], attributes=left)
    return spans


def second_attempt() -> list[Span]:
    """A call that failed after 300 ms, and another that answered."""
    first = span(
        1, 51, "vllm_gateway", 12, (10, 310), {"mangaassist.replica": "a"}, failed=True, message="gone"
    )
    late = [replace(s, start=s.start + timedelta(milliseconds=300)) for s in trace()[2:]]
    return [*trace()[:2], first, *late]


def both_attempts_heard() -> list[Span]:
    """The same, and the engine told of the first attempt too."""
    told = {"gen_ai.request.id": "chatcmpl-req-1", **ENGINE, "gen_ai.latency.time_in_queue": 0.2}
    return [*second_attempt(), span(1, 52, "llm_request", 51, (11, 300), told)]


def shadowed() -> list[Span]:
    """Beside the request, the same to another backend whose answer nobody sees."""
    shadow = span(1, 61, "generation_client", 11, (20, 2000), {"mangaassist.variant": "shadow"})
    call = span(1, 62, "vllm_gateway", 61, (21, 1990), {"mangaassist.replica": "shadow:1"})
    engine = span(1, 63, "llm_request", 62, (22, 1980), {**ENGINE, "gen_ai.latency.e2e": 1.9})
    return [*trace(), shadow, call, engine]


ENGINE_ROW = RequestFact(
    at=T + timedelta(milliseconds=970),
    request_id="req-1",
    source="otlp",
    trace_id=f"{1:032x}",
    prompt_tokens=1200,
    output_tokens=80,
    frontend_ms=10.0,
    gateway_ms=0.0,
    queue_ms=10.0,
    prefill_ms=30.0,
    decode_ms=900.0,
    ttft_ms=50.0,
    e2e_ms=950.0,
)
CASES: dict[str, tuple[list[Span], RequestFact | None]] = {
    "a whole trace": (trace(), ROW),
    "the engine's span in a trace of its own": (stripped(trace()), ROW),
    "the gateway's root below a caller's span": (
        [replace(trace()[0], parent_id="00000000000000aa"), *trace()[1:]],
        ROW,
    ),
    "no engine's span": (trace()[:3], replace(ROW, **UNKNOWN_STAGES)),
    "the root alone": (trace()[:1], replace(ROW, **UNKNOWN_STAGES, replica=None)),
    "the engine's span alone": (trace()[3:], ENGINE_ROW),
    "an engine that tells no time": (
        [replace(trace()[3], attributes={"gen_ai.request.id": "cmpl-req-1"})],
        RequestFact(T + timedelta(milliseconds=970), "req-1", "otlp", trace_id=f"{1:032x}", e2e_ms=958.0),
    ),
    "nothing": ([], None),
    "spans of no request": ([span(1, 1, "Load weights", None, (0, 9), {})], None),
    "a gateway whose root never came": (trace()[1:3], None),
    "turned away": (
        turned_away(),
        RequestFact(
            T + timedelta(milliseconds=3),
            "req-1",
            "otlp",
            trace_id=f"{1:032x}",
            http_status=429,
            error_kind="rejected",
            e2e_ms=3.0,
        ),
    ),
    "a failure whose kind nobody named": (
        [
            replace(s, attributes={k: v for k, v in s.attributes.items() if "kind" not in k})
            for s in turned_away()
        ],
        RequestFact(
            T + timedelta(milliseconds=3),
            "req-1",
            "otlp",
            trace_id=f"{1:032x}",
            http_status=429,
            error_kind="rejected",
            e2e_ms=3.0,
        ),
    ),
    "a second attempt, of which the engine told": (second_attempt(), ROW),
    "two attempts, of which the engine told both": (both_attempts_heard(), ROW),
    "shadow traffic beside it": (shadowed(), ROW),
    "a root without an id has the engine's": (with_attributes(0, {"mangaassist.request_id": None}), ROW),
    "without any id it has the trace's": (
        [replace(trace()[0], attributes=ROOT)],
        replace(ROW, **UNKNOWN_STAGES, replica=None, request_id=f"{1:032x}"),
    ),
    "tokens that only the engine told": (
        with_attributes(0, {"mangaassist.input_tokens": None, "mangaassist.output_tokens": None}),
        ROW,
    ),
    "cached tokens that only the call told": (
        [
            replace(s, attributes={**s.attributes, "mangaassist.cached_tokens": 7})
            if s.name == "vllm_gateway"
            else replace(s, attributes={k: v for k, v in s.attributes.items() if "cached" not in k})
            for s in trace()
        ],
        replace(ROW, cached_tokens=7),
    ),
    "a replica by its address and port": (
        with_attributes(2, {"mangaassist.replica": None, "server.address": "10.0.0.11", "server.port": 8000}),
        ROW,
    ),
    "a replica by its address": (
        with_attributes(2, {"mangaassist.replica": None, "server.address": "vllm.internal"}),
        replace(ROW, replica="vllm.internal"),
    ),
    "no backend named, so the model asked for": (
        with_attributes(0, {"mangaassist.backend_version": None}),
        replace(ROW, backend_version=None, model="manga_domain_v3"),
    ),
}


@pytest.mark.parametrize(("spans", "expected"), CASES.values(), ids=CASES)
def test_the_row_of_a_trace(spans: list[Span], expected: RequestFact | None) -> None:
    check(spans, expected)


# what a column cannot hold is unknown: the row is written all the same
ODD: dict[str, tuple[str, Any, str, Any]] = {
    "a number beyond the column": ("mangaassist.input_tokens", 2**31, "prompt_tokens", 1200),
    "a number below nothing": ("mangaassist.turn", -1, "turn", None),
    "a truth where a number stands": ("mangaassist.turn", True, "turn", None),
    "a text where a number stands": ("mangaassist.turn", "2", "turn", None),
    "a number where a text stands": ("mangaassist.locale", 3, "locale", None),
    "an empty text": ("mangaassist.adapter_id", "", "adapter", None),
    "a long text": ("mangaassist.adapter_id", "a" * 9999, "adapter", "a" * MAX_TEXT),
    "no number": ("mangaassist.ttft_ms", float("nan"), "ttft_ms", None),
    "endless": ("mangaassist.ttft_ms", float("inf"), "ttft_ms", None),
    "a negative time": ("mangaassist.ttft_ms", -3.5, "ttft_ms", None),
    "whole milliseconds": ("mangaassist.ttft_ms", 56, "ttft_ms", 56.0),
    "a word for a truth": ("mangaassist.oom_caught", "false", "oom_caught", None),
    "a list": ("session.id", ["s-1"], "session_id", None),
}


@pytest.mark.parametrize(("name", "value", "column", "expected"), ODD.values(), ids=ODD)
def test_what_no_column_holds_is_unknown(name: str, value: Any, column: str, expected: Any) -> None:
    check(with_attributes(0, {name: value}), replace(ROW, **{column: expected}))


def test_an_engine_that_broke_off_tells_no_negative_times() -> None:
    spans = with_attributes(3, {"gen_ai.latency.time_in_model_decode": -12345.6})
    check(spans, replace(ROW, frontend_ms=None, gateway_ms=None, decode_ms=None))


Kept = st.lists(st.booleans(), min_size=8, max_size=8)


@given(Kept, st.randoms(use_true_random=False))
def test_whatever_is_lost_the_rest_is_never_wrong(kept: list[bool], random_: random.Random) -> None:
    spans = [s for s, keep in zip([*second_attempt(), *shadowed()[4:]], kept, strict=True) if keep]
    shuffled = random_.sample(spans, len(spans))
    found = request_row(shuffled, "otlp")
    assert found == request_row(spans, "otlp")
    if found is None:
        return
    known = (found.frontend_ms, found.gateway_ms, found.queue_ms, found.prefill_ms, found.decode_ms)
    if None not in known:
        assert sum(k or 0 for k in known) == pytest.approx(found.e2e_ms)


# ------------------------------------------------------------------------------------------- roots
def test_a_root_inside_another_is_none() -> None:
    inner = replace(trace()[1], attributes={"mangaassist.request_id": "req-1"})
    assert roots([inner, trace()[0]]) == [trace()[0]]


def test_two_requests_of_one_trace_are_two_roots() -> None:
    other = replace(trace(2)[0], trace_id=trace()[0].trace_id)
    assert {s.span_id for s in roots([other, *trace()])} == {other.span_id, trace()[0].span_id}


def test_parents_in_a_circle_are_no_roots_and_no_endless_walk() -> None:
    one, other = trace()[0], trace(2)[0]
    assert roots([replace(one, parent_id=other.span_id), replace(other, parent_id=one.span_id)]) == []


def test_every_attribute_of_a_row_is_one_that_receivers_keep() -> None:
    used = {name for s in trace() for name in s.attributes} - {"mangaassist.variant"}
    assert used <= ATTRIBUTES
    assert not any(name.startswith("mlflow.") for name in ATTRIBUTES)
