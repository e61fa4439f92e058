"""The answer to "whose requests are slow", put together from the store."""

from __future__ import annotations

from dataclasses import dataclass, replace

from collectors.diagnose.cohorts.answer import Cohort, Scope
from collectors.diagnose.cohorts.measures import MEASURES, Measure, Selection
from collectors.diagnose.cohorts.scope import ENOUGH_REQUESTS, scope
from collectors.diagnose.cohorts.selection import Limits
from collectors.store.population import Span, examples, population, quantile
from collectors.store.reader import Reader

__all__ = ["MEASURES", "Scoped", "scope_of"]

USUAL_QUANTILE = 0.95  # slow without a threshold: what one request in twenty of the baseline was
LEAST_MS = 1.0  # nobody waits for less, however usual even less may be
EXAMPLES = 3  # requests to open of each cohort


@dataclass(frozen=True, slots=True)
class Scoped:
    """What was asked, and its scope; `chosen` says which requests count as slow, None without any request."""

    measure: Measure
    span: Span
    baseline: Span | None
    chosen: Selection | None
    scope: Scope


def scope_of(
    reader: Reader, span: Span, baseline: Span | None, measure: Measure, chosen: Selection | None = None
) -> Scoped:
    """Whose requests in (since, until] are slow, beside those of a baseline. Raises StoreError.

    Without `chosen`, slow is beyond the P95 of the baseline, or without one of the span itself. What is
    chosen may also be any box of a chart: this against the rest of the span, and against no baseline.
    """
    with reader.snapshot():
        picked = chosen or _slow(reader, span, baseline, measure)
        return Scoped(measure, span, baseline, picked, _scope(reader, span, baseline, measure, picked))


def _slow(reader: Reader, span: Span, baseline: Span | None, measure: Measure) -> Selection | None:
    if not measure.answered:
        return Selection(above=0.0)
    found = baseline and quantile(reader, baseline, measure, USUAL_QUANTILE, ENOUGH_REQUESTS)
    over = quantile(reader, span, measure, USUAL_QUANTILE) if found is None else found
    return None if over is None else Selection(above=max(over, LEAST_MS))


def _scope(
    reader: Reader, span: Span, baseline: Span | None, measure: Measure, chosen: Selection | None
) -> Scope:
    now = population(reader, span, measure, chosen or Selection())
    beside = baseline if chosen and chosen.slow else None
    usual = population(reader, beside, measure, chosen) if beside and chosen else None
    limits = Limits(slower=bool(chosen and chosen.slow and measure.answered))
    found = scope(now, usual, measure.lengths, limits)
    if chosen is None:
        return found

    def opened(cohort: Cohort) -> Cohort:
        named = examples(reader, span, measure, chosen, cohort.attributes, EXAMPLES)
        return replace(cohort, examples=named)

    return replace(
        found,
        ranking=tuple(map(opened, found.ranking)),
        workload=tuple(map(opened, found.workload)),
        examples=examples(reader, span, measure, chosen, {}, EXAMPLES),
    )
