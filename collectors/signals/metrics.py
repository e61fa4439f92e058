"""One table: every canonical metric, its unit, and how each vLLM release spells it.

Releases 0.4.3 to 0.33 are covered; "0.4.3" as a first release means "0.4.3 or before". Names are without
a counter's `_total`, which some releases and exporters leave out. Counts and times are in base units:
requests, tokens, seconds, ratios of 0..1, unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from collectors.model import Kind

OLDEST, NEWEST = "0.4.3", "0.33"
_VLLM = "vllm:"
CACHE_CONFIG = "vllm:cache_config_info"  # an info series: what it tells is in its labels
_GAUGE, _COUNTER, _HISTOGRAM = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM


@dataclass(frozen=True, slots=True)
class Spelling:
    """One name of a metric and the releases that can expose it, hidden behind a flag or not.

    `from_label`: the value is what this label holds, in the newest series of a gauge that carries facts in
    labels; `counts_names` counts the distinct names in that label's comma list. `unlike` names a label that
    must differ from it in some series: releases that write one list into both tell nothing.
    `maybe_blocks`: counted in KV blocks or in tokens, by release; the HELP line says which.
    """

    name: str
    since: str
    until: str | None = None
    from_label: str = ""
    counts_names: bool = False
    unlike: str = ""
    maybe_blocks: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """A canonical metric. `spellings` stand newest first, and the newest one found is the one read.

    `label` is the vLLM label whose value becomes a fact's `label`. No spelling: our own measurement.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    spellings: tuple[Spelling, ...] = ()
    label: str = ""


