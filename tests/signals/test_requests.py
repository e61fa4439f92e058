"""A request's stages sum to the whole, what nobody told stays unknown, and a failure has a kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.signals.requests import Stages, error_kind, stages

NAMES = ("e2e", "time_in_queue", "time_in_model_prefill", "time_in_model_decode")
SPAN = dict(zip(NAMES, (1.2, 0.1, 0.3, 0.7), strict=True))


def attributes(**seconds: Any) -> dict[str, Any]:
    return {f"gen_ai.latency.{name}": value for name, value in seconds.items()}


def check(client_e2e_ms: float | None, engine: dict[str, Any], expected: Stages) -> None:
    found = stages(client_e2e_ms, attributes(**engine))
    assert vars_of(found) == pytest.approx(vars_of(expected), abs=1e-9)


def vars_of(found: Stages) -> list[float]:
    """The stages in the order in which they happen; -1e9 where one is unknown."""
    parts = (found.gateway_ms, found.frontend_ms, found.queue_ms, found.prefill_ms, found.decode_ms)
    return [-1e9 if p is None else p for p in parts]


CASES: dict[str, tuple[float | None, dict[str, Any], Stages]] = {
    "all is known": (1250.0, SPAN, Stages(100.0, 50.0, 100.0, 300.0, 700.0)),
    "no span came": (1250.0, {}, Stages()),
    "no client told its time": (None, SPAN, Stages(queue_ms=100.0, prefill_ms=300.0, decode_ms=700.0)),
    "nothing is known": (None, {}, Stages()),
    "the engine's whole is unknown": (
        1250.0,
        {**SPAN, "e2e": None},
        Stages(queue_ms=100.0, prefill_ms=300.0, decode_ms=700.0),
    ),
    "a rejected request has an empty span and no decode": (
        50.0,
        {"e2e": 0.01, "time_in_queue": 0.005},
        Stages(queue_ms=5.0),
    ),
    "zero is a time": (0.0, dict.fromkeys(NAMES, 0), Stages(0.0, 0.0, 0.0, 0.0, 0.0)),
    "a text is none": (1250.0, {**SPAN, "time_in_queue": "0.1"}, Stages(prefill_ms=300.0, decode_ms=700.0)),
    "a truth is none": (1250.0, {**SPAN, "time_in_queue": True}, Stages(prefill_ms=300.0, decode_ms=700.0)),
    "not a number is none": (
        1250.0,
        {**SPAN, "time_in_queue": float("nan")},
        Stages(prefill_ms=300.0, decode_ms=700.0),
    ),
    "clocks that disagree by a little still sum to the whole": (
        1199.5,
        SPAN,
        Stages(100.0, -0.5, 100.0, 300.0, 700.0),
    ),
}


@pytest.mark.parametrize(("client_e2e_ms", "engine", "expected"), CASES.values(), ids=CASES)
def test_the_stages_of_a_request(
    client_e2e_ms: float | None, engine: dict[str, Any], expected: Stages
) -> None:
    check(client_e2e_ms, engine, expected)


Seconds = st.floats(min_value=0, max_value=3600)


@given(Seconds, Seconds, Seconds, Seconds, Seconds)
def test_stages_sum_to_the_whole(
    client: float, e2e: float, queue: float, prefill: float, decode: float
) -> None:
    engine = dict(zip(NAMES, (e2e, queue, prefill, decode), strict=True))
    total = stages(client * 1000, attributes(**engine)).total_ms()
    assert total == pytest.approx(client * 1000, rel=1e-9, abs=1e-6)


@given(st.sampled_from(NAMES))
def test_without_one_of_its_parts_there_is_no_sum(missing: str) -> None:
    engine = {name: value for name, value in SPAN.items() if name != missing}
    found = stages(1250.0, attributes(**engine))
    assert found.total_ms() is None
    assert (found.gateway_ms, found.frontend_ms) == (None, None)


# --------------------------------------------------------------------------------------- failures
KINDS: dict[str, tuple[int | None, str | None, str | None]] = {
    "an answer": (200, None, None),
    "an answer that speaks of an error": (200, "out of memory", None),
    "a redirection": (399, None, None),
    "no status is no failure that we know of": (None, "disconnected", None),
    "too long a context": (400, "This model's maximum context length is 8192 tokens", "context_overflow"),
    "another bad request": (400, "temperature must be positive", "client_error"),
    "a bad request without a word": (400, None, "client_error"),
    "the first of the failures": (400, "", "client_error"),
    "too many": (429, None, "rejected"),
    "too slow a client": (408, None, "timeout"),
    "too slow a server": (504, None, "timeout"),
    "a time-out by its words": (500, "upstream Timed Out", "timeout"),
    "out of memory": (500, "CUDA out of memory. Tried to allocate", "oom"),
    "out of memory while too many": (429, "out of memory", "oom"),
    "a connection that broke": (502, "Server disconnected without sending a response", "connection_lost"),
    "a connection that was reset": (502, "Connection reset by peer", "connection_lost"),
    "another fault of the server": (503, "try later", "server_error"),
}


@pytest.mark.parametrize(("status", "text", "kind"), KINDS.values(), ids=KINDS)
def test_a_failure_has_a_kind(status: int | None, text: str | None, kind: str | None) -> None:
    assert error_kind(status, text) == kind
