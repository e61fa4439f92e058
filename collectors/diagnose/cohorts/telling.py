"""A scope in one sentence that can be pasted into a ticket."""

from __future__ import annotations

from collections.abc import Mapping

from collectors.diagnose.cohorts.answer import Cohort, Kind, Scope
from collectors.diagnose.cohorts.measures import Measure, Selection

LENGTH_WORDS = {"prompt_tokens": "longer prompts", "output_tokens": "longer answers"}


def sentence(found: Scope, measure: Measure, chosen: Selection | None) -> str:
    """What was found, with the numbers that it rests on."""
    which = _which(measure, chosen)
    counted = f"{found.marked:,} of {found.count:,} requests {which}"
    match found.kind:
        case Kind.UNDETERMINED:
            return f"Undetermined: {counted}; that is too few to compare."
        case Kind.ISOLATED:
            return f"Isolated: {counted}; no attribute explains them."
        case Kind.SYSTEMIC:
            return f"Systemic: {counted}{_usually(found)}; {_how_wide(found)}."
        case Kind.COHORT:
            first, *more = [*found.ranking, *found.workload]
            others = f", and {len(more)} more below" if more else ""
            return f"A cohort: {counted}{_usually(found)}; {_told(first)}{others}."


def words(attributes: Mapping[str, str | None]) -> str:
    """A cohort as people write it: adapter=manga_domain_v4, locale=ja-JP."""
    return ", ".join(
        f"{name}={'(unknown)' if value is None else value}" for name, value in attributes.items()
    )


def through(cohort: Cohort) -> str:
    """Which lengths explain it; empty where none do."""
    return " and ".join(LENGTH_WORDS.get(name, name) for name in cohort.through)


def _which(measure: Measure, chosen: Selection | None) -> str:
    if not measure.answered:
        return "failed"
    if chosen is None or not chosen.slow:
        return "are in the selection"
    return f"took over {chosen.above:,.0f} ms ({measure.name})"


def _usually(found: Scope) -> str:
    return "" if found.usual_share is None else f", usually {found.usual_share:.1%}"


def _how_wide(found: Scope) -> str:
    if found.raised is None:
        return "no attribute explains most of them"
    at = found.raised_at_lengths
    longer = at is not None and found.lengths and 2 * (at.risk - 1) < found.raised.risk - 1
    why = ", mostly because prompts and answers are longer than usual" if longer else ""
    return f"all kinds of requests share it{why}"


def _told(cohort: Cohort) -> str:
    effect = cohort.whatever_lengths if cohort.through else cohort.effect
    often = f"{effect.risk:,.1f} times as often as the rest" if effect else "more often than the rest"
    why = f" because of {through(cohort)}" if cohort.through else ""
    same = "" if cohort.through or not effect else " at the same lengths"
    covers = f"{cohort.share:.0%} of them are {words(cohort.attributes)}"
    return f"{covers}, hit {often}{same}{why}"
