"""The alert state machine does what Prometheus's does, and says no data where Prometheus says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collectors.judge.alerts import Alert, Judged, judge_point, run, transitions
from collectors.judge.rules import Rule
from collectors.signals.points import Point
from tests.judge.notation import expand

START = datetime(2026, 11, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
LETTERS = {"inactive": "i", "pending": "p", "firing": "F", "no_data": "-"}


def rule(**changed: Any) -> Rule:
    """More than 1 for two minutes, unless said otherwise."""
    plain = {"name": "r", "title": "R", "summary": "", "reading": "queue_depth", "op": ">", "threshold": 1}
    more = {"window": "1m", "for": "2m", "severity": "warning", "runbook": "r"}
    return Rule.model_validate({**plain, **more, **changed})


def points(values: Sequence[float | None], count: float = 100, step: timedelta = STEP) -> list[Point]:
    missing = "no scrape in the window"
    return [
        Point(START + k * step, (), value, count=count, missing=missing if value is None else None)
        for k, value in enumerate(values)
    ]


def states(judged: Sequence[Judged]) -> str:
    return "".join(LETTERS[j.alert.state] for j in judged)


def check(changed: dict[str, Any], values: str, expected: str) -> None:
    assert states(run(rule(**changed), Alert(), points(expand(values)))) == expected


KEEP = {"keep_firing_for": "2m"}
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "what never holds is inactive": ({}, "0x3", "iiii"),
    "pending until now - active_at reaches for, firing from then on": ({}, "0 2x4", "ippFFF"),
    "for 0 fires at once": ({"for": "0s"}, "0 2 0", "iFi"),
    "a for shorter than a step fires at the second evaluation": ({"for": "1s"}, "2 2 0", "pFi"),
    "a for between two steps fires at the first evaluation after it": ({"for": "90s"}, "2x3", "ppFF"),
    "pending drops at the first false, and begins anew": ({}, "2 2 0 2 2 2", "ppippF"),
    "pending drops at the first absent, and begins anew": ({}, "2 2 _ 2 2 2", "pp-ppF"),
    "firing ends at the first false": ({}, "2x3 0 2", "ppFFip"),
    "firing ends at the first absent": ({}, "2x3 _ 2", "ppFF-p"),
    "the threshold itself does not hold for >": ({"for": "0s"}, "1", "i"),
    "the threshold itself holds for >=": ({"for": "0s", "op": ">="}, "1", "F"),
    "the threshold itself does not hold for <": ({"for": "0s", "op": "<"}, "1 0", "iF"),
    "the threshold itself holds for <=": ({"for": "0s", "op": "<="}, "1 2", "Fi"),
    "nothing is rounded before it is compared": ({"for": "0s"}, "1.0000000001", "F"),
    "no data is shown instead of inactive": ({}, "_ 0 _", "-i-"),
    "keep_firing_for holds while less than it has passed": (KEEP, "2x2 0x3", "ppFFFii"),
    "keep_firing_for holds through absence as well": (KEEP, "2x2 _x4", "ppFFF--"),
    "absence and falsehood are one stretch for keep_firing_for": (KEEP, "2x2 _ 0 0", "ppFFFi"),
    "keep_firing_for is reset when the condition holds again": (KEEP, "2x2 0x1 2 0x2", "ppFFFFFFi"),
    "keep_firing_for never keeps what is only pending": (KEEP, "2 2 0 0", "ppii"),
    "after keep_firing_for, pending begins anew": (KEEP, "2x2 0x2 2x2", "ppFFFippF"),
    "a keep_firing_for shorter than a step keeps one evaluation": (
        {"keep_firing_for": "1s"},
        "2x2 0 0",
        "ppFFi",
    ),
    "keep_firing_for works with for 0": ({"for": "0s", **KEEP}, "2 0x2 2", "FFFiF"),
}


@pytest.mark.parametrize(("changed", "values", "expected"), CASES.values(), ids=CASES)
def test_an_alert_goes_through_the_states_of_prometheus(
    changed: dict[str, Any], values: str, expected: str
) -> None:
    check(changed, values, expected)


def test_an_alert_remembers_since_when_it_holds_fires_and_is_kept() -> None:
    judged = run(rule(**KEEP), Alert(), points(expand("2x2 0 0 0")))
    at = [p.point.at for p in judged]
    assert judged[1].alert == Alert("pending", at[0])
    assert judged[3].alert == Alert("firing", at[0], at[2], at[3])
    assert judged[4].alert == Alert("firing", at[0], at[2], at[3])
    assert judged[5].alert == Alert()


# ------------------------------------------------------------------------------- traffic, windows, limits
@pytest.mark.parametrize(
    ("count", "expected", "missing"),
    [
        pytest.param(19, "---", "too little traffic: 19 of 20", id="one short of min_traffic is no data"),
        pytest.param(20, "ppF", None, id="min_traffic itself is enough"),
    ],
)
def test_too_little_traffic_is_no_data(count: float, expected: str, missing: str | None) -> None:
    judged = run(rule(min_traffic=20), Alert(), points([2, 2, 2], count))
    assert (states(judged), judged[-1].missing) == (expected, missing)


@pytest.mark.parametrize(
    ("second", "expected", "missing"),
    [
        pytest.param("2", "F", None, id="both windows hold"),
        pytest.param("0", "i", None, id="the second window does not"),
        pytest.param("_", "-", "no scrape in the window", id="the second window has no data"),
        pytest.param("", "-", "no data in the second window", id="the second window does not know the group"),
    ],
)
def test_the_second_window_has_to_hold_as_well(second: str, expected: str, missing: str | None) -> None:
    also = {p.at: p for p in points(expand(second), count=0)}
    judged = run(rule(**{"for": "0s"}, also_window="1m", min_traffic=20), Alert(), points([2]), None, also)
    assert (states(judged), judged[0].missing) == (expected, missing)


def test_a_threshold_of_its_own_at_every_instant_and_none_is_no_baseline() -> None:
    at = [p.at for p in points([2] * 4)]
    limits = {at[0]: 3.0, at[1]: 1.5, at[2]: None}
    judged = run(rule(**{"for": "0s"}), Alert(), points([2] * 4), limits)
    assert states(judged) == "iF--"
    assert [j.threshold for j in judged] == [3.0, 1.5, None, None]
    assert judged[2].missing == "no baseline yet"


def test_transitions_are_the_changes_of_state_and_begin_at_the_state_before() -> None:
    judged = run(rule(), Alert("no_data"), points([None, 0, 2, 2, 2, None]))
    at = [j.point.at for j in judged]
    assert transitions(Alert("no_data"), judged) == [
        (at[1], "no_data", "inactive"),
        (at[2], "inactive", "pending"),
        (at[4], "pending", "firing"),
        (at[5], "firing", "no_data"),
    ]


# ------------------------------------------------------------------------------------------ properties
Values = st.lists(st.sampled_from([0.0, 2.0, 2.0, 2.0, None]), max_size=40)
Lengths = st.integers(min_value=0, max_value=400).map(lambda s: timedelta(seconds=s))
Steps = st.integers(min_value=1, max_value=120).map(lambda s: timedelta(seconds=s))


@dataclass
class GoAlert:
    """rules.Alert, as far as its state goes."""

    state: str
    active_at: datetime
    kept_since: datetime | None = None


def prometheus(holds: Sequence[bool], at: Sequence[datetime], for_: timedelta, keep: timedelta) -> list[str]:
    """AlertingRule.Eval of prometheus/rules/alerting.go, line by line, for one label set."""
    active: GoAlert | None = None
    seen = []
    for ts, present in zip(at, holds, strict=True):
        if present and (active is None or active.state == "inactive"):
            active = GoAlert("pending", ts)
        if active is not None:
            keep_firing = False
            if present:
                active.kept_since = None
            else:
                if active.state == "firing" and keep > timedelta():
                    active.kept_since = active.kept_since or ts
                    keep_firing = ts - active.kept_since < keep
                if active.state == "pending":
                    active = None
                elif active.state != "inactive" and not keep_firing:
                    active.state = "inactive"
            if active is not None and active.state == "pending" and ts - active.active_at >= for_:
                active.state = "firing"
        seen.append(active.state if active else "inactive")
    return seen


@given(Values, Steps, Lengths, Lengths)
@example([2.0] * 6 + [0.0] * 6, STEP, 2 * STEP, 2 * STEP)
def test_the_states_are_those_of_prometheus(
    values: list[float | None], step: timedelta, for_: timedelta, keep: timedelta
) -> None:
    looks = points(values, step=step)
    theirs = prometheus([p.value == 2 for p in looks], [p.at for p in looks], for_, keep)
    ours = [j.alert.state for j in run(rule(**{"for": for_}, keep_firing_for=keep), Alert(), looks)]
    shown = [
        "no_data" if t == "inactive" and p.value is None else t for t, p in zip(theirs, looks, strict=True)
    ]
    assert ours == shown


@given(Values, Steps, Lengths)
def test_nothing_fires_without_a_full_for_of_consecutive_holding_points(
    values: list[float | None], step: timedelta, for_: timedelta
) -> None:
    looks = points(values, step=step)
    for k, judged in enumerate(run(rule(**{"for": for_}), Alert(), looks)):
        run_up = [p for p in looks[: k + 1] if p.at >= judged.point.at - for_]
        covered = judged.point.at - for_ >= START
        if judged.alert.state == "firing":
            assert covered
            assert all(p.value == 2 for p in run_up)


@given(Values, Lengths, Lengths, st.integers(min_value=0, max_value=40))
def test_a_list_judged_in_pieces_is_judged_the_same(
    values: list[float | None], for_: timedelta, keep: timedelta, cut: int
) -> None:
    judging, looks = rule(**{"for": for_}, keep_firing_for=keep), points(values)
    whole = run(judging, Alert(), looks)
    first = run(judging, Alert(), looks[:cut])
    rest = run(judging, first[-1].alert if first else Alert(), looks[cut:])
    assert first + rest == whole


@given(st.sampled_from(list(LETTERS)), st.booleans())
def test_no_data_is_never_inactive(state: Any, kept: bool) -> None:
    before = Alert(state, START, START, START if kept else None)
    judged = judge_point(rule(**KEEP), before, Point(START + STEP), 1.0)
    assert judged.alert.state != "inactive"
    assert judged.missing
