"""SLO verdicts as they are shown: share, interval, target, budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectors.judge.slo import Slo
from collectors.model import Judgement
from console.views import words

TWO_NINES = 0.99
BASIS = {
    "requests": "from request rows",
    "histogram": "from the engine's histogram: request rows cover too little",
    "none": "",
}


@dataclass(frozen=True, slots=True)
class Meter:
    """The interval and the target on a scale from `start` to 1, as shares of its length."""

    low: float
    high: float
    target: float
    start: float


@dataclass(frozen=True, slots=True)
class Card:
    """One SLO at one instant."""

    title: str
    state: str
    share: str
    interval: str
    target: str
    window: str
    counts: str
    budget: str
    basis: str
    why: str
    runbook: str
    meter: Meter | None


def cards(slos: Sequence[Slo], judged: Sequence[Judgement]) -> list[Card]:
    """A card for every SLO, in the order of the file; one that was never judged has no data."""
    by_name = {j.name: j for j in judged}
    return [_card(slo, by_name.get(slo.name)) for slo in slos]


def summary(cards_: Sequence[Card]) -> str:
    """All verdicts in one line."""
    states = [c.state for c in cards_]
    counted = [(states.count(s), words.state_word(s)) for s in ("missed", "undetermined", "met", "no_data")]
    return ", ".join(f"{n} {word}" for n, word in counted if n)


def budget_left(j: Judgement, target: float) -> float | None:
    """The share of the window's error budget that is left; negative where more was spent than there was."""
    return None if j.value is None else 1 - (1 - j.value) / (1 - target)


def _card(slo: Slo, j: Judgement | None) -> Card:
    if j is None:
        return Card(
            slo.title,
            "no_data",
            words.NO_DATA,
            "",
            _target(slo),
            words.window(slo.window),
            "",
            "",
            "",
            "It was not judged in the last hour: is the collector running?",
            slo.runbook,
            None,
        )
    known = j.low is not None and j.high is not None
    bad = None if j.value is None or j.count is None else (1 - j.value) * j.count
    counts = "" if bad is None else f"{words.number(bad)} bad of {words.number(j.count)} requests"
    left = budget_left(j, slo.target)
    return Card(
        slo.title,
        j.state,
        precise(j.value, slo.target),
        f"{precise(j.low, slo.target)} to {precise(j.high, slo.target)}" if known else "",
        _target(slo),
        words.window(slo.window, j.clock_scale),
        counts,
        _budget(left),
        BASIS.get(j.component, ""),
        j.missing or "",
        slo.runbook,
        _meter(j, slo.target),
    )


def precise(share: float | None, target: float) -> str:
    """A share with a digit more than its target has, so that the two can be told apart."""
    return words.percent(share, 2 if target > TWO_NINES else 1)


def _target(slo: Slo) -> str:
    return f"≥ {slo.target * 100:g} %"


def _budget(left: float | None) -> str:
    if left is None:
        return words.NO_DATA
    return f"{words.percent(left, 0)} left" if left >= 0 else f"spent {1 - left:.1f} times over"


def _meter(j: Judgement, target: float) -> Meter | None:
    if j.low is None or j.high is None:
        return None
    start = max(0.0, 1 - 1.6 * (1 - min(j.low, target)))
    scale = 1 - start
    return Meter((j.low - start) / scale, (j.high - start) / scale, (target - start) / scale, start)
