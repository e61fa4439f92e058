"""What the receiver and the forwarder tell of themselves, as facts and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from collectors.model import Kind, MetricFact, Problem

SOURCE = "otlp"
REMEDIES: Mapping[str, tuple[str, str]] = {
    "evicted": (
        "more traces were held than there is room for; the oldest were written as they were",
        "See whether vLLM exports its spans to this receiver (--otlp-traces-endpoint)",
    ),
    "crowded": (
        "a trace has more spans than a request can have; the rest of it was left out",
        "See whether a sender uses one trace id for everything",
    ),
    "dropped": (
        "spans on their way to MLflow were dropped; the rows of their requests are kept",
        "See whether MLflow is up and takes as many traces as come in",
    ),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What happened since the last poll, and how things stand: counts by name, levels by metric."""

    at: datetime
    replica: str
    interval_s: float | None
    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)


def facts(turn: Turn) -> tuple[MetricFact, ...]:
    """A turn as metric facts; a counter's label is what was counted."""
    return (*_counters(turn), *_levels(turn))


def problem(turn: Turn, what: str, remedy: str) -> Problem:
    """Something of this turn that a person has to know."""
    return Problem(turn.at, SOURCE, turn.replica, what, remedy)


def since(now: Counter[str], before: Counter[str]) -> dict[str, int]:
    """What was counted since; names stay once they have been counted."""
    return {name: count - before[name] for name, count in now.items()}


def _counters(turn: Turn) -> Iterator[MetricFact]:
    for metric, counted in turn.counters.items():
        for label, count in counted.items():
            yield MetricFact(
                turn.at,
                SOURCE,
                turn.replica,
                metric,
                Kind.COUNTER,
                float(count),
                label=label,
                interval_s=turn.interval_s,
            )


def _levels(turn: Turn) -> Iterator[MetricFact]:
    for metric, level in turn.levels.items():
        yield MetricFact(turn.at, SOURCE, turn.replica, metric, Kind.GAUGE, level, interval_s=turn.interval_s)