METRICS: tuple[Metric, ...] = (
    # ------------------------------------------------------------------------- the scrape itself
    Metric("up", _GAUGE, "0 or 1", "whether the replica's last scrape could be read"),
    Metric("scrape_duration_s", _GAUGE, "s", "time the replica took to answer"),
    Metric("scrape_samples", _GAUGE, "samples", "samples in the replica's answer"),
    # ----------------------------------------------------------------------- configuration, first:
    # prefix-cache counters that count blocks are converted with kv_block_tokens.
    Metric(
        "kv_block_tokens",
        _GAUGE,
        "tokens",
        "tokens in one KV-cache block",
        (Spelling(CACHE_CONFIG, "0.4.3", from_label="block_size"),),
    ),
    Metric(
        "kv_blocks",
        _GAUGE,
        "blocks",
        "KV-cache blocks of the engine",
        (Spelling(CACHE_CONFIG, "0.4.3", from_label="num_gpu_blocks"),),
    ),
    # Not exposed where several API servers share one address.
    Metric(
        "process_start_s",
        _GAUGE,
        "unix s",
        "when the engine's process started",
        (Spelling("process_start_time_seconds", "0.4.3"),),
    ),
    # ------------------------------------------------------------------------------------- levels
    Metric(
        "requests_running",
        _GAUGE,
        "requests",
        "requests in the running batch",
        (Spelling("vllm:num_requests_running", "0.4.3"),),
    ),
    Metric(
        "requests_waiting",
        _GAUGE,
        "requests",
        "requests waiting to be scheduled",
        (Spelling("vllm:num_requests_waiting", "0.4.3"),),
    ),
    Metric(
        "requests_waiting_by_reason",
        _GAUGE,
        "requests",
        "requests waiting, by what they wait for",
        (Spelling("vllm:num_requests_waiting_by_reason", "0.21"),),
        label="reason",
    ),
    Metric(
        "requests_swapped",
        _GAUGE,
        "requests",
        "requests swapped out to CPU memory",
        (Spelling("vllm:num_requests_swapped", "0.4.3", "0.9"),),
    ),
    Metric(
        "kv_usage_ratio",
        _GAUGE,
        "ratio",
        "share of the KV cache in use",
        # Up to 0.10.2 the new name has one series a process, all but one of them zero.
        (
            Spelling("vllm:kv_cache_usage_perc", "0.9.2"),
            Spelling("vllm:gpu_cache_usage_perc", "0.4.3", "0.11"),
        ),
    ),
    Metric(
        "cpu_kv_usage_ratio",
        _GAUGE,
        "ratio",
        "share of the CPU swap space in use",
        (Spelling("vllm:cpu_cache_usage_perc", "0.4.3", "0.9"),),
    ),
    Metric(
        "prefix_hit_ratio_lifetime",
        _GAUGE,
        "ratio",
        "prefix-cache hit rate since the engine started",
        (Spelling("vllm:gpu_prefix_cache_hit_rate", "0.5.5", "0.9"),),
    ),
    Metric(
        "adapters_running",
        _GAUGE,
        "adapters",
        "distinct adapters with a request in the engine",
        (
            Spelling(
                "vllm:lora_requests_info", "0.6.4", from_label="running_lora_adapters", counts_names=True
            ),
        ),
    ),
    Metric(
        "adapters_waiting",
        _GAUGE,
        "adapters",
        "distinct adapters with a waiting request",
        (
            Spelling(
                "vllm:lora_requests_info",
                "0.6.4",
                from_label="waiting_lora_adapters",
                counts_names=True,
                unlike="running_lora_adapters",
            ),
        ),
    ),
    Metric(
        "adapter_slots",
        _GAUGE,
        "adapters",
        "adapters that one batch can hold",
        (Spelling("vllm:lora_requests_info", "0.6.4", from_label="max_lora"),),
    ),
    Metric(
        "prompt_tokens_per_s",
        _GAUGE,
        "tokens/s",
        "prompt throughput as the engine averages it",
        (Spelling("vllm:avg_prompt_throughput_toks_per_s", "0.4.3", "0.7.2"),),
    ),
    Metric(
        "generation_tokens_per_s",
        _GAUGE,
        "tokens/s",
        "generation throughput as the engine averages it",
        (Spelling("vllm:avg_generation_throughput_toks_per_s", "0.4.3", "0.7.2"),),
    ),
    # ----------------------------------------------------------------------------------- counters
    Metric(
        "preemptions",
        _COUNTER,
        "requests",
        "running requests put back for want of KV cache",
        (Spelling("vllm:num_preemptions", "0.4.3"),),
    ),
    Metric(
        "prompt_tokens",
        _COUNTER,
        "tokens",
        "prompt tokens taken in",
        (Spelling("vllm:prompt_tokens", "0.4.3"),),
    ),
    Metric(
        "prompt_tokens_by_source",
        _COUNTER,
        "tokens",
        "prompt tokens, by whether they were computed or found in a cache",
        (Spelling("vllm:prompt_tokens_by_source", "0.16"),),
        label="source",
    ),
    Metric(
        "generation_tokens",
        _COUNTER,
        "tokens",
        "tokens generated",
        (Spelling("vllm:generation_tokens", "0.4.3"),),
    ),
    # Up to 0.10.2 recomputing a preempted request counts as a lookup too.
    Metric(
        "prefix_cache_queries",
        _COUNTER,
        "tokens",
        "tokens looked up in the prefix cache",
        (
            Spelling("vllm:prefix_cache_queries", "0.9.2"),
            Spelling("vllm:gpu_prefix_cache_queries", "0.7.3", "0.11", maybe_blocks=True),
        ),
    ),
    Metric(
        "prefix_cache_hits",
        _COUNTER,
        "tokens",
        "tokens found in the prefix cache",
        (
            Spelling("vllm:prefix_cache_hits", "0.9.2"),
            Spelling("vllm:gpu_prefix_cache_hits", "0.7.3", "0.11", maybe_blocks=True),
        ),
    ),
    Metric(
        "external_prefix_cache_queries",
        _COUNTER,
        "tokens",
        "tokens looked up in a cache shared between engines",
        (Spelling("vllm:external_prefix_cache_queries", "0.11.2"),),
    ),
    Metric(
        "external_prefix_cache_hits",
        _COUNTER,
        "tokens",
        "tokens found in a cache shared between engines",
        (Spelling("vllm:external_prefix_cache_hits", "0.11.2"),),
    ),
    Metric(
        "requests_finished",
        _COUNTER,
        "requests",
        "requests ended, by reason",
        (Spelling("vllm:request_success", "0.4.3"),),
        label="finished_reason",
    ),
    Metric(
        "admission_rejections",
        _COUNTER,
        "requests",
        "requests turned away at the door, by the limit they hit",
        (Spelling("vllm:admission_rejections", "0.33"),),
        label="reason",
    ),
    # --------------------------------------------------------------------------------- histograms
    # Observed at the first token; every phase below is observed when its request has finished.
    Metric(
        "ttft_s",
        _HISTOGRAM,
        "s",
        "time to first token",
        (Spelling("vllm:time_to_first_token_seconds", "0.4.3"),),
    ),
    Metric(
        "inter_token_s",
        _HISTOGRAM,
        "s",
        "gap between two tokens of a request",
        (
            Spelling("vllm:inter_token_latency_seconds", "0.10.2"),
            # Despite its name it observed every gap, not a request's mean.
            Spelling("vllm:time_per_output_token_seconds", "0.4.3", "0.15"),
        ),
    ),
    Metric(
        "request_tpot_s",
        _HISTOGRAM,
        "s",
        "mean time per output token of a request",
        (Spelling("vllm:request_time_per_output_token_seconds", "0.11.2"),),
    ),
    Metric(
        "e2e_s",
        _HISTOGRAM,
        "s",
        "arrival to last token",
        (Spelling("vllm:e2e_request_latency_seconds", "0.4.3"),),
    ),
    Metric(
        "queue_s",
        _HISTOGRAM,
        "s",
        "arrival to first scheduled",
        (
            Spelling("vllm:request_queue_time_seconds", "0.6.4"),
            Spelling("vllm:time_in_queue_requests", "0.6.4", "0.9"),
        ),
    ),
    Metric(
        "prefill_s",
        _HISTOGRAM,
        "s",
        "first scheduled to first token",
        (Spelling("vllm:request_prefill_time_seconds", "0.6.4"),),
    ),
    Metric(
        "decode_s",
        _HISTOGRAM,
        "s",
        "first to last token",
        (Spelling("vllm:request_decode_time_seconds", "0.6.4"),),
    ),
    Metric(
        "inference_s",
        _HISTOGRAM,
        "s",
        "first scheduled to last token",
        (Spelling("vllm:request_inference_time_seconds", "0.6.4"),),
    ),
    Metric(
        "request_prompt_tokens",
        _HISTOGRAM,
        "tokens",
        "prompt length of a request",
        (Spelling("vllm:request_prompt_tokens", "0.4.3"),),
    ),
    Metric(
        "request_output_tokens",
        _HISTOGRAM,
        "tokens",
        "answer length of a request",
        (Spelling("vllm:request_generation_tokens", "0.4.3"),),
    ),
    Metric(
        "request_prefill_computed_tokens",
        _HISTOGRAM,
        "tokens",
        "prompt tokens of a request that no cache held",
        (Spelling("vllm:request_prefill_kv_computed_tokens", "0.14"),),
    ),
    Metric(
        "request_preemptions",
        _HISTOGRAM,
        "times",
        "how often a request was put back",
        (Spelling("vllm:request_num_preemptions", "0.30"),),
    ),
    # A histogram, whatever its name ends with.
    Metric(
        "iteration_tokens",
        _HISTOGRAM,
        "tokens",
        "tokens in one engine step",
        (Spelling("vllm:iteration_tokens_total", "0.6.4"),),
    ),
)
BY_NAME: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in METRICS})


