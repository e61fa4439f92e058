"""Which readings speak where: requests where their rows come in, else what the engines count themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from collectors.signals.points import Point
from console.views.facts import Pulse, Slice
from console.views.frame import Frame

ENGINE_INSTEAD: Mapping[str, str] = {
    "request_ttft_p50_ms": "ttft_p50_ms",
    "request_ttft_p95_ms": "ttft_p95_ms",
    "request_e2e_p50_ms": "e2e_p50_ms",
    "request_e2e_p95_ms": "e2e_p95_ms",
}
# What a slice is made of where no request rows come in.
ENGINE_SLICE = (
    "ttft_p95_ms",
    "e2e_p95_ms",
    "ttft_mean_ms",
    "queue_mean_ms",
    "prefill_mean_ms",
    "decode_mean_ms",
)


def has_requests(pulse: Pulse, frame: Frame) -> bool:
    """Whether any request row lies in the span looked at."""
    return pulse.request is not None and pulse.request > frame.since


def spoken_by(names: Iterable[str], *, requests: bool) -> tuple[str, ...]:
    """The readings to show: as named, or what the engine says instead."""
    return tuple(n if requests else ENGINE_INSTEAD.get(n, n) for n in names)


def engine_slices(told: Mapping[str, Sequence[Point]]) -> list[Slice]:
    """Slices from the engines' histograms, newest first; instants without a first token are left out."""
    looks = zip(*(told[name] for name in ENGINE_SLICE), strict=True)
    return [s for look in looks if (s := _slice(look)) is not None][::-1]


def _slice(look: Sequence[Point]) -> Slice | None:
    ttft_p95, e2e_p95, ttft, queue, prefill, decode = (p.value for p in look)
    if ttft_p95 is None:
        return None
    at: datetime = look[0].at
    stages = {"frontend": _rest(ttft, queue, prefill), "queue": queue, "prefill": prefill, "decode": decode}
    return Slice(at, int(look[0].count), stages, ttft_p95, e2e_p95, basis="engine")


def _rest(ttft: float | None, queue: float | None, prefill: float | None) -> float | None:
    """The front end's share: what queue and prefill leave of the first token.

    The engine counts the first token when it is written and the other two when the request ends, so while
    load changes they speak of different requests; a negative rest says just that, and is unknown.
    """
    if ttft is None or queue is None or prefill is None or ttft < queue + prefill:
        return None
    return ttft - queue - prefill
