"""The clocks, handed in: one for durations that never steps, one that dates spans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Both in nanoseconds."""

    wall_ns: Callable[[], int]
    steady_ns: Callable[[], int]

    def steady_s(self) -> float:
        """Seconds of the steady clock."""
        return self.steady_ns() / NS_PER_S

    def now(self) -> datetime:
        """The wall clock as an instant."""
        return datetime.fromtimestamp(self.wall_ns() / NS_PER_S, UTC)

    def anchored(self) -> Anchor:
        """Where both clocks stand now."""
        return Anchor(self.wall_ns(), self.steady_ns())


@dataclass(frozen=True, slots=True)
class Anchor:
    """Dates steady readings by one look at the wall clock, so that durations and dates never disagree."""

    wall_ns: int
    steady_ns: int

    def date_ns(self, steady_ns: int) -> int:
        """The wall clock's time of a steady reading."""
        return self.wall_ns + steady_ns - self.steady_ns

    def since_ms(self, steady_ns: int) -> float:
        """Milliseconds from the anchor to a steady reading."""
        return (steady_ns - self.steady_ns) / NS_PER_MS
