"""What a reading reads at an instant: a value with its bounds, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt

Z_95 = 1.959963984540054  # two-sided 95 % of the standard normal


@dataclass(frozen=True, slots=True)
class Point:
    """A reading at one instant for one group.

    `low` and `high` bound the value: the bucket of a histogram quantile, an interval for request readings.
    `count` is how many observations (tokens, requests, series) the value rests on.
    """

    at: datetime
    group: tuple[str, ...] = ()
    value: float | None = None
    low: float | None = None
    high: float | None = None
    count: float = 0.0
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Instants start, start + step, ... (`count` of them) at which a reading is computed in one query."""

    start: datetime
    step: timedelta
    count: int

    @property
    def end(self) -> datetime:
        """The last instant."""
        return self.start + self.step * (self.count - 1)

    def instants(self) -> list[datetime]:
        """All instants, oldest first."""
        return [self.start + self.step * k for k in range(self.count)]


def at_instant(at: datetime) -> Grid:
    """The grid of one instant."""
    return Grid(at, timedelta(seconds=1), 1)


def component(by: Sequence[str], group: Sequence[str]) -> str:
    """A group in words, such as "adapter=manga_domain_v4"; empty where nothing is grouped."""
    return ", ".join(f"{name}={value}" for name, value in zip(by, group, strict=True))


def wilson(good: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), within [0, 1]; n must be above 0.

    Chosen over the normal interval because shares near 1 are the rule here, and over the exact
    (Clopper-Pearson) one because it has a closed form and is not needlessly wide.
    """
    share = good / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
