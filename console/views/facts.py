"""What the store answers to the console's questions: plain values, the input of every view."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from collectors.signals.points import Point
from collectors.signals.readings import Reading
from collectors.signals.startup import StartUp

STAGES = ("gateway", "frontend", "queue", "prefill", "decode")  # in the order in which they happen


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that could not be answered: what happened, and what a person can do."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """The newest facts up to an instant; None where there is none. `interval` lies between scrapes."""

    scrape: datetime | None = None
    request: datetime | None = None
    judgement: datetime | None = None
    clock_scale: float = 1.0
    interval: timedelta | None = None

    @property
    def newest(self) -> datetime | None:
        """The newest fact of any kind."""
        return max((at for at in (self.scrape, self.request, self.judgement) if at), default=None)


@dataclass(frozen=True, slots=True)
class Slice:
    """The requests that ended in (end - window, end]: mean stages and P95s in milliseconds.

    `basis` says who counted them: request rows, or the engines' own histograms.
    """

    end: datetime
    count: int
    stages: dict[str, float | None] = field(default_factory=dict)
    ttft_p95_ms: float | None = None
    e2e_p95_ms: float | None = None
    basis: Literal["requests", "engine"] = "requests"


@dataclass(frozen=True, slots=True)
class Told:
    """A reading with its points over the span, oldest first, and the window it was read with."""

    reading: Reading
    window: timedelta
    points: tuple[Point, ...]

    @property
    def last(self) -> Point | None:
        """The point of the instant looked at."""
        return self.points[-1] if self.points else None


@dataclass(frozen=True, slots=True)
class Change:
    """A run of one state beginning at `at`."""

    name: str
    component: str
    at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Origin:
    """One source and replica over the span; `cells` is the worst `up` of each part of it, None if silent."""

    source: str
    replica: str
    newest: datetime
    up: float
    scrapes: int
    failed: int
    duration_s: float | None
    samples: float | None
    cells: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Inlet:
    """A receiver of traces over the span: what was counted, by metric and label, and its newest levels."""

    replica: str
    newest: datetime
    counted: dict[tuple[str, str], int] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)

    def count(self, metric: str, *labels: str) -> int:
        """The sum of a counter, over these labels or over all."""
        return sum(
            n for (m, label), n in self.counted.items() if m == metric and label in (labels or (label,))
        )


@dataclass(frozen=True, slots=True)
class Life:
    """A replica's process: when it began, as it says itself, and the first scrape that it answered."""

    replica: str
    began: datetime
    answered: datetime


@dataclass(frozen=True, slots=True)
class Starts:
    """What processes told of their start since an instant: of each the newest, newest first.

    `counted` is how often each began, by kind and name; `lives` who answered scrapes soon after a start-up,
    by its key.
    """

    since: datetime
    newest: list[StartUp]
    counted: dict[tuple[str, str], int] = field(default_factory=dict)
    lives: dict[str, list[Life]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableState:
    """A table of the store: its version, None where it does not exist, and its rows in the span."""

    name: str
    version: int | None
    rows: int
