"""A replica's metrics text → canonical readings, whichever vLLM release wrote it.

What cannot be read right is left out and said so; a reading is never a guess. Trust is lost a metric at a
time where that can be told safely, and the whole text is refused where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from collectors.model import Kind
from collectors.signals.configuration import settings
from collectors.signals.families import (
    Damaged,
    Distribution,
    Family,
    Key,
    counters,
    find,
    gauges,
    histograms,
    refuse_damage,
    unit_unclear,
)
from collectors.signals.lines import ExpositionError, Scan, scan
from collectors.signals.metrics import HELP_NEEDED, METRICS, SAMPLE_NAMES, exposed, version_range

__all__ = ["Distribution", "Exposition", "ExpositionError", "Fault", "Key", "read"]

_REMEDY = (
    "Compare with the engine's /metrics. Other metrics are read as ever, this one once it is whole again"
)
_UNCLEAR_REMEDY = "Hit rates are right all the same; vLLM 0.9.2 and later count tokens"
T = TypeVar("T")


class Fault(NamedTuple):
    """What could not be read right: a canonical metric, or "other metrics"."""

    subject: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Exposition:
    """One scrape, translated.

    `damaged` are metrics that the text holds but that could not be read: their absence says nothing.
    A metric outside `exposed` is not exposed by this engine. `versions` is as `version_range` gives it,
    `samples` how many the text holds, read or not. `configuration` is empty where it is not told.
    """

    gauges: Mapping[Key, float]
    counters: Mapping[Key, float]
    histograms: Mapping[Key, Distribution]
    damaged: frozenset[str]
    faults: tuple[Fault, ...]
    exposed: frozenset[str]
    versions: str | None
    samples: int
    configuration: Mapping[str, str] = field(default_factory=dict)


def read(text: str) -> Exposition:
    """Translate one scrape. Raises ExpositionError where the text as a whole cannot be trusted."""
    return translate(scan(text, SAMPLE_NAMES, HELP_NEEDED))


def translate(found: Scan) -> Exposition:
    """The same for samples that did not come as a text. Raises ExpositionError."""
    seen = exposed(found.names)
    if not seen - {"process_start_s"}:
        raise ExpositionError(
            f"all {found.count} samples",
            "none of them is a vLLM metric",
            "Point the target at the engine itself; a gateway or an exporter may answer at this address",
        )
    families = [family for metric in METRICS if (family := find(metric, found))]
    damage: list[Fault] = []
    levels = _series(Kind.GAUGE, gauges, families, damage)
    counts = _series(Kind.COUNTER, counters, families, damage)
    distributions = _series(Kind.HISTOGRAM, histograms, families, damage)
    damaged = frozenset(fault.subject for fault in damage)
    return Exposition(
        gauges=levels,
        counters=counts,
        histograms=distributions,
        damaged=damaged,
        faults=(
            *damage,
            *_elsewhere(families, found),
            *(_unclear(family) for family in families if unit_unclear(family)),
        ),
        exposed=seen - _silent(families, levels) | damaged,
        versions=version_range(found.names),
        samples=found.count,
        configuration=settings(found.samples),
    )


def _series(
    kind: Kind, reader: Callable[[Family], dict[Key, T]], families: list[Family], damage: list[Fault]
) -> dict[Key, T]:
    """All series of one kind; a family that cannot be believed is added to the damage instead."""
    series: dict[Key, T] = {}
    for family in families:
        if family.metric.kind is not kind:
            continue
        try:
            refuse_damage(family)
            series |= reader(family)
        except Damaged as damaged:
            damage.append(Fault(family.metric.name, f"{family.spelling.name}: {damaged}", _REMEDY))
    return series


def _silent(families: list[Family], levels: Mapping[Key, float]) -> set[str]:
    """Gauges that stand in the text to say that they have nothing to say."""
    speaking = {key.metric for key in levels}
    return {f.metric.name for f in families if f.metric.kind is Kind.GAUGE} - speaking


def _elsewhere(families: list[Family], found: Scan) -> list[Fault]:
    """One word on all broken lines of metrics that nobody here reads: they harm nothing, but are a sign."""
    ours = {name for family in families for name in family.names}
    broken = [each for each in found.unread.values() if each.name not in ours]
    return [
        Fault(
            "other metrics", f'{len(broken)} broken, the first in line {each.line}, "{each.excerpt}"', _REMEDY
        )
        for each in broken[:1]
    ]


def _unclear(family: Family) -> Fault:
    what = f"{family.spelling.name} may count KV blocks, and the text does not say how many tokens one holds"
    return Fault(family.metric.name, what, _UNCLEAR_REMEDY)
