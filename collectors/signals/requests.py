"""From what the client and the engine saw of a request to its one row.

e2e = gateway + frontend + queue + prefill + decode, exactly: the gateway's share is what the client waited
beyond the engine's own end-to-end time, the frontend's what the engine spent outside queue, prefill
and decode (tokenising, the hop to its core process, detokenising).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

MS_PER_S = 1000.0
_LATENCY = "gen_ai.latency."


@dataclass(frozen=True, slots=True)
class Stages:
    """Where a request's time went, in milliseconds; None where the engine told nothing."""

    frontend_ms: float | None = None
    gateway_ms: float | None = None
    queue_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None

    def total_ms(self) -> float | None:
        """The sum of the stages; None where any is unknown."""
        parts = (self.frontend_ms, self.gateway_ms, self.queue_ms, self.prefill_ms, self.decode_ms)
        known = [p for p in parts if p is not None]
        return sum(known) if len(known) == len(parts) else None


def stages(client_e2e_ms: float | None, engine: Mapping[str, Any]) -> Stages:
    """Stages from the attributes of vLLM's `llm_request` span (seconds) and the client's own time."""
    e2e, queue, prefill, decode = (
        _ms(engine, name)
        for name in ("e2e", "time_in_queue", "time_in_model_prefill", "time_in_model_decode")
    )
    if client_e2e_ms is None or e2e is None or queue is None or prefill is None or decode is None:
        return Stages(queue_ms=queue, prefill_ms=prefill, decode_ms=decode)
    return Stages(
        frontend_ms=e2e - queue - prefill - decode,
        gateway_ms=client_e2e_ms - e2e,
        queue_ms=queue,
        prefill_ms=prefill,
        decode_ms=decode,
    )


def _ms(attributes: Mapping[str, Any], name: str) -> float | None:
    value = attributes.get(_LATENCY + name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # a single nan in a column would be every quantile over it
    return value * MS_PER_S if isfinite(value) else None


def error_kind(http_status: int | None, text: str | None) -> str | None:
    """The kind of a failed answer, from its status and message; None for a good one."""
    if http_status is None or http_status < 400:  # noqa: PLR2004 - first HTTP error status
        return None
    lowered = (text or "").lower()
    named = next((kind for phrase, kind in _PHRASES if phrase in lowered), None)
    return named or _STATUSES.get(http_status, "server_error" if http_status >= 500 else "client_error")  # noqa: PLR2004


_PHRASES = (
    ("maximum context length", "context_overflow"),
    ("out of memory", "oom"),
    ("disconnected", "connection_lost"),
    ("connection reset", "connection_lost"),
    ("timed out", "timeout"),
)
_STATUSES = {429: "rejected", 408: "timeout", 504: "timeout"}
