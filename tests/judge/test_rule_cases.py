"""The bundled rules, each on readings in Prometheus's series notation: `tests/rules/<rule>.yaml`.

A reading's value at an instant already covers its window; `count` is what it rests on, `also` the same
reading over the rule's second window (`values` again where it is not given).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collectors.judge.alerts import Alert, AlertState, Judged, run
from collectors.judge.baseline import History, extended, missing_bins, thresholds
from collectors.judge.rules import Rule, parse_rules
from collectors.settings import RULES
from collectors.signals.points import Grid, Point
from collectors.validation import Duration, Length, Strict, parse_yaml, validate
from tests.judge.notation import expand

START = datetime(2026, 11, 1, tzinfo=UTC)
FOLDER = Path(__file__).resolve().parents[1] / "rules"
PLENTY = "1e6"
BUNDLED = {rule.name: rule for rule in parse_rules(RULES.read_text(encoding="utf-8"), RULES.name)}


class Series(Strict):
    """One group's readings, one an interval."""

    values: str
    count: str | None = None
    also: str | None = None
    group: str | None = None


class Expectation(Strict):
    """How a group's alert stands at an instant after the start."""

    at: Duration
    state: AlertState
    group: str | None = None


class Case(Strict):
    """What the rule sees, and what it has to make of it."""

    name: str
    series: tuple[Series, ...]
    expect: tuple[Expectation, ...]


class RuleCases(Strict):
    """A file of cases."""

    rule: str
    interval: Length
    cases: tuple[Case, ...]


def load(path: Path) -> RuleCases:
    return validate(RuleCases, parse_yaml(path.read_text(encoding="utf-8"), path.name), path.name)


FILES = {path.stem: load(path) for path in sorted(FOLDER.glob("*.yaml"))}
CASES = [
    pytest.param(BUNDLED[file.rule], file.interval, case, id=f"{name}: {case.name}")
    for name, file in FILES.items()
    for case in file.cases
    if file.rule in BUNDLED
]


def check(rule: Rule, interval: timedelta, case: Case) -> None:
    found = judged(rule, interval, case)
    for expected in case.expect:
        looks = {j.point.at - START: j.alert.state for j in found[expected.group]}
        assert expected.at in looks, f"{case.name}: its series say nothing of {expected.at}"
        assert looks[expected.at] == expected.state, f"{expected.group or rule.name} at {expected.at}"


def judged(rule: Rule, interval: timedelta, case: Case) -> dict[str | None, list[Judged]]:
    """Every group's evaluations, from the rule as it ships."""
    seen = {s.group: points(s, s.values, interval) for s in case.series}
    limits = baselines(rule, interval, [p for own in seen.values() for p in own])
    return {
        s.group: run(
            rule,
            Alert(),
            seen[s.group],
            {p.at: limits[p.at, p.group] for p in seen[s.group]} if rule.baseline else None,
            {p.at: p for p in points(s, s.also or s.values, interval)} if rule.also_window else None,
        )
        for s in case.series
    }


def points(series: Series, notation: str, interval: timedelta) -> list[Point]:
    values = expand(notation)
    counts = expand(series.count or f"{PLENTY}x{len(values)}")
    group = (series.group,) if series.group else ()
    return [
        Point(START + k * interval, group, value, count=count or 0, missing="none" if value is None else None)
        for k, (value, count) in enumerate(zip(values, counts, strict=False))
    ]


def baselines(
    rule: Rule, interval: timedelta, seen: list[Point]
) -> dict[tuple[datetime, tuple[str, ...]], float | None]:
    ends = {p.at for p in seen}
    bins = missing_bins(rule, History(), Grid(START, interval, len(ends)))
    if bins is None:
        return {}
    instants = set(bins.instants())
    return thresholds(rule, extended(rule, History(), bins, [p for p in seen if p.at in instants]), seen)


@pytest.mark.parametrize(("rule", "interval", "case"), CASES)
def test_a_rule_does_what_its_case_says(rule: Rule, interval: timedelta, case: Case) -> None:
    check(rule, interval, case)


# ------------------------------------------------------------------------------------- both ways
def test_every_rule_has_cases_and_every_file_of_cases_a_rule() -> None:
    assert sorted(FILES) == sorted(BUNDLED)
    assert {name: file.rule for name, file in FILES.items()} == {name: name for name in BUNDLED}


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_every_rule_has_a_case_that_fires_and_one_that_stays_quiet(name: str) -> None:
    file = FILES[name]
    fires = [any(e.state == "firing" for e in case.expect) for case in file.cases]
    judgements = [judged(BUNDLED[name], file.interval, case) for case in file.cases]
    quiet = [all(j.alert.state != "firing" for js in j_.values() for j in js) for j_ in judgements]
    assert any(fires), "no case expects it to fire"
    assert any(q and c.expect for q, c in zip(quiet, file.cases, strict=True)), (
        "no case in which it never fires"
    )
