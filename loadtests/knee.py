"""How much load it takes: the request rate up to which requests stay good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.records import Record

BIN_S = 5.0
ENOUGH = 0.95  # share of good requests
FEW = 5  # requests; fewer in a bin say nothing


@dataclass(frozen=True, slots=True)
class Knee:
    """Requests a second. `broken` is the lowest rate at which too few were good; None if none was reached."""

    held: float | None
    broken: float | None
    usual: float | None

    @property
    def headroom(self) -> float | None:
        """How many times the usual rate was held; at least so many where nothing broke."""
        return self.held / self.usual if self.held and self.usual else None


def knee(records: Sequence[Record], usual: Sequence[Record], ttft_ms: float) -> Knee:
    """From requests of phases in which nothing was broken, in bins of five seconds of intended time.

    A rate counts as held if no bin at it or below had too few good requests. `usual` are the control's.
    """
    bins = sorted(_bins(records, ttft_ms))
    broken = min((rate for rate, share in bins if share < ENOUGH), default=None)
    held = max(
        (rate for rate, share in bins if share >= ENOUGH and (broken is None or rate < broken)), default=None
    )
    rates = sorted(rate for rate, _ in _bins(usual, ttft_ms))
    return Knee(held, broken, rates[len(rates) // 2] if rates else None)


def _bins(records: Sequence[Record], ttft_ms: float) -> list[tuple[float, float]]:
    """(requests a second, share that was good) of each bin with enough in it."""
    found: dict[int, list[bool]] = defaultdict(list)
    for record in records:
        found[int(record.intended_at.timestamp() // BIN_S)].append(record.good(ttft_ms))
    return [(len(good) / BIN_S, sum(good) / len(good)) for good in found.values() if len(good) >= FEW]
