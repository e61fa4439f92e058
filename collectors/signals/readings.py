"""Readings: the named quantities that rules, SLOs, runbooks and screens speak of, as data.

How each kind is computed from the store is in `store/sql.py`; this table only says what a reading is.
A reading's window is half-open, (t - window, t], and never extrapolated beyond the facts in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from collectors.signals.predicates import Where, always, equals, present

MS_PER_S = 1000.0
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Rate:
    """Increments of a counter a second, summed over its series."""

    metric: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """Sum of one metric over the sum of another; a gauge counts as level x seconds."""

    numerator: str
    denominator: str


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean observation of a histogram: its sum over its count."""

    metric: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Quantile:
    """Quantile of a histogram, interpolated in its bucket as Prometheus does, with the bucket's bounds."""

    metric: str
    q: float
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class HistogramShare:
    """Share of a histogram's observations under a threshold, in the metric's unit.

    Where the threshold lies inside a bucket, the bounds count that bucket once out and once in.
    """

    metric: str
    below: float


@dataclass(frozen=True, slots=True)
class Level:
    """Newest level of each series in the window, combined across series."""

    metric: str
    across: Literal["max", "min", "sum", "avg"]


@dataclass(frozen=True, slots=True)
class Age:
    """Seconds since a gauge last stood at 1."""

    metric: str


@dataclass(frozen=True, slots=True)
class RequestQuantile:
    """Exact quantile of a request column, with an order-statistic interval."""

    column: str
    q: float


@dataclass(frozen=True, slots=True)
class RequestShare:
    """Share of the counted requests that meet a condition, with Wilson's interval."""

    good: Where
    of: Where = always


@dataclass(frozen=True, slots=True)
class RequestCount:
    """How many requests meet a condition; no data where none says either way."""

    where: Where
    known: Where = always


@dataclass(frozen=True, slots=True)
class RequestRate:
    """Requests ended a second."""

    where: Where = always


MetricKind = Rate | Ratio | Mean | Quantile | HistogramShare | Level | Age
RequestKind = RequestQuantile | RequestShare | RequestCount | RequestRate
Computation = MetricKind | RequestKind

METRIC_KINDS = (Rate, Ratio, Mean, Quantile, HistogramShare, Level, Age)
REQUEST_KINDS = (RequestQuantile, RequestShare, RequestCount, RequestRate)


@dataclass(frozen=True, slots=True)
class Reading:
    """A named quantity: what it is, in which unit, over which window, by which groups."""

    name: str
    unit: str
    computation: Computation
    help: str
    window: timedelta = 5 * MINUTE
    by: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """The table of facts that it is computed from."""
        return "metrics" if isinstance(self.computation, METRIC_KINDS) else "requests"


def _ms(name: str, metric: str, q: float, text: str) -> Reading:
    return Reading(name, "ms", Quantile(metric, q, MS_PER_S), f"{text}, from the engine's histogram")


def _request_ms(name: str, column: str, q: float, text: str, by: tuple[str, ...] = ()) -> Reading:
    return Reading(name, "ms", RequestQuantile(column, q), f"{text}, exact over requests", by=by)


failed = Where("http_status", ">=", 400)
unavailable = Where("http_status", ">=", 500)
rejected = equals("http_status", 429)
answered = present("http_status")

