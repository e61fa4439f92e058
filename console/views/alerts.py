"""Alerts: order, timeline and rules in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from collectors.judge.rules import Rule
from collectors.model import EventFact, Judgement
from console.views import words
from console.views.facts import Change
from console.views.frame import Frame, clock

ORDER = ("firing", "pending", "no_data", "inactive")
SHOWN = ("pending", "firing", "no_data")
SLO_SHOWN = ("met", "undetermined", "missed", "no_data")
MIN_SHARE = 0.002  # of the span: a bar thinner than this could not be seen


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a timeline."""

    row: str
    start: datetime
    end: datetime
    state: str
    text: str


def ordered(judged: Iterable[Judgement]) -> list[Judgement]:
    """The worst first."""
    return sorted(
        judged, key=lambda j: (ORDER.index(j.state) if j.state in ORDER else len(ORDER), j.name, j.component)
    )


def bars(
    changes: Sequence[Change],
    frame: Frame,
    titles: Mapping[str, str],
    until: datetime,
    shown: Sequence[str] = SHOWN,
) -> tuple[list[Bar], list[str]]:
    """Runs of the shown states as bars, and the rows they stand in: those with something to show."""
    by: dict[tuple[str, str], list[Change]] = {}
    for c in changes:
        by.setdefault((c.name, c.component), []).append(c)
    found: list[Bar] = []
    for (name, component), own in by.items():
        label = row_label(titles.get(name, words.title(name)), component)
        for a, b in zip(own, [*own[1:], None], strict=True):
            if a.state in shown:
                found.append(_bar(label, a, b.at if b else until, frame))
    rows = [row_label(titles.get(n, words.title(n)), c) for n, c in by]
    with_bars = {b.row for b in found}
    return found, sorted(dict.fromkeys(r for r in rows if r in with_bars))


def row_label(title: str, component: str) -> str:
    """A rule and its component on a chart's axis."""
    value = component.partition("=")[2] or component
    return f"{title} · {value}" if value else title


def transitions(events: Sequence[EventFact], rule: str | None) -> list[EventFact]:
    """The transitions of one rule, or of all."""
    return [e for e in events if rule is None or e.subject.partition("[")[0] == rule]


def condition(rule: Rule, scale: float) -> str:
    """The rule's condition in words."""
    limit = (
        words.amount(rule.threshold, rule.source.unit)
        if rule.baseline is None
        else f"{rule.baseline.factor:g} times its usual over {words.window(rule.baseline.window, scale)}"
    )
    parts = [f"{rule.reading} {rule.op} {limit}", f"over {words.window(rule.window, scale)}"]
    if rule.also_window:
        parts.append(f"and over {words.window(rule.also_window, scale)}")
    parts.append(f"for {words.window(rule.for_, scale)}" if rule.for_ else "at once")
    return ", ".join(parts)


def details(rule: Rule, scale: float) -> list[tuple[str, str]]:
    """The rule as its file says it."""
    return [
        ("Condition", condition(rule, scale)),
        ("Reading", rule.source.help),
        ("By", ", ".join(rule.source.by) or "all replicas together"),
        ("Severity", rule.severity),
        ("Least traffic", f"{rule.min_traffic:g}" if rule.min_traffic else "none asked"),
        (
            "Keeps firing for",
            words.window(rule.keep_firing_for, scale) if rule.keep_firing_for else "not at all",
        ),
    ]


def _bar(label: str, c: Change, end: datetime, frame: Frame) -> Bar:
    start = max(c.at, frame.since)
    state, begun = words.state_word(c.state), clock(c.at, frame, both=False)
    text = f"{label}: {state} for {words.length(end - c.at)}, from {begun}"
    return Bar(label, start, max(end, start + frame.span * MIN_SHARE), words.state_word(c.state), text)
