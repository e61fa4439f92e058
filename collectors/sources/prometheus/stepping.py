"""One scrape that Prometheus made, after the one before: the facts that our own would have given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from collectors.model import Batch, Kind, MetricFact, Problem
from collectors.signals.exposition import Exposition, ExpositionError, translate
from collectors.signals.increments import Snapshot, advance
from collectors.signals.lines import Scan
from collectors.signals.samples import Health

SOURCE = "prometheus"
# As for engines scraped directly: half the shortest window of a rule, and three scrapes.
MAX_GAP, GAP_INTERVALS = timedelta(minutes=1), 3
RECENT = 20


@dataclass(frozen=True, slots=True)
class Followed:
    """Where a target stood at its last scrape, and when its last ones were."""

    snapshot: Snapshot | None = None
    recent: tuple[datetime, ...] = ()


def step(before: Followed, replica: str, health: Health, text: Scan | None) -> tuple[Followed, Batch]:
    """Where the target stands after a scrape, and its facts; without a text the scrape failed."""
    recent = (*before.recent, health.at)[-RECENT:]
    interval_s = (health.at - before.recent[-1]).total_seconds() if before.recent else None
    told = _Told(replica, health, interval_s)
    if text is None:
        return Followed(before.snapshot, recent), Batch(told.facts(None))
    try:
        seen = translate(text)
    except ExpositionError as error:
        problem = Problem(
            health.at, SOURCE, replica, f"cannot be read, {error.where}: {error.what}", error.remedy
        )
        return Followed(before.snapshot, recent), Batch(told.facts(None), problems=(problem,))
    after = advance(
        before.snapshot, seen, health.at, source=SOURCE, replica=replica, max_gap=_max_gap(recent)
    )
    return Followed(after.snapshot, recent), Batch(
        told.facts(seen) + after.metrics, (), after.events, after.problems
    )


def _max_gap(recent: Sequence[datetime]) -> timedelta:
    """Three times the interval at which Prometheus usually scrapes, which it alone knows."""
    spans = [(b - a).total_seconds() for a, b in pairwise(recent)]
    usual = timedelta(seconds=median(spans)) if spans else timedelta()
    return max(MAX_GAP, GAP_INTERVALS * usual)


@dataclass(frozen=True, slots=True)
class _Told:
    """How the scrape itself went."""

    replica: str
    health: Health
    interval_s: float | None

    def facts(self, seen: Exposition | None) -> tuple[MetricFact, ...]:
        h = self.health
        levels = {
            "up": float(seen is not None),
            "scrape_duration_s": h.took_s,
            "scrape_samples": h.samples if seen else None,
        }
        return tuple(
            MetricFact(h.at, SOURCE, self.replica, name, Kind.GAUGE, value, interval_s=self.interval_s)
            for name, value in levels.items()
            if value is not None
        )
