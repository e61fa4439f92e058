"""What a prefix that is not found again costs: tokens read anew, and the time that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """A loss, per request and per hour. Times are None where prefill was not measured.

    `ttft_ms` is the least that the first token comes later: it waits for the prefill. Under load the
    queue adds to it.
    """

    tokens: float
    prefill_ms: float | None
    ttft_ms: float | None
    requests_per_h: float
    tokens_per_h: float
    prefill_ms_per_h: float | None


@dataclass(frozen=True, slots=True)
class Sums:
    """Over n requests: tokens that were not cached (x), prefill in milliseconds (y), and their products."""

    n: float
    x: float
    y: float
    xx: float
    xy: float


@dataclass(frozen=True, slots=True)
class Cohort:
    """Requests of like length: how many there are, and the tokens they found cached against the others'."""

    requests: int
    cached: float
    cached_of_reference: float


def cost(lost_tokens: float, ms_per_token: float | None, requests_per_h: float) -> Cost:
    """The cost of so many tokens a request that have to be read again."""
    prefill_ms = None if ms_per_token is None else lost_tokens * ms_per_token
    hourly = None if prefill_ms is None else prefill_ms * requests_per_h
    return Cost(lost_tokens, prefill_ms, prefill_ms, requests_per_h, lost_tokens * requests_per_h, hourly)


def ms_per_token(sums: Sums) -> float | None:
    """Milliseconds of prefill a token that was not cached: the slope of the least squares.

    None where requests are too alike to tell, or where more tokens took less time.
    """
    spread = sums.n * sums.xx - sums.x * sums.x
    if sums.n < _ENOUGH or spread <= 0:
        return None
    slope = (sums.n * sums.xy - sums.x * sums.y) / spread
    return slope if slope > 0 else None


def lost_tokens(cohorts: Sequence[Cohort]) -> float | None:
    """Tokens a request that others of its length found cached and it did not; None without any to compare."""
    count = sum(c.requests for c in cohorts)
    if not count:
        return None
    return sum(c.requests * (c.cached_of_reference - c.cached) for c in cohorts) / count


_ENOUGH = 20  # requests: fewer are led by one that waited
