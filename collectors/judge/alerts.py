"""The alert state machine: Prometheus's, to the letter, with `no_data` where Prometheus has nothing.

A condition that holds makes an alert pending; it fires once now - active_at >= for. It drops at the first
evaluation at which the condition does not hold, or has no data, unless it fires and `keep_firing_for`
still runs (elapsed < keep_firing_for). Source: prometheus/rules/alerting.go, AlertingRule.Eval.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from collectors.judge.rules import Rule
from collectors.signals.points import Point

AlertState = Literal["inactive", "pending", "firing", "no_data"]

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a rule and group, as it stood after its last evaluation."""

    state: AlertState = "inactive"
    active_at: datetime | None = None
    fired_at: datetime | None = None
    kept_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """One evaluation: what was compared with what, and the alert after it."""

    point: Point
    threshold: float | None
    missing: str | None
    alert: Alert


def judge_point(
    rule: Rule, before: Alert, point: Point, threshold: float | None, also: Point | None = None
) -> Judged:
    """One evaluation of one alert at the point's instant.

    `also` is the same reading over the rule's second window. Too little traffic counts as no data.
    """
    missing = _missing(rule, point, threshold, also)
    if missing is None and threshold is not None:
        holds = all(_holds(rule, p, threshold) for p in (point, also) if p is not None)
        return Judged(point, threshold, None, _next(rule, before, point.at, holds=holds))
    dropped = _next(rule, before, point.at, holds=False)
    state: AlertState = "no_data" if dropped.state == "inactive" else dropped.state
    return Judged(point, threshold, missing, replace(dropped, state=state))


def run(
    rule: Rule,
    before: Alert,
    points: Iterable[Point],
    thresholds: Mapping[datetime, float | None] | None = None,
    also: Mapping[datetime, Point] | None = None,
) -> list[Judged]:
    """Evaluations over consecutive points of one group, each from the state that the last one left."""
    judged: list[Judged] = []
    for point in points:
        threshold = rule.threshold if thresholds is None else thresholds.get(point.at)
        second = None if also is None else also.get(point.at)
        judged.append(judge_point(rule, before, point, threshold, second))
        before = judged[-1].alert
    return judged


def transitions(before: Alert, judged: Sequence[Judged]) -> list[tuple[datetime, AlertState, AlertState]]:
    """Where the state changed: (instant, from, to)."""
    states = [before.state, *(j.alert.state for j in judged)]
    changed = zip(judged, states[:-1], states[1:], strict=True)
    return [(j.point.at, old, new) for j, old, new in changed if old != new]


def _missing(rule: Rule, point: Point, threshold: float | None, also: Point | None) -> str | None:
    for p in (point, also):
        if p is not None and p.value is None:
            return p.missing or "no data"
    if rule.also_window is not None and also is None:
        return "no data in the second window"
    if point.count < rule.min_traffic:
        return f"too little traffic: {point.count:g} of {rule.min_traffic:g}"
    return "no baseline yet" if threshold is None else None


def _holds(rule: Rule, point: Point, threshold: float) -> bool:
    return point.value is not None and _COMPARE[rule.op](point.value, threshold)


def _next(rule: Rule, before: Alert, at: datetime, *, holds: bool) -> Alert:
    if holds:
        return _active(rule, before, at)
    if before.state == "firing" and _kept(rule, before, at):
        return replace(before, kept_since=before.kept_since or at)
    return Alert()


def _active(rule: Rule, before: Alert, at: datetime) -> Alert:
    since = before.active_at or at
    if before.state == "firing":
        return replace(before, kept_since=None)
    if at - since >= rule.for_:
        return Alert("firing", since, at)
    return Alert("pending", since)


def _kept(rule: Rule, before: Alert, at: datetime) -> bool:
    return rule.keep_firing_for.total_seconds() > 0 and at - (before.kept_since or at) < rule.keep_firing_for
