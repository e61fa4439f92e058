"""The score of causes: which incident answers for which fault, and whether variations are recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collectors.diagnose.causes import Cause
from collectors.sources.tape import GPU, load
from loadtests import score, synthetic
from loadtests.score import Score
from loadtests.truth import Truth, of_recording

FAULTS = (
    Truth("baseline", 0, 70),
    Truth("prefix", 70, 140, Cause.PREFIX_CACHE_BROKEN, "prompt_version=v43"),
    Truth("rec1", 140, 175),
    Truth("burst", 175, 200, Cause.TRAFFIC_BURST, required=False),
)
PREFIX = ("prefix_cache_broken", "prompt_version=v43")


def found(cause: str, component: str | None, start: float, *others: str) -> dict[str, Any]:
    alternatives = [{"cause": c, "component": None, "score": 0.5} for c in others]
    told = {"id": f"inc-{start}", "cause": cause, "component": component, "start": start}
    return told | {"detected": start + 7, "severity": "warning", "alternatives": alternatives}


def scored(*incidents: dict[str, Any]) -> Score:
    return score.score(FAULTS, incidents, 20.0)


def test_a_right_cause_counts_from_the_injection() -> None:
    [prefix, burst] = scored(found(*PREFIX, 71.0)).scored
    assert (prefix.top_1, prefix.top_3, prefix.delay_s) == (True, True, 8.0)
    assert (burst.found, burst.top_1) == (None, False)


@pytest.mark.parametrize(
    ("incident", "top_1", "top_3"),
    [
        (found("prefix_cache_broken", "prompt_version=v42", 71.0), False, False),
        (found("decode_slow", None, 71.0, "oom", "rejected"), False, False),
        (found("traffic_burst", None, 71.0, "prefix_cache_broken"), False, False),
    ],
    ids=["another component", "another cause", "right in the second place, of no component"],
)
def test_a_wrong_cause_does_not(incident: dict[str, Any], top_1: bool, top_3: bool) -> None:
    result = scored(incident)
    assert (result.scored[0].top_1, result.scored[0].top_3) == (top_1, top_3)
    assert not result.sound


def test_what_no_fault_explains_is_false() -> None:
    result = scored(found(*PREFIX, 71.0), found("undetermined", None, 150.0), found("oom", None, 20.0))
    assert [(phase, i["cause"]) for phase, i in result.false] == [
        ("rec1", "undetermined"),
        ("baseline", "oom"),
    ]
    assert not result.sound


def test_a_fault_that_may_be_absorbed_need_not_be_found() -> None:
    assert scored(found(*PREFIX, 71.0)).sound


def test_what_is_wrong_where_a_fault_may_be_absorbed_is_false() -> None:
    result = scored(found(*PREFIX, 71.0), found("decode_slow", None, 180.0))
    assert [(phase, i["cause"]) for phase, i in result.false] == [("burst", "decode_slow")]


@pytest.mark.parametrize(("clock_scale", "right"), [(10.0, True), (20.0, False)])
def test_a_start_is_known_to_a_minute_of_the_drill_s_clock(clock_scale: float, right: bool) -> None:
    early = found("traffic_burst", None, 170.5)
    result = score.score(FAULTS, [found(*PREFIX, 71.0), early], clock_scale)
    assert (result.scored[1].top_1, result.sound) == (right, right)


def test_of_two_faults_at_once_each_has_its_own_incident() -> None:
    both = (*FAULTS, Truth("over it", 100, 130, Cause.CONTEXT_OVERFLOW))
    result = score.score(both, [found(*PREFIX, 71.0), found("context_overflow", None, 101.0)], 20.0)
    assert result.sound
    assert [s.top_1 for s in result.scored] == [True, False, True]


@pytest.fixture(scope="module")
def variation(tmp_path_factory: pytest.TempPathFactory, recording_dir: Path) -> Path:
    """A variation in which phases are left out, moved, and renamed."""
    target = tmp_path_factory.mktemp("variation")
    assert "renamed" in synthetic.make(recording_dir, target, seed=21)
    return target


def test_a_variation_is_a_recording_like_any_other(variation: Path, recording_dir: Path) -> None:
    tape, truths = load(variation), of_recording(variation)
    assert [p.subject for p in tape.problems] == [GPU]  # no sample of the GPU is moved
    assert 0 < len(tape.requests) < len(load(recording_dir).requests)
    assert abs(tape.start.timestamp() - truths[0].start) < 5
    assert tape.end.timestamp() <= truths[-1].end + 1
    assert not any("manga_domain" in str(r.adapter) for r in tape.requests)


def test_its_counters_never_fall(variation: Path) -> None:
    name = "vllm:generation_tokens_total"
    values = [
        float(line.rpartition(" ")[2])
        for _, text in load(variation).scrapes
        for line in text.splitlines()
        if line.startswith(name)
    ]
    assert len(values) > 100
    assert values == sorted(values)


def test_causes_are_right_on_it(variation: Path) -> None:
    with score._replayed(variation, 20) as incidents:
        result = score.score(of_recording(variation), incidents, 20.0)
    assert result.sound
    assert {s.truth.cause for s in result.scored} >= {Cause.PREFIX_CACHE_BROKEN, Cause.ENGINE_STALL}
