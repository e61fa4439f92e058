"""The causes by name, and which may bring about which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Cause(StrEnum):
    """Why chat is slow or fails. The ids are API: runbooks, rules and drills name them."""

    PREFIX_CACHE_BROKEN = "prefix_cache_broken"
    LONG_CONTEXT_PRESSURE = "long_context_pressure"
    TRAFFIC_BURST = "traffic_burst"
    CAPACITY_SHORT = "capacity_short"
    ENGINE_STALL = "engine_stall"
    ADAPTER_SLOTS_SHORT = "adapter_slots_short"
    ADAPTER_REGRESSION = "adapter_regression"
    LONG_OUTPUT = "long_output"
    DECODE_SLOW = "decode_slow"
    PREEMPTION = "preemption"
    COLD_START = "cold_start"
    FRONTEND_SLOW = "frontend_slow"
    CONTEXT_OVERFLOW = "context_overflow"
    REJECTED = "rejected"
    OOM = "oom"
    REPLICA_DOWN = "replica_down"
    TELEMETRY_GAP = "telemetry_gap"
    NORMAL = "normal"
    UNDETERMINED = "undetermined"


# What each reads as in a sentence.
WORDS: Mapping[Cause, str] = {
    Cause.PREFIX_CACHE_BROKEN: "the prompt prefix is no longer found in the cache",
    Cause.LONG_CONTEXT_PRESSURE: "prompts grew much longer",
    Cause.TRAFFIC_BURST: "a burst of traffic came",
    Cause.CAPACITY_SHORT: "the engines serve less than is asked of them",
    Cause.ENGINE_STALL: "the engine stood still with requests in it",
    Cause.ADAPTER_SLOTS_SHORT: "more adapters are wanted than fit a batch",
    Cause.ADAPTER_REGRESSION: "one adapter got worse than its own past",
    Cause.LONG_OUTPUT: "answers grew much longer",
    Cause.DECODE_SLOW: "tokens come more slowly",
    Cause.PREEMPTION: "requests are put back for want of KV cache",
    Cause.COLD_START: "the engine has just started",
    Cause.FRONTEND_SLOW: "time goes before the engine's core, or around it",
    Cause.CONTEXT_OVERFLOW: "prompts exceed the context window",
    Cause.REJECTED: "requests are turned away",
    Cause.OOM: "the engine ran out of memory",
    Cause.REPLICA_DOWN: "an engine is down",
    Cause.TELEMETRY_GAP: "an engine is not seen, though chat goes on",
    Cause.NORMAL: "nothing unusual",
    Cause.UNDETERMINED: "no cause stands out",
}

# What comes in from outside, or breaks by itself. The rest follows from load and memory, so it is a cause of
# its own only where none of these is at work.
FROM_OUTSIDE = frozenset(
    {
        Cause.PREFIX_CACHE_BROKEN,
        Cause.LONG_CONTEXT_PRESSURE,
        Cause.TRAFFIC_BURST,
        Cause.ENGINE_STALL,
        Cause.ADAPTER_SLOTS_SHORT,
        Cause.ADAPTER_REGRESSION,
        Cause.LONG_OUTPUT,
        Cause.COLD_START,
        Cause.CONTEXT_OVERFLOW,
        Cause.REJECTED,
        Cause.OOM,
        Cause.REPLICA_DOWN,
        Cause.TELEMETRY_GAP,
    }
)
# Failures and outages stay wrong however long they last; any other shift may become what is usual.
NEVER_USUAL = frozenset(
    {
        Cause.ENGINE_STALL,
        Cause.CONTEXT_OVERFLOW,
        Cause.REJECTED,
        Cause.OOM,
        Cause.REPLICA_DOWN,
        Cause.TELEMETRY_GAP,
    }
)
_FROM_LOAD = frozenset(
    {Cause.CAPACITY_SHORT, Cause.PREEMPTION, Cause.DECODE_SLOW, Cause.FRONTEND_SLOW, Cause.UNDETERMINED}
)
_FROM_OVERLOAD = _FROM_LOAD | {Cause.REJECTED, Cause.OOM, Cause.ADAPTER_SLOTS_SHORT}
# The right side follows from the left, where both are seen.
BRINGS_ABOUT: Mapping[Cause, frozenset[Cause]] = {
    Cause.PREFIX_CACHE_BROKEN: _FROM_OVERLOAD,
    Cause.LONG_CONTEXT_PRESSURE: _FROM_OVERLOAD | {Cause.CONTEXT_OVERFLOW},
    Cause.TRAFFIC_BURST: _FROM_OVERLOAD,
    Cause.CAPACITY_SHORT: _FROM_OVERLOAD,
    Cause.ENGINE_STALL: _FROM_OVERLOAD | {Cause.TELEMETRY_GAP, Cause.TRAFFIC_BURST, Cause.REPLICA_DOWN},
    Cause.ADAPTER_SLOTS_SHORT: _FROM_LOAD,
    Cause.ADAPTER_REGRESSION: _FROM_OVERLOAD | {Cause.LONG_OUTPUT},
    Cause.LONG_OUTPUT: _FROM_OVERLOAD,
    Cause.DECODE_SLOW: _FROM_LOAD,
    Cause.PREEMPTION: _FROM_LOAD,
    Cause.COLD_START: _FROM_LOAD | {Cause.PREFIX_CACHE_BROKEN},
    Cause.FRONTEND_SLOW: frozenset({Cause.UNDETERMINED}),
    Cause.CONTEXT_OVERFLOW: frozenset({Cause.UNDETERMINED}),
    Cause.REJECTED: frozenset({Cause.UNDETERMINED}),
    Cause.OOM: _FROM_OVERLOAD | {Cause.REPLICA_DOWN, Cause.COLD_START},
    Cause.REPLICA_DOWN: _FROM_OVERLOAD
    | {Cause.TELEMETRY_GAP, Cause.COLD_START, Cause.PREFIX_CACHE_BROKEN, Cause.TRAFFIC_BURST},
    Cause.TELEMETRY_GAP: frozenset({Cause.UNDETERMINED}),
    Cause.UNDETERMINED: frozenset(),
    Cause.NORMAL: frozenset(),
}
