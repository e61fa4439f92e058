"""What an engine has to do before a release, and whether this drill saw it: met, missed, or never reached.

A demand at so many requests at once says nothing of a drill that never had as many: that is "not reached".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Literal

from loadtests.knee import BIN_S, ENOUGH
from loadtests.records import Record, quantile

Outcome = Literal["met", "missed", "not reached"]
AT_ONCE = 60
AT_ONCE_FOR_P99, P99_MS = 50, 2000.0
PER_S, QUEUE_P99_MS = 100.0, 150.0
LONG_SESSION = 30
ENOUGH_FOR_P99 = 100  # requests; of fewer a P99 is their slowest one


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand, with what was found."""

    demand: str
    found: str
    outcome: Outcome


def demands(
    sound: Sequence[Record], queue_ms: Mapping[str, float], out_of_memory: int, ttft_ms: float
) -> list[Demand]:
    """All of them, over the requests of phases in which nothing was broken. Latencies in milliseconds.

    `queue_ms` is what the engine said of a request's wait; `out_of_memory` the requests that ran out of it.
    """
    beside = _at_once(sound)
    crowd = [r for r, n in zip(sound, beside, strict=True) if n >= AT_ONCE]
    most = max(beside, default=0)
    return [
        _served(crowd, most, ttft_ms),
        _whole(
            [r.e2e_ms for r, n in zip(sound, beside, strict=True) if n >= AT_ONCE_FOR_P99 and not r.failed],
            most,
        ),
        _queued(sound, queue_ms),
        _admitted(sound),
        _outcome("nothing runs out of memory", f"{out_of_memory} requests did", held=out_of_memory == 0),
        _long_sessions(sound),
    ]


def _served(crowd: Sequence[Record], most: int, ttft_ms: float) -> Demand:
    demand = f"{AT_ONCE} requests at once are served"
    if not crowd:
        return Demand(demand, f"at most {most} at once", "not reached")
    share = sum(r.good(ttft_ms) for r in crowd) / len(crowd)
    return _outcome(demand, f"{share:.1%} of {len(crowd)} were good", held=share >= ENOUGH)


def _whole(e2e_ms: Sequence[float], most: int) -> Demand:
    demand = f"P99 of the whole answer < {P99_MS:,.0f} ms at {AT_ONCE_FOR_P99} at once"
    if len(e2e_ms) < ENOUGH_FOR_P99:
        return Demand(demand, f"at most {most} at once, {len(e2e_ms)} requests there", "not reached")
    return _below(demand, quantile(e2e_ms, 0.99) or 0.0, P99_MS)


def _queued(sound: Sequence[Record], queue_ms: Mapping[str, float]) -> Demand:
    demand = f"queue wait P99 < {QUEUE_P99_MS:.0f} ms at {PER_S:.0f} requests/s"
    bins = Counter(_bin(r) for r in sound)
    busy = {number for number, n in bins.items() if n / BIN_S >= PER_S}
    waits = [queue_ms[r.request_id] for r in sound if _bin(r) in busy and r.request_id in queue_ms]
    if not waits:
        return Demand(demand, f"at most {max(bins.values(), default=0) / BIN_S:.1f} a second", "not reached")
    return _below(demand, quantile(waits, 0.99) or 0.0, QUEUE_P99_MS)


def _admitted(sound: Sequence[Record]) -> Demand:
    away = sum(r.status == HTTPStatus.TOO_MANY_REQUESTS for r in sound)
    return _outcome("no request is turned away", f"{away} of {len(sound):,} were", held=away == 0)


def _long_sessions(sound: Sequence[Record]) -> Demand:
    late = [r for r in sound if r.turn >= LONG_SESSION]
    demand = f"sessions of {LONG_SESSION} turns and more are served"
    if not late:
        longest = max((r.turn for r in sound), default=0)
        return Demand(demand, f"the longest had {longest}", "not reached")
    failed = sum(r.failed for r in late)
    return _outcome(demand, f"{len(late) - failed} of {len(late)} such turns were", held=failed == 0)


def _at_once(sent: Sequence[Record]) -> list[int]:
    """How many requests were under way when each was sent, itself among them."""
    starts = sorted(r.intended_at + timedelta(milliseconds=r.lag_ms) for r in sent)
    ends = sorted(r.ended_at for r in sent)
    moments = [r.intended_at + timedelta(milliseconds=r.lag_ms) for r in sent]
    return [bisect_right(starts, at) - bisect_left(ends, at) for at in moments]


def _bin(r: Record) -> int:
    return int(r.intended_at.timestamp() // BIN_S)


def _below(demand: str, found_ms: float, limit_ms: float) -> Demand:
    return _outcome(demand, f"{found_ms:,.0f} ms", held=found_ms < limit_ms)


def _outcome(demand: str, found: str, *, held: bool) -> Demand:
    return Demand(demand, found, "met" if held else "missed")
