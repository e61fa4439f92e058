"""The verdict of a drill and all that it rests on; pure. Rendering is in `loadtests/rendering.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from collectors.episodes import Episode
from collectors.judge.slo import Slo
from loadtests.acceptance import Demand, demands
from loadtests.detection import Detection, FalseAlert, Happened, detections, false_alerts, recovery
from loadtests.following import Followed
from loadtests.knee import Knee, knee
from loadtests.promises import Kept, by_adapter, by_prompt, by_turn, kept
from loadtests.records import Record
from loadtests.scenario import Drill
from loadtests.validity import Check

Verdict = Literal["pass", "fail", "invalid"]
FACES: Mapping[bool, str] = {  # by whether the drill started its engine itself
    True: (
        "This drill ran a tiny model on a CPU. It proves instrumentation, alerts and runbooks on a real "
        "engine. It says nothing about the capacity of a GPU."
    ),
    False: "This drill ran on the engine named below; its figures hold for that configuration of it.",
}


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long requests stayed bad after a phase had ended, in seconds; None if they never recovered."""

    phase: str
    took_s: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a drill left behind, read back."""

    happened: Sequence[Happened]
    records: Sequence[Record]
    episodes: Sequence[Episode]
    queue_ms: Mapping[str, float]
    checks: Sequence[Check]
    out_of_memory: int = 0  # requests
    own_engine: bool = True
    followed: Followed | None = None
    incidents: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A drill's result. `reasons` say why it is no pass."""

    drill: str
    title: str
    face: str
    verdict: Verdict
    reasons: tuple[str, ...]
    began: datetime
    ended: datetime
    seed: int
    clock_scale: float
    thresholds: Mapping[str, float]  # of rules, where they were the drill's own
    ttft_ms: float
    checks: tuple[Check, ...]
    detections: tuple[Detection, ...]
    false_alerts: tuple[FalseAlert, ...]
    phases: tuple[Kept, ...]
    adapters: tuple[Kept, ...]
    turns: tuple[Kept, ...]
    prompts: tuple[Kept, ...]
    recoveries: tuple[Recovery, ...]
    goodput: float | None
    knee: Knee
    demands: tuple[Demand, ...]
    followed: Followed | None
    provenance: Mapping[str, Any]


def certify(drill: Drill, slos: Sequence[Slo], m: Measured, provenance: Mapping[str, Any]) -> Certificate:
    """Judge a drill: first whether the measurement is sound, then what it shows."""
    ended = m.happened[-1].ended
    named = {h.phase.name: h for h in m.happened}
    judged = [r for r in m.records if named[r.phase].phase.counts]
    sound = [r for r in judged if not named[r.phase].phase.broken]

    def told(group: str, records: Sequence[Record]) -> Kept:
        return kept(group, records, m.queue_ms, slos, drill.ttft_ms, ended)

    found = detections(drill, m.happened, m.episodes, m.records, m.incidents)
    wrong = false_alerts(m.happened, m.episodes)
    recovered = _recoveries(drill, m)
    controls = [r for r in m.records if named[r.phase].phase.quiet]
    goodput = told("sound", sound).goodput
    asked = demands(sound, m.queue_ms, m.out_of_memory, drill.ttft_ms)
    reasons = _invalid(m.checks) or [
        *_failed(drill, found, wrong, recovered, goodput),
        *(_missed(asked) if drill.proves == "capacity" else ()),
    ]
    verdict: Verdict = "invalid" if _invalid(m.checks) else "fail" if reasons else "pass"
    return Certificate(
        drill.name,
        drill.title,
        FACES[m.own_engine],
        verdict,
        tuple(reasons),
        m.happened[0].began,
        ended,
        drill.seed,
        drill.clock_scale,
        drill.thresholds,
        drill.ttft_ms,
        tuple(m.checks),
        tuple(found),
        tuple(wrong),
        tuple(told(h.phase.name, [r for r in m.records if r.phase == h.phase.name]) for h in m.happened),
        tuple(told(name, records) for name, records in by_adapter(judged).items()),
        tuple(told(name, records) for name, records in by_turn(judged).items()),
        tuple(told(name, records) for name, records in by_prompt(judged).items()),
        tuple(recovered),
        goodput,
        knee(sound, controls, drill.ttft_ms),
        tuple(asked),
        m.followed,
        provenance,
    )


def _recoveries(drill: Drill, m: Measured) -> list[Recovery]:
    broken = [h for h in m.happened if h.phase.broken]
    times = [recovery(h, m.records, drill.ttft_ms) for h in broken]
    return [
        Recovery(h.phase.name, None if took is None else took.total_seconds())
        for h, took in zip(broken, times, strict=True)
    ]


def _invalid(checks: Sequence[Check]) -> list[str]:
    return [f"{c.name}: {c.found}, allowed {c.allowed}" for c in checks if not c.held]


def _failed(
    drill: Drill,
    found: Sequence[Detection],
    wrong: Sequence[FalseAlert],
    recovered: Sequence[Recovery],
    goodput: float | None,
) -> list[str]:
    limit = drill.limits.recovery.total_seconds()
    return [
        *(f"{d.phase}: {d.expected.alert} {_late(d)}" for d in found if not d.in_time),
        *(f"{d.phase}: {_mistaken(d)}" for d in found if d.right_cause is False),
        *(f"{w.phase}: {w.alert} {w.component} fired in a control".replace("  ", " ") for w in wrong),
        *(
            f"{r.phase}: requests had not recovered {limit:.0f} s after its end"
            for r in recovered
            if r.took_s is None or r.took_s > limit
        ),
        *_too_few(drill, goodput),
    ]


def _missed(asked: Sequence[Demand]) -> list[str]:
    return [f"{d.demand}: {d.found}" for d in asked if d.outcome == "missed"]


def _late(d: Detection) -> str:
    limit = d.expected.within.total_seconds()
    if d.since_injection_s is None:
        return f"did not fire; it had {limit:.0f} s"
    return f"fired after {d.since_injection_s:.0f} s, allowed {limit:.0f} s"


def _mistaken(d: Detection) -> str:
    said = f"was taken for {d.cause}" if d.cause else "was not found"
    return f"the cause, {d.expected.cause}, {said}"


def _too_few(drill: Drill, goodput: float | None) -> list[str]:
    least = drill.limits.goodput_share
    if goodput is not None and goodput >= least:
        return []
    said = "no data" if goodput is None else f"{goodput:.0%}"
    return [f"good requests where nothing was broken: {said}, wanted {least:.0%}"]
