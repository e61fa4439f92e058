"""What is asked of an engine before a release: met, missed, or never reached by a drill's traffic."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collectors.cli import wiring
from collectors.settings import Settings
from loadtests import rendering
from loadtests.acceptance import demands
from loadtests.certificate import Certificate, certify
from loadtests.promises import by_prompt
from loadtests.records import Record
from tests.loadtests.test_drill import DRILL, PROVENANCE, measured, record


def outcomes(sound: list[Record], queue_ms: float = 3.0, out_of_memory: int = 0) -> list[str]:
    waits = {r.request_id: queue_ms for r in sound}
    return [d.outcome for d in demands(sound, waits, out_of_memory, ttft_ms=500.0)]


def lasting(sent: list[Record], seconds: float) -> list[Record]:
    span = timedelta(seconds=seconds)
    return [replace(r, ended_at=r.intended_at + span, e2e_ms=seconds * 1000) for r in sent]


FEW = [record(second) for second in range(60)]
MANY = [record(number / 120) for number in range(1200)]  # 120 a second, ten seconds long
CROWD = lasting(MANY, 1.0)  # so about 120 at once


def test_light_traffic_reaches_next_to_nothing() -> None:
    assert outcomes(FEW) == ["not reached", "not reached", "not reached", "met", "met", "not reached"]
    assert demands(FEW, {}, 0, 500.0)[0].found == "at most 1 at once"


def test_all_is_met_by_many_good_answers() -> None:
    long = [replace(r, turn=31) for r in CROWD]
    assert outcomes(long) == ["met"] * 6


@pytest.mark.parametrize(
    ("sent", "queue_ms", "out_of_memory", "which"),
    [
        ([replace(r, ttft_ms=900.0) for r in CROWD], 3.0, 0, 0),
        (lasting(CROWD, 2.5), 3.0, 0, 1),
        (CROWD, 151.0, 0, 2),
        ([*CROWD, record(3, status=429, error="rejected", ttft_ms=None)], 3.0, 0, 3),
        (CROWD, 3.0, 1, 4),
        ([*CROWD, record(3, turn=30, error="timeout")], 3.0, 0, 5),
    ],
)
def test_each_demand_can_be_missed_alone(
    sent: list[Record], queue_ms: float, out_of_memory: int, which: int
) -> None:
    found = outcomes(sent, queue_ms, out_of_memory)
    assert [n for n, outcome in enumerate(found) if outcome == "missed"] == [which]


def test_no_request_at_all_is_no_success() -> None:
    assert outcomes([])[:3] == ["not reached"] * 3
    assert outcomes([])[5] == "not reached"


# ------------------------------------------------------------------------------- certificate
def certified(proves: str, *, own_engine: bool) -> Certificate:
    drill = DRILL.model_copy(update={"proves": proves, "phases": DRILL.phases[:1]})
    whole = measured(records=FEW)
    m = replace(whole, happened=whole.happened[:1], out_of_memory=2, own_engine=own_engine)
    return certify(drill, wiring.book(Settings()).slos, m, PROVENANCE)


def test_a_missed_demand_fails_a_drill_that_measures_capacity(tmp_path: Path) -> None:
    found = certified("capacity", own_engine=False)
    assert found.verdict == "fail"
    assert found.reasons == ("nothing runs out of memory: 2 requests did",)
    assert "engine named below" in found.face
    rendering.write(found, tmp_path)
    html = (tmp_path / rendering.HTML).read_text(encoding="utf-8")
    assert "nothing runs out of memory" in html
    assert "up to 2,048 tokens" in html


def test_a_drill_on_the_cpu_shows_its_demands_and_is_not_judged_by_them() -> None:
    found = certified("instrumentation", own_engine=True)
    assert found.verdict == "pass"
    assert [d.outcome for d in found.demands].count("missed") == 1
    assert "tiny model on a CPU" in found.face


def test_prompts_are_compared_by_their_length_the_shortest_first() -> None:
    sent = [record(n, prompt_tokens=tokens) for n, tokens in enumerate((3000, 64, 65, 2048, 2049, None))]
    assert {name: len(group) for name, group in by_prompt(sent).items()} == {
        "up to 64 tokens": 1,
        "up to 512 tokens": 1,
        "up to 2,048 tokens": 1,
        "above 2,048 tokens": 2,
    }
    assert next(iter(by_prompt(sent))) == "up to 64 tokens"
