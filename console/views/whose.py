"""Whose requests are slow: what is marked on a chart, and the cohorts that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from collectors.diagnose.cohorts.answer import Cohort, Scope
from collectors.diagnose.cohorts.measures import Selection
from collectors.diagnose.cohorts.telling import through, words
from console.views.frame import Frame

Point = tuple[datetime, float, str]  # when it ended, how long, its id


def box(picked: Mapping[str, Any], frame: Frame) -> Selection | None:
    """The box that was drawn on the chart; None where there is none. Its times are the zone's wall time."""
    boxes = picked.get("box") or []
    if not boxes or len(boxes[0].get("x", ())) < 2 or len(boxes[0].get("y", ())) < 2:  # noqa: PLR2004 - two corners
        return None
    times = sorted(_instant(str(x), frame) for x in boxes[0]["x"])
    low, high = sorted(float(y) for y in boxes[0]["y"])
    return Selection(above=low, up_to=high, since=times[0], until=times[-1])


def rows(found: Scope) -> list[tuple[str, str, str, str, str, tuple[str, ...]]]:
    """(cohort, marked, share of what is marked, times as often, why, requests to open), strongest first."""
    return [_row(c) for c in (*found.ranking, *found.workload)]


def note(found: Scope) -> str:
    """What was held constant."""
    alike = " and ".join(found.lengths).replace("_", " ")
    return f"compared at the same {alike}" if alike else "lengths do not matter here"


def _row(c: Cohort) -> tuple[str, str, str, str, str, tuple[str, ...]]:
    effect = c.whatever_lengths if c.through else c.effect
    often = f"× {effect.risk:,.2g} ({effect.risk_low:,.2g} to {effect.risk_high:,.2g})" if effect else "–"
    why = f"because of {through(c)}" if c.through else _twins(c.twins)
    return words(c.attributes), f"{c.marked:,} of {c.count:,}", f"{c.share:.0%}", often, why, c.examples


def _twins(twins: Sequence[Mapping[str, str | None]]) -> str:
    return "; ".join(f"or {words(twin)}: cannot be told apart" for twin in twins)


def _instant(text: str, frame: Frame) -> datetime:
    at = datetime.fromisoformat(text.replace(" ", "T"))
    return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(frame.zone))).astimezone(UTC)
