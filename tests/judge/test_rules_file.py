"""Files of rules and SLOs: every mistake at once, with file, key and remedy; the bundled ones are sound."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.judge.rules import BUCKETS_S, Rule, parse_rules, scaled
from collectors.judge.slo import parse_slos
from collectors.model import RequestFact
from collectors.settings import RULES, RUNBOOKS, SLOS
from collectors.signals.exposition import Distribution, read
from collectors.sources.tape import load
from collectors.validation import ConfigError

PAGES = {p.stem for p in RUNBOOKS.glob("*.md")}
COLUMNS = {f.name for f in fields(RequestFact)}
PLAIN_RULE: dict[str, Any] = {
    "title": "T",
    "summary": "s",
    "reading": "queue_depth",
    "op": ">",
    "threshold": 1,
    "window": "1m",
    "for": "1m",
    "severity": "warning",
    "runbook": "high_ttft",
}
PLAIN_SLO: dict[str, Any] = {
    "title": "T",
    "good": {"column": "ttft_ms", "op": "<", "value": 200},
    "of": {"column": "ttft_ms", "op": "present"},
    "target": 0.5,
    "window": "1h",
    "runbook": "high_ttft",
}
DROP = object()

# name of the entry -> what is changed in it, and the line that has to come of it
RULE_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown_reading": ({"reading": "queue_dept"}, "reading: no reading is called that. `mangaops readings`"),
    "unknown_key": ({"treshold": 1}, "treshold: unknown key. Remove it or correct its spelling"),
    "missing_key": ({"severity": DROP}, "severity: is missing. Add it"),
    "wrong_operator": ({"op": "=="}, "op: Input should be '<', '<=', '>' or '>='"),
    "no_unit": ({"window": 300}, "window: 300 is no duration. Write 30s, 5m, 1h30m or 30d"),
    "no_duration": ({"for": "5 minutes"}, "for: '5 minutes' is no duration. Write 30s, 5m"),
    "no_window": ({"window": "0s"}, "window: has to be longer than 0s"),
    "no_second_window": ({"also_window": "0s"}, "also_window: has to be longer than 0s"),
    "two_thresholds": ({"baseline": {"factor": 2, "window": "1d"}}, "baseline: give either threshold or"),
    "no_threshold": (
        {"threshold": DROP},
        "baseline: give either threshold or baseline, and only one of them",
    ),
    "never_true": ({"threshold": float("nan")}, "threshold: Input should be a finite number"),
    "no_groups": (
        {"threshold": DROP, "baseline": {"factor": 2, "window": "1d"}},
        "baseline: queue_depth has no groups. Choose a reading by adapter",
    ),
    "no_factor": (
        {"reading": "adapter_e2e_p95_ms", "threshold": DROP, "baseline": {"factor": 0, "window": "1d"}},
        "baseline.factor: Input should be greater than 0",
    ),
    "off_bucket": (
        {"reading": "ttft_p95_ms", "threshold": 200},
        "threshold: 200 is no bucket bound of ttft_s, so it would be guessed. Choose one of 1, 5, 10,",
    ),
    "off_token_bucket": (
        {"reading": "inter_token_p95_ms", "threshold": 60},
        "threshold: 60 is no bucket bound of inter_token_s",
    ),
    "no_runbook": ({"runbook": "nowhere"}, "runbook: no page runbooks/nowhere.md. Write it or name another"),
    "Capital": ({}, "name: String should match pattern"),
}
SLO_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown_column": (
        {"good": {"column": "ttft", "op": "<", "value": 1}},
        "good.column: requests have no such",
    ),
    "no_column": ({"good": {"column": "", "op": "present"}}, "good.column: requests have no such column."),
    "nothing_to_compare": ({"of": {"column": "ttft_ms", "op": ">"}}, "of.value: > needs a value. Add it"),
    "wrong_operator": ({"of": {"column": "ttft_ms", "op": "~"}}, "of.op: Input should be '<', '<=', '>'"),
    "whole_target": ({"target": 1}, "target: Input should be less than 1"),
    "percent_target": ({"target": 99.9}, "target: Input should be less than 1"),
    "no_window": ({"window": "0s"}, "window: has to be longer than 0s"),
    "unknown_histogram": (
        {"histogram": {"metric": "ttft_ms", "below": 0.2}},
        "histogram.metric: no histogram is called that. Choose one of",
    ),
    "no_histogram_bound": (
        {"histogram": {"metric": "ttft_s", "below": 0}},
        "histogram.below: Input should be gre",
    ),
    "no_runbook": ({"runbook": "nowhere"}, "runbook: no page runbooks/nowhere.md. Write it or name another"),
    "missing_key": ({"good": DROP}, "good: is missing. Add it"),
}


def entries(plain: dict[str, Any], changes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    merged = [{**plain, "name": name, **changed} for name, changed in changes.items()]
    return [{k: v for k, v in entry.items() if v is not DROP} for entry in merged]


def check(parse: Callable[[str], object], data: object, expected: list[str]) -> None:
    """All mistakes, in any order: `expected` are their beginnings, and nothing else is reported."""
    with pytest.raises(ConfigError) as raised:
        parse(yaml.safe_dump(data))
    found, wanted = sorted(raised.value.mistakes), sorted(expected)
    assert [f[: len(w)] for f, w in zip(found, wanted, strict=True)] == wanted
    assert str(raised.value).splitlines() == [f"my.yaml: {m}" for m in raised.value.mistakes]


def rules_of(text: str) -> tuple[Rule, ...]:
    return parse_rules(text, "my.yaml", PAGES)


def slos_of(text: str) -> object:
    return parse_slos(text, "my.yaml", COLUMNS, PAGES)


def test_a_rules_file_with_many_mistakes_reports_them_all() -> None:
    rules = entries(PLAIN_RULE, {name: changed for name, (changed, _) in RULE_MISTAKES.items()})
    expected = [f"rules.{name}.{line}" for name, (_, line) in RULE_MISTAKES.items()]
    check(
        rules_of, {"rules": [*rules, *entries(PLAIN_RULE, {"twice": {}}) * 2]}, [*expected, "rules.twice: is"]
    )


def test_one_rule_with_many_mistakes_reports_them_all() -> None:
    names = (
        "unknown_reading",
        "unknown_key",
        "wrong_operator",
        "no_duration",
        "two_thresholds",
        "no_runbook",
    )
    merged = {k: v for name in names for k, v in RULE_MISTAKES[name][0].items()}
    expected = [f"rules.bad.{RULE_MISTAKES[name][1]}" for name in names]
    check(rules_of, {"rules": entries(PLAIN_RULE, {"bad": merged})}, expected)


def test_an_slo_file_with_many_mistakes_reports_them_all() -> None:
    slos = entries(PLAIN_SLO, {name: changed for name, (changed, _) in SLO_MISTAKES.items()})
    expected = [f"slos.{name}.{line}" for name, (_, line) in SLO_MISTAKES.items()]
    check(slos_of, {"slos": [*slos, *entries(PLAIN_SLO, {"twice": {}}) * 2]}, [*expected, "slos.twice: is"])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("rules: [", "not YAML: ", id="no YAML"),
        pytest.param("- a\n- b", "holds a list. Its top level has to be keys and values", id="a list on top"),
        pytest.param("", "rules: is missing. Add it", id="an empty file"),
        pytest.param("rules: 3", "rules: Input should be a valid tuple (it is 3)", id="no list"),
        pytest.param("rules: [3]", "rules.0: Input should be a valid dictionary", id="no entry"),
        pytest.param("rules: [{name: [a]}]", "rules.['a'].name: Input should be a valid", id="no name"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_a_reason(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"my.yaml: {what}")):
        parse_rules(text, "my.yaml")


@pytest.mark.parametrize("bound_ms", [100, 250, 500, 1000, 80_000])
def test_a_threshold_on_a_bucket_bound_is_taken(bound_ms: float) -> None:
    rules = entries(PLAIN_RULE, {"r": {"reading": "ttft_p95_ms", "threshold": bound_ms}})
    assert rules_of(yaml.safe_dump({"rules": rules}))[0].threshold == bound_ms


# -------------------------------------------------------------------------------------- what ships
def test_the_bundled_files_are_sound() -> None:
    rules, slos = RULES.read_text(encoding="utf-8"), SLOS.read_text(encoding="utf-8")
    assert len(parse_rules(rules, RULES.name, PAGES)) == 12
    assert len(parse_slos(slos, SLOS.name, COLUMNS, PAGES)) == 5


def test_bucket_bounds_are_those_of_a_real_engine(recording_dir: Path) -> None:
    histograms: dict[str, Distribution] = {
        k.metric: d for k, d in read(load(recording_dir).scrapes[-1][1]).histograms.items()
    }
    assert {m: histograms[m].bounds[:-1] for m in BUCKETS_S if m in histograms} == BUCKETS_S


# ------------------------------------------------------------------------------------------ scaling
SCALED = {"window", "also_window", "for_", "keep_firing_for"}


@pytest.mark.parametrize(
    "rule", parse_rules(RULES.read_text(encoding="utf-8"), RULES.name), ids=lambda r: r.name
)
def test_a_clock_scale_divides_lengths_of_time_and_nothing_else(rule: Rule) -> None:
    rule = rule.model_copy(update={"keep_firing_for": timedelta(minutes=5)})
    before, after = rule.model_dump(), scaled(rule, 20).model_dump()
    for data in (before, after):
        data |= {f"baseline.{k}": v for k, v in (data.pop("baseline") or {}).items()}
    for key, value in before.items():
        divided = key in SCALED or key == "baseline.window"
        assert after[key] == (value / 20 if divided and value is not None else value), key
    assert after.keys() == before.keys()


def test_a_clock_scale_of_one_changes_nothing() -> None:
    rule = rules_of(yaml.safe_dump({"rules": entries(PLAIN_RULE, {"r": {}})}))[0]
    assert scaled(rule, 1) == rule
