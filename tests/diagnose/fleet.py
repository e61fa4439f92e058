"""A made-up fleet: requests and scrapes second by second, with whatever is wrong in it, and what is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from collectors.diagnose import watching
from collectors.diagnose.columns import Requests, Scrapes, requests_of, scrapes_of
from collectors.diagnose.incidents import Incident

T0 = 1_800_000_000.0
SCALE = 20.0
MINUTE_S = 60 / SCALE
ADAPTERS = ("manga_domain_v3", "general_support_v2", "jp_style_v1")
CONCURRENT = 1000  # an engine's batch, unless something is wrong


@dataclass(frozen=True)
class State:
    """How the fleet is in one second."""

    per_s: float = 14.0
    prompt: float = 1200.0
    prefix: float = 940.0  # tokens of the prompt that are cached
    answer: float = 130.0
    prompt_version: str = "v42"
    adapters: tuple[str, ...] = ADAPTERS
    answers_of: Mapping[str, float] = field(default_factory=dict)  # times as long, by adapter
    tokens_of: Mapping[str, float] = field(default_factory=dict)  # times as slow, by adapter
    tpot_ms: float = 10.0
    queue_ms: float = 0.0
    front_ms: float = 15.0
    waiting: float = 0.0
    preemptions: float = 0.0
    fails: float = 0.0
    failure: tuple[int, str] = (400, "context_overflow")
    out_of_memory: float = 0.0
    still: bool = False
    up: float | None = 1.0
    served: bool = True
    slots: float = 4.0
    replica: str = "r0"  # as requests name it
    jitter: float = 0.1  # of the time that tokens take
    idle: bool = False  # what it tells of itself
    process_start: float = T0 - 86_400


Row = dict[str, Any]
Course = Callable[[float, State], State]


def found(course: Course, seconds: int = 160, seed: int = 1, others: tuple[str, ...] = ()) -> list[Incident]:
    """The incidents of a course of events, in the order in which they were detected.

    `others` are replicas whose scrapes never fail.
    """
    requests, scrapes = made(course, seconds, seed)
    healthy = made(during(0, 0), seconds, seed)[1] if others else scrapes
    engines = {"r0": scrapes} | dict.fromkeys(others, healthy)
    watch, last = watching.nothing(), T0 - 1
    for look in np.arange(T0, T0 + seconds, watching.LOOK_MIN * MINUTE_S):
        watch = watching.fed(
            watch, requests.between(last, look), {n: s.between(last, look) for n, s in engines.items()}
        )
        watch, last = watching.step(watch, float(look), MINUTE_S), float(look)
    return sorted((*watch.case.ended, *watch.case.open), key=lambda i: i.detected)


def made(course: Course, seconds: int, seed: int) -> tuple[Requests, Scrapes]:
    """What the fleet's clients and scrapers saw."""
    rng = np.random.default_rng(seed)
    ended: list[Row] = []
    flying: list[Row] = []
    scrapes: list[dict[str, float]] = []
    for second in range(seconds):
        state, now = course(float(second), State()), T0 + second
        came = [_request(state, now + rng.random(), rng) for _ in range(rng.poisson(state.per_s))]
        flying += came
        if not state.served:
            ended += [_lost(r, now) for r in flying]
            flying = []
        elif state.still:
            flying = [_held(r, now) for r in flying]
        else:
            ended += [r for r in flying if r["at"] < now + 1]
            flying = [r for r in flying if r["at"] >= now + 1]
        if state.up is not None:
            scrapes.append(_scrape(state, now, len(came), len(flying)))
    return requests_of(ended), scrapes_of(scrapes)


def _request(state: State, start: float, rng: np.random.Generator) -> Row:
    adapter = str(rng.choice(state.adapters))
    prompt = state.prompt * rng.lognormal(0, 0.1)
    if rng.random() < state.fails:
        status, kind = state.failure
        row = {"http_status": status, "error_kind": kind, "e2e_ms": 5.0, "at": start + 0.005}
        return row | {"start": start, "adapter": adapter, "prompt_version": state.prompt_version}
    answer = max(2.0, state.answer * state.answers_of.get(adapter, 1.0) * rng.lognormal(0, 0.5))
    cached = min(state.prefix, prompt)
    prefill = (15 + 0.07 * (prompt - cached)) * rng.lognormal(0, 0.15)
    decode = (answer - 1) * state.tpot_ms * state.tokens_of.get(adapter, 1.0) * rng.lognormal(0, state.jitter)
    front, queue = state.front_ms * rng.lognormal(0, 0.2), state.queue_ms * rng.lognormal(0, 0.3)
    e2e = front + queue + prefill + decode + 4
    return {
        "start": start,
        "at": start + e2e / 1000,
        "adapter": adapter,
        "model": "llama",
        "prompt_version": state.prompt_version,
        "replica": state.replica,
        "http_status": 200,
        "oom_caught": float(rng.random() < state.out_of_memory),
        "prompt_tokens": round(prompt),
        "cached_tokens": cached // 16 * 16,
        "output_tokens": round(answer),
        "frontend_ms": front,
        "gateway_ms": 4.0,
        "queue_ms": queue,
        "prefill_ms": prefill,
        "decode_ms": decode,
        "ttft_ms": front + queue + prefill,
        "e2e_ms": e2e,
    }


def _held(row: Row, now: float) -> Row:
    """A request that nothing is done for, for a second: before the engine's core, or in the middle of it."""
    stage = "frontend_ms" if row["start"] >= now - 1 or row["frontend_ms"] > 1000 else "decode_ms"
    longer = {name: row[name] + 1000 for name in (stage, "e2e_ms")}
    first = {"ttft_ms": row["ttft_ms"] + 1000} if stage == "frontend_ms" else {}
    return {**row, **longer, **first, "at": row["at"] + 1}


def _lost(row: Row, now: float) -> Row:
    ends = max(now, row["start"]) + 0.02
    failed = {"http_status": 502, "error_kind": "connection_lost", "at": ends}
    return {"start": row["start"], "adapter": row["adapter"], "replica": "r0", "e2e_ms": 20.0, **failed}


def _scrape(state: State, at: float, came: int, flying: int) -> dict[str, float]:
    if not state.up:
        return {"at": at, "up": 0.0}
    return {
        "at": at,
        "up": 1.0,
        "interval_s": 1.0,
        "requests_running": 0.0 if state.idle else float(flying),
        "requests_waiting": state.waiting,
        "kv_usage_ratio": 0.2,
        "preemptions": state.preemptions,
        "generation_tokens": 0.0 if state.still else came * state.answer,
        "adapter_slots": state.slots,
        "process_start_s": state.process_start,
    }


def during(begin: float, end: float, **changes: object) -> Course:
    """Changes that hold from one second to another."""

    def course(second: float, state: State) -> State:
        return replace(state, **changes) if begin <= second < end else state  # type: ignore[arg-type]

    return course