READINGS: dict[str, Reading] = {
    r.name: r
    for r in (
        _ms("ttft_p50_ms", "ttft_s", 0.50, "P50 time to first token"),
        _ms("ttft_p95_ms", "ttft_s", 0.95, "P95 time to first token"),
        _ms("queue_p95_ms", "queue_s", 0.95, "P95 wait in the engine's queue"),
        _ms("prefill_p95_ms", "prefill_s", 0.95, "P95 prefill time"),
        _ms("decode_p95_ms", "decode_s", 0.95, "P95 decode time"),
        _ms("e2e_p50_ms", "e2e_s", 0.50, "P50 total latency"),
        _ms("e2e_p95_ms", "e2e_s", 0.95, "P95 total latency"),
        _ms("e2e_p99_ms", "e2e_s", 0.99, "P99 total latency"),
        _ms("inter_token_p95_ms", "inter_token_s", 0.95, "P95 gap between tokens"),
        Reading("ttft_mean_ms", "ms", Mean("ttft_s", MS_PER_S), "mean time to first token"),
        Reading("decode_mean_ms", "ms", Mean("decode_s", MS_PER_S), "mean decode time"),
        Reading("queue_mean_ms", "ms", Mean("queue_s", MS_PER_S), "mean wait in the engine's queue"),
        Reading("prefill_mean_ms", "ms", Mean("prefill_s", MS_PER_S), "mean prefill time"),
        Reading("prompt_tokens_mean", "tokens", Mean("request_prompt_tokens"), "mean prompt length"),
        Reading("output_tokens_mean", "tokens", Mean("request_output_tokens"), "mean answer length"),
        Reading(
            "queue_depth",
            "requests",
            Level("requests_waiting", "sum"),
            "requests waiting, all replicas",
            MINUTE,
        ),
        Reading(
            "running", "requests", Level("requests_running", "sum"), "requests running, all replicas", MINUTE
        ),
        Reading(
            "kv_usage_ratio",
            "ratio",
            Level("kv_usage_ratio", "max"),
            "share of the KV cache in use, fullest engine of the replica",
            MINUTE,
            by=("replica",),
        ),
        Reading(
            "prefix_hit_ratio",
            "ratio",
            Ratio("prefix_cache_hits", "prefix_cache_queries"),
            "prompt tokens found in the prefix cache, of those looked up",
            MINUTE,
        ),
        Reading(
            "preemptions_per_s",
            "per s",
            Rate("preemptions"),
            "running requests put back for want of KV cache",
        ),
        Reading("prompt_tokens_per_s", "tokens/s", Rate("prompt_tokens"), "prompt tokens taken in", MINUTE),
        Reading("generation_tokens_per_s", "tokens/s", Rate("generation_tokens"), "tokens generated", MINUTE),
        Reading(
            "tokens_per_running_s",
            "tokens/s",
            Ratio("generation_tokens", "requests_running"),
            "tokens a second for each running request; 0 while requests run is a stall",
            MINUTE,
            by=("replica",),
        ),
        Reading(
            "replica_up",
            "0 or 1",
            Level("up", "min"),
            "whether the last scrape succeeded",
            MINUTE,
            ("replica",),
        ),
        Reading("scrape_age_s", "s", Age("up"), "time since the last good scrape", 60 * MINUTE, ("replica",)),
        Reading(
            "scrape_duration_s",
            "s",
            Level("scrape_duration_s", "max"),
            "slowest scrape",
            MINUTE,
            ("replica",),
        ),
        _request_ms("request_ttft_p50_ms", "ttft_ms", 0.50, "P50 time to first token"),
        _request_ms("request_ttft_p95_ms", "ttft_ms", 0.95, "P95 time to first token"),
        _request_ms("request_queue_p50_ms", "queue_ms", 0.50, "P50 queue wait"),
        _request_ms("request_queue_p95_ms", "queue_ms", 0.95, "P95 queue wait"),
        _request_ms("request_prefill_p50_ms", "prefill_ms", 0.50, "P50 prefill time"),
        _request_ms("request_decode_p50_ms", "decode_ms", 0.50, "P50 decode time"),
        _request_ms("request_frontend_p50_ms", "frontend_ms", 0.50, "P50 time in the engine's front end"),
        _request_ms("request_gateway_p50_ms", "gateway_ms", 0.50, "P50 time in the gateway"),
        _request_ms("request_e2e_p50_ms", "e2e_ms", 0.50, "P50 total latency"),
        _request_ms("request_e2e_p95_ms", "e2e_ms", 0.95, "P95 total latency"),
        _request_ms("request_e2e_p99_ms", "e2e_ms", 0.99, "P99 total latency"),
        _request_ms("adapter_e2e_p95_ms", "e2e_ms", 0.95, "P95 total latency of each adapter", ("adapter",)),
        _request_ms(
            "adapter_ttft_p95_ms", "ttft_ms", 0.95, "P95 time to first token of each adapter", ("adapter",)
        ),
        Reading(
            "adapter_output_tokens_p50",
            "tokens",
            RequestQuantile("output_tokens", 0.5),
            "median answer length of each adapter",
            by=("adapter",),
        ),
        Reading("request_rate", "per s", RequestRate(), "requests ended", MINUTE),
        Reading("error_ratio", "ratio", RequestShare(failed, answered), "requests answered with 4xx or 5xx"),
        Reading(
            "unavailable_ratio", "ratio", RequestShare(unavailable, answered), "requests answered with 5xx"
        ),
        Reading("rejected_ratio", "ratio", RequestShare(rejected, answered), "requests turned away with 429"),
        Reading(
            "oom_count",
            "requests",
            RequestCount(equals("oom_caught", True), known=present("oom_caught")),
            "requests whose out-of-memory was caught",
        ),
    )
}
