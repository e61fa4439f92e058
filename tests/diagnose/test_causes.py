"""Each cause on a made-up fleet in which it is planted, and none where nothing is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from collectors.diagnose import incidents
from collectors.diagnose.causes import Cause
from tests.diagnose.fleet import ADAPTERS, T0, Course, State, during, found

BEGIN, END = 70, 125


@dataclass(frozen=True)
class Case:
    course: Course
    cause: Cause | None
    component: str | None = None


def wrong(**changes: object) -> Course:
    return during(BEGIN, END, **changes)


def ramped(second: float, state: State) -> State:
    """Traffic that grows to twice its rate within a hundred seconds, which the engine takes."""
    return replace(state, per_s=state.per_s * (1 + min(1.0, max(0.0, (second - 40) / 100))))


FIVE = (*ADAPTERS, "winter_v1", "summer_v1")
CASES = {
    "nothing is wrong": Case(during(0, 0), None),
    "traffic doubles over a hundred seconds, and the engine takes it": Case(ramped, None),
    "half as much again comes, and is taken": Case(wrong(per_s=21.0), None),
    "a new prompt version has a timestamp at its head": Case(
        wrong(prefix=0.0, prompt_version="v43"), Cause.PREFIX_CACHE_BROKEN, "prompt_version=v43"
    ),
    "half of the prefix is lost, in the same version": Case(
        wrong(prefix=400.0), Cause.PREFIX_CACHE_BROKEN, "prompt_version=v42"
    ),
    "a new prompt version is as good as the old": Case(wrong(prompt_version="v43"), None),
    "prompts grow to three times their length, and find their prefix": Case(
        wrong(prompt=3600.0), Cause.LONG_CONTEXT_PRESSURE
    ),
    "three times the traffic comes, and queues": Case(
        wrong(per_s=42.0, queue_ms=900.0, waiting=60.0), Cause.TRAFFIC_BURST
    ),
    "as much comes as always, and queues": Case(wrong(queue_ms=900.0, waiting=60.0), Cause.CAPACITY_SHORT),
    "the engine stands still for six seconds": Case(
        during(BEGIN, BEGIN + 6, still=True), Cause.ENGINE_STALL, "replica=r0"
    ),
    "the engine answers nothing at all for ten seconds, and goes on": Case(
        during(BEGIN, BEGIN + 10, still=True, up=0.0), Cause.ENGINE_STALL, "replica=r0"
    ),
    "the engine is gone, and requests fail": Case(
        wrong(up=0.0, served=False), Cause.REPLICA_DOWN, "replica=r0"
    ),
    "the engine is not scraped, and requests go on": Case(wrong(up=0.0), Cause.TELEMETRY_GAP, "replica=r0"),
    "scrapes cease, and requests go on": Case(wrong(up=None), Cause.TELEMETRY_GAP, "replica=r0"),
    "an adapter's new version answers four times as long": Case(
        wrong(adapters=("manga_domain_v4", *ADAPTERS[1:]), answers_of={"manga_domain_v4": 4.0}),
        Cause.ADAPTER_REGRESSION,
        "adapter=manga_domain_v4",
    ),
    "an adapter answers four times as long, in the same version": Case(
        wrong(answers_of={"jp_style_v1": 4.0}), Cause.ADAPTER_REGRESSION, "adapter=jp_style_v1"
    ),
    "an adapter's tokens take twice as long": Case(
        wrong(tokens_of={"general_support_v2": 2.2}), Cause.ADAPTER_REGRESSION, "adapter=general_support_v2"
    ),
    "all adapters answer three times as long": Case(wrong(answer=390.0), Cause.LONG_OUTPUT),
    "all tokens take three times as long": Case(wrong(tpot_ms=30.0), Cause.DECODE_SLOW),
    "a tenth of the prompts is too long": Case(wrong(fails=0.1), Cause.CONTEXT_OVERFLOW),
    "half of the requests are turned away": Case(wrong(fails=0.5, failure=(429, "rejected")), Cause.REJECTED),
    "the engine runs out of memory now and then": Case(wrong(out_of_memory=0.01), Cause.OOM),
    "requests wait in front of the engine": Case(wrong(front_ms=300.0), Cause.FRONTEND_SLOW),
    "five adapters want two places": Case(
        wrong(adapters=FIVE, slots=2.0, queue_ms=400.0), Cause.ADAPTER_SLOTS_SHORT
    ),
    "requests are put back for want of memory": Case(wrong(preemptions=3.0, queue_ms=60.0), Cause.PREEMPTION),
    "a restarted engine has an empty cache": Case(
        during(BEGIN, BEGIN + 14, prefix=0.0, process_start=T0 + BEGIN), Cause.COLD_START, "replica=r0"
    ),
    "a fifth of the requests fails for no known reason": Case(
        wrong(fails=0.2, failure=(500, "server_error")), Cause.UNDETERMINED, "error_kind=server_error"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_planted_is_found_alone(name: str) -> None:
    case = CASES[name]
    told = [(i.cause, i.component) for i in found(case.course)]
    assert told == ([] if case.cause is None else [(case.cause, case.component)])


def test_every_cause_is_planted() -> None:
    assert {c.cause for c in CASES.values()} == {*Cause} - {Cause.NORMAL} | {None}


@pytest.mark.parametrize("seed", range(2, 4))
def test_a_healthy_hour_has_no_incident(seed: int) -> None:
    assert found(during(0, 0), seconds=150, seed=seed) == []


def test_a_second_fault_is_a_second_incident() -> None:
    first, second = wrong(prefix=0.0, prompt_version="v43"), during(95, 125, fails=0.15)
    told = found(lambda at, state: second(at, first(at, state)))
    assert [i.cause for i in told] == [Cause.PREFIX_CACHE_BROKEN, Cause.CONTEXT_OVERFLOW]
    assert abs(told[0].start - (T0 + BEGIN)) < 3
    assert abs(told[1].start - (T0 + 95)) < 3


def test_it_ends_when_it_is_over() -> None:
    told = found(wrong(prefix=0.0, prompt_version="v43"))[0]
    assert told.end is not None
    assert END - 2 < told.end - T0 < END + 12


def test_refusals_soon_after_an_incident_are_an_incident_of_their_own() -> None:
    long, refused = (
        during(70, 90, prompt=3600.0),
        during(100, 125, fails=0.5, failure=(429, "rejected")),
    )
    told = found(lambda at, state: refused(at, long(at, state)))
    assert [i.cause for i in told] == [Cause.LONG_CONTEXT_PRESSURE, Cause.REJECTED]
    assert Cause.REJECTED not in told[0].consequences


def test_refusals_while_too_many_come_follow_from_that() -> None:
    burst = {"per_s": 42.0, "queue_ms": 900.0, "waiting": 60.0}
    (told,) = found(wrong(**burst, fails=0.3, failure=(429, "rejected")))
    assert told.cause is Cause.TRAFFIC_BURST
    assert Cause.REJECTED in told.consequences


def test_refused_requests_name_no_replica_and_say_nothing_of_the_one_that_is_not_scraped() -> None:
    """Requests name the replica by another address than the scrapes do."""
    refused, blind = during(60, 72, fails=0.5, failure=(429, "rejected")), during(90, 125, up=0.0)
    told = found(lambda at, state: replace(blind(at, refused(at, state)), replica="10.0.0.7:8000"))
    assert [(i.cause, i.component) for i in told] == [
        (Cause.REJECTED, None),
        (Cause.TELEMETRY_GAP, "replica=r0"),
    ]


@pytest.mark.parametrize("seed", range(5, 8))
def test_where_all_tokens_are_slow_and_uneven_no_adapter_is_accused(seed: int) -> None:
    uneven = wrong(prefix=0.0, tpot_ms=100.0, jitter=1.5, answer=40.0)
    told = found(lambda at, state: replace(uneven(at, state), per_s=4.0), seconds=130, seed=seed)
    assert Cause.ADAPTER_REGRESSION not in {i.cause for i in told}
    assert told


def test_a_shift_that_lasts_for_a_day_becomes_what_is_usual_and_an_outage_never_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incidents, "DAY_MIN", 70.0)
    longer, shorter = during(70, 400, prompt=3600.0), during(330, 400, prompt=9000.0)
    told = found(lambda at, state: shorter(at, longer(at, state)), seconds=380)
    assert [(i.cause, i.became_usual) for i in told] == [
        (Cause.LONG_CONTEXT_PRESSURE, True),
        (Cause.LONG_CONTEXT_PRESSURE, False),
    ]
    assert abs(told[1].start - (T0 + 330)) < 3
    (down,) = found(during(70, 400, up=0.0, served=False), seconds=250)
    assert (down.cause, down.end) == (Cause.REPLICA_DOWN, None)


def test_refusals_that_outlast_their_burst_are_an_incident_of_their_own() -> None:
    burst = during(70, 80, per_s=42.0, queue_ms=900.0, waiting=60.0)
    refused = during(72, 170, fails=0.4, failure=(429, "rejected"))
    told = found(lambda at, state: refused(at, burst(at, state)), seconds=170)
    assert [i.cause for i in told] == [Cause.TRAFFIC_BURST, Cause.REJECTED]


def test_failures_of_no_known_reason_never_become_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "DAY_MIN", 30.0)
    (told,) = found(during(70, 400, fails=0.2, failure=(500, "server_error")), seconds=250)
    assert (told.component, told.end) == ("error_kind=server_error", None)


def test_an_engine_that_is_gone_is_down_though_another_that_requests_name_lives() -> None:
    """Requests name r1 alone: it says nothing about r0."""
    blind = during(90, 125, up=0.0)
    told = found(lambda at, state: replace(blind(at, state), replica="r1"), others=("r1",))
    assert Cause.TELEMETRY_GAP not in {i.cause for i in told}


def test_an_engine_that_stops_while_it_is_idle_is_known_when_it_goes_on() -> None:
    still = during(BEGIN, BEGIN + 15, still=True, idle=True)
    (told,) = found(lambda at, state: replace(still(at, state), per_s=2.0), seed=3)
    assert (told.cause, told.component) == (Cause.ENGINE_STALL, "replica=r0")
    assert abs(told.start - (T0 + BEGIN)) < 3
    assert told.end is not None


def test_an_engine_that_nobody_asks_for_a_while_is_idle() -> None:
    quiet = during(BEGIN, BEGIN + 15, per_s=0.0)
    assert found(lambda at, state: quiet(at, replace(state, per_s=2.0)), seed=3) == []
