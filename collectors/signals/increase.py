"""How much one series grew between two scrapes, as Prometheus counts it.

Formula: prometheus.io, functions `increase` and `resets`, without their extrapolation to the window's ends.
"""

from __future__ import annotations

from typing import NamedTuple

from collectors.model import Bucket
from collectors.signals.exposition import Distribution


class Growth(NamedTuple):
    """New observations: how many, their total (None where it is not known), and in which buckets."""

    observations: float
    total: float | None
    buckets: tuple[Bucket, ...]


def fell(before: float | Distribution, after: float | Distribution) -> bool:
    """Whether the series began again between the two, so that `after` counts from zero."""
    if isinstance(before, Distribution) and isinstance(after, Distribution):
        if before.bounds != after.bounds:
            return True
        # Bucket by bucket: the cumulative counts may all have grown though one bucket lost what it held.
        return any(new < old for old, new in zip(_split(before), _split(after), strict=True))
    if isinstance(before, Distribution) or isinstance(after, Distribution):
        return True
    return after < before


def of_counter(before: float | None, after: float) -> float:
    """The increase, never negative."""
    return after if before is None or fell(before, after) else after - before


def of_histogram(before: Distribution | None, after: Distribution) -> Growth:
    """The new observations. The buckets add up to the count; empty ones are left out.

    A histogram begins again as a whole. `total` is None where it fell while nothing else did.
    """
    if before == after:
        return Growth(0.0, 0.0, ())
    if before is None or fell(before, after):
        before = Distribution(after.bounds, (0.0,) * len(after.bounds), 0.0)
    total = after.sum - before.sum
    return Growth(
        observations=after.counts[-1] - before.counts[-1],
        total=total if total >= 0 else None,
        buckets=_buckets(before, after),
    )


def _buckets(before: Distribution, after: Distribution) -> tuple[Bucket, ...]:
    counts = (new - old for old, new in zip(_split(before), _split(after), strict=True))
    lows = (0.0, *after.bounds[:-1])
    return tuple(
        Bucket(low, high, count)
        for low, high, count in zip(lows, after.bounds, counts, strict=True)
        if count > 0
    )


def _split(distribution: Distribution) -> tuple[float, ...]:
    """Observations in each bucket by itself."""
    counts = distribution.counts
    return tuple(upto - below for upto, below in zip(counts, (0.0, *counts[:-1]), strict=True))