def sample_names(kind: Kind, name: str) -> tuple[str, ...]:
    """Every sample name under which a metric of this kind and vLLM name can stand in a scrape."""
    match kind:
        case Kind.COUNTER:
            return (name + "_total", name)
        case Kind.HISTOGRAM:
            return (name + "_bucket", name + "_sum", name + "_count")
        case _:
            return (name,)


SAMPLE_NAMES: frozenset[str] = frozenset(
    sample
    for metric in METRICS
    for each in metric.spellings
    for sample in sample_names(metric.kind, each.name)
)
HELP_NEEDED: frozenset[str] = frozenset(
    sample
    for metric in METRICS
    for each in metric.spellings
    if each.maybe_blocks
    for sample in sample_names(metric.kind, each.name)
)


def exposed(names: Iterable[str]) -> frozenset[str]:
    """Canonical metrics that a scrape with these names (of samples or of TYPE lines) exposes."""
    return frozenset(metric.name for metric, _ in _spelt(frozenset(names)))


def version_range(names: Iterable[str]) -> str | None:
    """The vLLM releases that can expose all these names: "0.21 – 0.33", or "0.33" for one.

    None where no vLLM name is among them, or where no single release has them all. Absent names count
    for nothing: many metrics appear only with the feature they measure.
    """
    found = [each for _, each in _spelt(frozenset(names)) if each.name.startswith(_VLLM)]
    first = max((each.since for each in found), key=_order, default=None)
    last = min((each.until or NEWEST for each in found), key=_order, default=None)
    if first is None or last is None or _order(first) > _order(last):
        return None
    return first if first == last else f"{first} – {last}"


def _spelt(names: frozenset[str]) -> list[tuple[Metric, Spelling]]:
    return [
        (metric, each)
        for metric in METRICS
        for each in metric.spellings
        if not names.isdisjoint((each.name, *sample_names(metric.kind, each.name)))
    ]


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
