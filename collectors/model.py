"""The nouns: facts as they are kept, and what a source hands over.

Every instant is an aware UTC datetime. Missing is None, never 0 or -1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """How a metric's stored value adds up."""

    COUNTER = "counter"  # value is the increment since the previous scrape
    GAUGE = "gauge"  # value is the level at the scrape
    HISTOGRAM = "histogram"  # value counts new observations, sum adds them, buckets split them


class Bucket(NamedTuple):
    """New observations in (low, high], in the metric's own unit; empty buckets are left out."""

    low: float
    high: float
    count: float  # type: ignore[assignment] # hides tuple.count, which nobody asks of a bucket


@dataclass(frozen=True, slots=True)
class MetricFact:
    """One series at one scrape.

    `interval_s` is the time since the previous scrape of the same replica; None on the first.
    `label` is the value of the metric's one distinguishing label ("stop", "capacity"), else "".
    """

    at: datetime
    source: str
    replica: str
    metric: str
    kind: Kind
    value: float
    model: str = ""
    engine: str = ""
    label: str = ""
    interval_s: float | None = None
    sum: float | None = None
    buckets: tuple[Bucket, ...] | None = None


@dataclass(frozen=True, slots=True)
class RequestFact:
    """One request, known once it has ended: `at` is the end, so a window never waits for it.

    Stages sum to the whole: frontend + gateway + queue + prefill + decode = e2e (milliseconds).
    `trace_id` is 32 hex digits.
    """

    at: datetime
    request_id: str
    source: str
    trace_id: str | None = None
    session_id: str | None = None
    turn: int | None = None
    replica: str | None = None
    variant: str | None = None
    model: str | None = None
    adapter: str | None = None
    backend_version: str | None = None
    prompt_version: str | None = None
    intent: str | None = None
    locale: str | None = None
    http_status: int | None = None
    error_kind: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    budget_trimmed: bool | None = None
    oom_caught: bool | None = None
    frontend_ms: float | None = None
    gateway_ms: float | None = None
    queue_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    prefix_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class EventFact:
    """Something that happened once: a first sight, a restart, a start-up, a problem, an alert transition.

    `subject` is what it happened to. How `before` and `after` are to be read, the kind says: a start-up's
    is in `signals/startup_facts.py`.
    """

    at: datetime
    kind: str
    subject: str
    source: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong at a source, in words a person can act on."""

    at: datetime
    source: str
    subject: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one turn of a source brought."""

    metrics: tuple[MetricFact, ...] = ()
    requests: tuple[RequestFact, ...] = ()
    events: tuple[EventFact, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    def __add__(self, other: Batch) -> Batch:
        return Batch(
            self.metrics + other.metrics,
            self.requests + other.requests,
            self.events + other.events,
            self.problems + other.problems,
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict with everything it was reached from, as it was seen.

    `subject` is "rule" or "slo"; `name` the rule or SLO; `component` such as "adapter=manga_domain_v4".
    `low` and `high` bound `value`; `count` is how many observations it rests on.
    `missing` says why there is no value. `active_at` is when the condition began to hold.
    """

    at: datetime
    subject: str
    name: str
    component: str
    state: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    count: float | None = None
    threshold: float | None = None
    missing: str | None = None
    active_at: datetime | None = None
    fired_at: datetime | None = None
    kept_since: datetime | None = None
    clock_scale: float = 1.0
    settings: str | None = None
