"""A drill's file, its course, its score and its verdict, from made-up but whole records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.cli import wiring
from collectors.episodes import Episode
from collectors.settings import Settings
from collectors.validation import ConfigError
from loadtests import rendering, scenario, thresholds
from loadtests.certificate import Measured, certify
from loadtests.course import steps
from loadtests.detection import Happened, detections, false_alerts, harmed_at, recovery
from loadtests.knee import knee
from loadtests.records import Record, hit_ratio, quantile
from loadtests.staging.parts import Place, collector
from loadtests.validity import Check, Driven, checks

RULES = frozenset({"engine_stall", "prefix_cache_degradation"})
T0 = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
TEXT = """
name: tiny
title: Tiny <b>drill</b>
proves: instrumentation
clock_scale: 20
load: {sessions_per_s: 1}
phases:
  - {name: control, title: Quiet, lasts: 60s, quiet: true, traffic: {}}
  - name: stall
    title: Stalled
    lasts: 30s
    traffic: {}
    faults: [{kind: engine_stall, after: 5s, lasts: 10s}]
    expect: [{alert: engine_stall, within: 12s}]
"""
DRILL = scenario.parse(TEXT, "tiny", RULES)
STALL_AT = T0 + timedelta(seconds=65)
HAPPENED = [
    Happened(DRILL.phases[0], T0, T0 + timedelta(seconds=60)),
    Happened(DRILL.phases[1], T0 + timedelta(seconds=60), T0 + timedelta(seconds=90), STALL_AT),
]
PROVENANCE = {
    "configuration": "abc",
    "engine": {"version": "0.32.0"},
    "versions": {"mlflow": "3.17.2"},
    "python": "3.11",
    "machine": "x86_64",
}


def record(second: float, phase: str = "control", ttft_ms: float | None = 100.0, **more: Any) -> Record:
    at = T0 + timedelta(seconds=second)
    whole: dict[str, Any] = {
        "request_id": f"req-{second}",
        "session_id": "s",
        "turn": 1,
        "phase": phase,
        "intent": "faq",
        "locale": "ja-JP",
        "intended_at": at,
        "ended_at": at + timedelta(seconds=1),
        "ttft_ms": ttft_ms,
        "e2e_ms": 1000.0,
        "lag_ms": 1.0,
        "pool_wait_ms": 0.0,
        "status": 200,
        "error": None,
        "adapter": "manga_domain_v3",
        "prompt_version": "v42",
        "prompt_tokens": 1000,
        "cached_tokens": 800,
        "output_tokens": 20,
    }
    return Record(**{**whole, **more})


RECORDS = [
    *(record(s) for s in range(60)),
    *(record(s, "stall") for s in range(60, 65)),
    *(record(s, "stall", 9000.0) for s in range(65, 75)),
    *(record(s, "stall") for s in range(75, 90)),
    *(record(s, "stall") for s in range(90, 102)),
]
SOUND = Check("rows", "100 %", "≥ 99 %", held=True)


def fired(seconds: float, alert: str = "engine_stall") -> Episode:
    at = T0 + timedelta(seconds=seconds)
    return Episode(alert, "replica=e", at, pending_at=at, fired_at=at)


def measured(*episodes: Episode, records: list[Record] = RECORDS, check: Check = SOUND) -> Measured:
    return Measured(HAPPENED, records, episodes, {r.request_id: 3.0 for r in records}, [check])


def certified(m: Measured):
    return certify(DRILL, wiring.book(Settings()).slos, m, PROVENANCE)


# ----------------------------------------------------------------------------------- the file
@pytest.mark.parametrize("name", scenario.names())
def test_every_shipped_drill_is_sound(name: str) -> None:
    rules = frozenset(r.name for r in wiring.book(Settings()).rules)
    file = scenario.named(name)
    drill = scenario.parse(file.read_text(encoding="utf-8"), str(file), rules)
    assert drill.name == name
    assert any(p.quiet for p in drill.phases), "a drill without a control cannot tell a false alert"
    assert any(p.expect for p in drill.phases)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("alert: engine_stall", "alert: engine_stahl", "no rule is called engine_stahl"),
        ("kind: engine_stall", "kind: earthquake", "volatile_prefix"),
        ("after: 5s", "after: 31s", "begins after the phase has ended"),
        ("quiet: true, traffic: {}", "quiet: true, traffic: {seconds: 3}", "takes its name and length"),
        ("traffic: {}}", "traffic: {mix: {oversize: 3}}}", "oversize"),
        ("kind: engine_stall,", "kind: engine_stall, where: timestamp_head,", "belongs to volatile_prefix"),
        ("name: stall", "name: control", "is there twice"),
    ],
)
def test_a_mistake_in_a_drill_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        scenario.parse(TEXT.replace(old, new), "tiny", RULES)


def test_an_unknown_drill_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="smoke"):
        scenario.named("smok")


# --------------------------------------------------------------------------------- its course
def test_what_is_broken_is_mended_in_the_same_phase() -> None:
    found = [(s.at_s, s.do, s.phase.name) for s in steps(DRILL)]
    assert found == [
        (0, "phase", "control"),
        (60, "phase", "stall"),
        (65, "inject", "stall"),
        (75, "mend", "stall"),
        (90, "end", "stall"),
    ]


def test_a_fault_without_an_end_ends_with_its_phase() -> None:
    drill = scenario.parse(TEXT.replace(", lasts: 10s", ""), "tiny", RULES)
    assert [(s.at_s, s.do) for s in steps(drill)][-2:] == [(90, "mend"), (90, "end")]


# --------------------------------------------------------------------------------- its score
def test_seconds_count_from_injection_and_from_harm() -> None:
    (found,) = detections(DRILL, HAPPENED, [fired(70)], RECORDS)
    assert found.in_time
    assert found.since_injection_s == 5
    assert found.since_harm_s == pytest.approx(4.5)  # the first late token was due 0.5 s after its request


@pytest.mark.parametrize(
    ("seconds", "state"), [(64, "none"), (77, "in time"), (78, "late"), (91, "none"), (None, "none")]
)
def test_an_alert_counts_after_its_fault_and_in_time(seconds: float | None, state: str) -> None:
    episodes = [] if seconds is None else [fired(seconds)]
    (found,) = detections(DRILL, HAPPENED, episodes, RECORDS)
    assert ("none" if found.fired_at is None else "in time" if found.in_time else "late") == state


def test_an_alert_in_a_control_is_false() -> None:
    found = false_alerts(HAPPENED, [fired(30), fired(60.0), fired(70)])
    assert [w.fired_at for w in found] == [T0 + timedelta(seconds=30)]


def test_an_alert_that_was_pending_before_a_control_is_what_was_wrong_before() -> None:
    before = replace(fired(10), pending_at=T0 - timedelta(seconds=5))
    within = replace(fired(20), pending_at=T0 + timedelta(seconds=5))
    assert [w.fired_at for w in false_alerts(HAPPENED, [before, within])] == [within.fired_at]


def test_harm_begins_when_a_token_is_overdue_or_a_request_fails() -> None:
    failed = record(66, "stall", None, status=503, error="gone", ended_at=STALL_AT + timedelta(seconds=1.2))
    assert harmed_at(HAPPENED[1], [failed], 500) == STALL_AT + timedelta(seconds=1.2)
    assert harmed_at(HAPPENED[1], [record(70, "stall")], 500) is None


def test_recovery_is_ten_good_requests_in_a_row() -> None:
    late = [record(s, "stall", 9000.0 if s < 93 else 100.0) for s in range(90, 110)]
    assert recovery(HAPPENED[1], late, 500) == timedelta(seconds=3)
    assert recovery(HAPPENED[1], late[:8], 500) is None


def test_quantiles_and_hits_say_nothing_of_nothing() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3, 1, 2], 0.5) == 2
    assert hit_ratio([record(1, cached_tokens=None)]) is None
    assert hit_ratio([record(1), record(2, cached_tokens=0)]) == pytest.approx(0.4)


def test_the_knee_is_below_the_first_rate_that_broke() -> None:
    ramp = [
        record(b * 5 + i * 5 / n, ttft_ms=100.0 if n < 40 else 900.0)
        for b, n in enumerate((5, 10, 20, 40))
        for i in range(n)
    ]
    found = knee(ramp, ramp[:5], 500)
    assert (found.held, found.broken, found.usual, found.headroom) == (4.0, 8.0, 1.0, 4.0)


# ------------------------------------------------------------------------------- its verdict
def test_seen_in_time_is_a_pass() -> None:
    assert (certified(measured(fired(70))).verdict, certified(measured(fired(70))).reasons) == ("pass", ())


@pytest.mark.parametrize(
    ("m", "verdict", "said"),
    [
        (measured(), "fail", "stall: engine_stall did not fire; it had 12 s"),
        (measured(fired(79)), "fail", "stall: engine_stall fired after 14 s, allowed 12 s"),
        (measured(fired(70), fired(20)), "fail", "control: engine_stall replica=e fired in a control"),
        (
            measured(fired(70), records=[replace(r, ttft_ms=9000.0) for r in RECORDS]),
            "fail",
            "good requests where nothing was broken: 0%, wanted 50%",
        ),
        (
            measured(fired(70), check=replace(SOUND, held=False)),
            "invalid",
            "rows: 100 %, allowed ≥ 99 %",
        ),
    ],
)
def test_what_is_no_pass_says_why(m: Measured, verdict: str, said: str) -> None:
    found = certified(m)
    assert found.verdict == verdict
    assert said in found.reasons


def test_slos_are_judged_by_phase_adapter_and_turn() -> None:
    found = certified(measured(fired(70)))
    by_phase = {k.group: {v.slo.name: v.verdict for v in k.slos} for k in found.phases}
    assert by_phase["control"]["ttft_p50"] == "met"
    assert {k.group for k in found.adapters} == {"manga_domain_v3"}
    assert {k.group for k in found.turns} == {"turn 1"}
    assert [k.offered for k in found.phases] == [60, 42]


def test_a_certificate_is_three_files_that_agree(tmp_path) -> None:
    import json

    found = certified(measured(fired(70), fired(20)))
    files = {f.name: f.read_text(encoding="utf-8") for f in rendering.write(found, tmp_path)}
    data = json.loads(files["certificate.json"])
    assert data["verdict"] == "fail"
    assert data["detections"][0]["since_injection_s"] == 5
    assert data["phases"][0]["slos"][0]["name"] == "availability"
    for text in (files["certificate.md"], files["certificate.html"]):
        assert "fired in a control" in text
        assert "tiny model on a CPU" in text
    assert "<b>drill</b>" not in files["certificate.html"], "a title from a file is escaped"
    assert "nan" not in files["certificate.html"].lower().replace("finance", "")


# ------------------------------------------------------------------------------- its validity
def test_a_sound_measurement_holds_every_check() -> None:
    scrapes = [T0 + timedelta(seconds=s) for s in range(91)]
    found = checks(DRILL.limits, HAPPENED, RECORDS, Driven(100, 100, 0.2), scrapes)
    assert [c.name for c in found if not c.held] == []


@pytest.mark.parametrize(
    ("driven", "scrapes", "records", "name"),
    [
        (Driven(100, 90, 0.2), 91, RECORDS, "sessions begun, of those planned"),
        (Driven(100, 100, 0.9), 91, RECORDS, "CPU of the load generator"),
        (Driven(100, 100, None), 91, RECORDS, "CPU of the load generator"),
        (Driven(100, 100, 0.2), 80, RECORDS, "longest gap between scrapes"),
        (Driven(100, 100, 0.2), 91, [replace(r, lag_ms=900.0) for r in RECORDS], "schedule lag, P99"),
        (
            Driven(100, 100, 0.2),
            91,
            [replace(r, cached_tokens=1) for r in RECORDS],
            "prefix-cache hits in controls",
        ),
    ],
)
def test_an_unsound_one_fails_its_own_check(
    driven: Driven, scrapes: int, records: list[Record], name: str
) -> None:
    times = [T0 + timedelta(seconds=s) for s in range(scrapes)]
    found = checks(DRILL.limits, HAPPENED, records, driven, times)
    assert [c.name for c in found if not c.held] == [name]


# ------------------------------------------------------------------------------- own thresholds
def test_a_drill_judges_by_its_own_thresholds_and_by_production_s_rules_otherwise(tmp_path: Path) -> None:
    settings = Settings()
    file = thresholds.written(settings.rules, {"high_ttft": 1000.0}, tmp_path / "drill")
    ours, theirs = (
        {r.name: r for r in wiring.book(s).rules}
        for s in (settings.model_copy(update={"rules": file}), settings)
    )
    assert ours["high_ttft"] == theirs["high_ttft"].model_copy(update={"threshold": 1000.0})
    assert {n: r for n, r in ours.items() if n != "high_ttft"} == {
        n: r for n, r in theirs.items() if n != "high_ttft"
    }


def test_the_collector_of_a_drill_reads_those_rules(tmp_path: Path) -> None:
    assert "MANGAOPS_RULES" not in collector(Place(tmp_path)).environment
    told = collector(Place(tmp_path, rules=tmp_path / "rules.yaml")).environment
    assert told["MANGAOPS_RULES"] == str(tmp_path / "rules.yaml")


@pytest.mark.parametrize("name", scenario.names())
def test_a_shipped_drill_has_thresholds_that_its_rules_can_keep(name: str, tmp_path: Path) -> None:
    settings = Settings()
    rules = frozenset(r.name for r in wiring.book(settings).rules)
    drill = scenario.parse(scenario.named(name).read_text(encoding="utf-8"), name, rules)
    file = thresholds.written(settings.rules, drill.thresholds, tmp_path)
    judged = {r.name: r.threshold for r in wiring.book(settings.model_copy(update={"rules": file})).rules}
    assert judged.items() >= drill.thresholds.items()


def test_a_threshold_of_an_unknown_rule_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="no rule is called high_tfft"):
        scenario.parse(TEXT.replace("clock_scale: 20", "thresholds: {high_tfft: 1}"), "tiny", RULES)


def test_own_thresholds_stand_on_the_certificate(tmp_path: Path) -> None:
    drill = DRILL.model_copy(update={"thresholds": {"high_ttft": 1000.0}})
    found = certify(drill, wiring.book(Settings()).slos, measured(fired(70)), PROVENANCE)
    rendering.write(found, tmp_path)
    for name in (rendering.MARKDOWN, rendering.HTML):
        assert "high_ttft at 1000" in (tmp_path / name).read_text(encoding="utf-8")
