"""What was really wrong, and when: from a recording's plan, or from a drill's progress. For scoring alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from collectors.diagnose.causes import Cause
from collectors.judge.rules import parse_rules
from collectors.settings import RULES
from loadtests.scenario import Drill, Phase, parse

PLAN, PROGRESS, CERTIFICATE = "plan.json", "progress.jsonl", "certificate.json"
BURST = 2.5  # times the drill's rate
# What each fault of a recording or a drill is, by its name there.
CAUSE_OF = {
    "prefix_timestamp": Cause.PREFIX_CACHE_BROKEN,
    "prefix_session": Cause.PREFIX_CACHE_BROKEN,
    "volatile_prefix": Cause.PREFIX_CACHE_BROKEN,
    "long_context": Cause.LONG_CONTEXT_PRESSURE,
    "adapter_runaway": Cause.ADAPTER_REGRESSION,
    "engine_stall": Cause.ENGINE_STALL,
    "engine_kill": Cause.REPLICA_DOWN,
    "oversize": Cause.CONTEXT_OVERFLOW,
    "rejections": Cause.REJECTED,
    "metrics_blocked": Cause.TELEMETRY_GAP,
    "adapter_slots": Cause.ADAPTER_SLOTS_SHORT,
}


@dataclass(frozen=True, slots=True)
class Truth:
    """A stretch of a drill, in seconds since the epoch. `cause` None: nothing was wrong in it.

    `required` is off where a fault may do no harm on the engine it met, so that none has to be found.
    """

    phase: str
    start: float
    end: float
    cause: Cause | None = None
    component: str | None = None
    required: bool = True


def of_recording(folder: Path) -> list[Truth]:
    """The truth beside a recording. Raises OSError, ValueError or KeyError."""
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    t0 = float(plan["t0_unix_s"])
    usual = min(float(p["rate"]) for p in plan["phases"])
    return [_phase(p, t0, usual) for p in plan["phases"]]


def _phase(p: dict[str, Any], t0: float, usual: float) -> Truth:
    cause = CAUSE_OF.get(p["fault"])
    if cause is None and p["fault"] == "none" and float(p["rate"]) >= BURST * usual:
        cause = Cause.TRAFFIC_BURST
    return Truth(p["phase"], t0 + float(p["start_s"]), t0 + float(p["end_s"]), cause, p.get("component"))


def of_drill(folder: Path) -> list[Truth]:
    """The truth of a drill that was run, from its plan and its progress. Raises OSError or ConfigError."""
    named = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))["drill"]
    file = Path(__file__).parent / "drills" / f"{named}.yaml"
    rules = frozenset(r.name for r in parse_rules(RULES.read_text(encoding="utf-8"), str(RULES)))
    drill = parse(file.read_text(encoding="utf-8"), str(file), rules)
    lines = [json.loads(line) for line in (folder / PROGRESS).read_text(encoding="utf-8").splitlines()]
    began = [(x["what"], _seconds(x["at"])) for x in lines if x["do"] in {"phase", "end"}]
    ends = [at for _, at in began[1:]]
    phases = {p.name: p for p in drill.phases}
    return [
        truth
        for (name, start), end in zip(began, ends, strict=False)
        for truth in _truths(drill, phases[name], start, end, lines)
    ]


def scale_of(folder: Path) -> float:
    """How many times faster than at work the clock of a drill that was run went.

    Raises OSError, ValueError or KeyError.
    """
    return float(json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))["clock_scale"])


def _truths(
    drill: Drill, phase: Phase, start: float, end: float, lines: Sequence[dict[str, Any]]
) -> list[Truth]:
    injected = {
        x["what"]: _seconds(x["at"]) for x in lines if x["do"] == "inject" and x["phase"] == phase.name
    }
    found = [
        Truth(phase.name, injected.get(f.kind, start), end, CAUSE_OF[f.kind])
        for f in phase.faults
        if f.kind in CAUSE_OF
    ]
    found += [Truth(phase.name, start, end, c, where, needed) for c, where, needed in _traffic(drill, phase)]
    return found or [Truth(phase.name, start, end)]


def _traffic(drill: Drill, phase: Phase) -> list[tuple[Cause, str | None, bool]]:
    """What a phase's traffic does to an engine; a burst or an adapter too many may be absorbed."""
    mix = phase.traffic.get("mix", {})
    found: list[tuple[Cause, str | None, bool]] = []
    if "runaway" in mix:
        found.append((Cause.ADAPTER_REGRESSION, f"adapter={mix['runaway']['adapter']}", True))
    if mix.get("long_contexts", 0) > 0.1:  # noqa: PLR2004 - a tenth hardly moves a median
        found.append((Cause.LONG_CONTEXT_PRESSURE, None, True))
    if "oversize" in mix:
        # the gateway cuts them to its budget, which still is more than usual
        found += [(Cause.CONTEXT_OVERFLOW, None, False), (Cause.LONG_CONTEXT_PRESSURE, None, False)]
    if "adapters" in mix:
        found.append((Cause.ADAPTER_SLOTS_SHORT, None, False))
    usual, rate = drill.load.get("sessions_per_s", 0), phase.traffic.get("sessions_per_s")
    shaped = "shape" in phase.traffic
    if shaped or (usual and rate and rate >= BURST * usual):
        found.append((Cause.TRAFFIC_BURST, None, False))
    return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
