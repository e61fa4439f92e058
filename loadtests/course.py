"""The course of a drill: what happens at which second, and afterwards, when it did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from loadtests.detection import Happened
from loadtests.scenario import Drill, Fault, Phase


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do at a time of the drill, in seconds from its start."""

    at_s: float
    do: str  # phase, inject, mend or end
    phase: Phase
    fault: Fault | None = None


def steps(drill: Drill) -> list[Step]:
    """Everything that happens, in order: what is broken in a phase is mended by its end."""
    found, begins = [], 0.0
    for phase in drill.phases:
        length = phase.lasts.total_seconds()
        found.append(Step(begins, "phase", phase))
        for fault in phase.faults:
            after = (fault.after or timedelta()).total_seconds()
            lasts = min(length - after, fault.lasts.total_seconds() if fault.lasts else length)
            found += [
                Step(begins + after, "inject", phase, fault),
                Step(begins + after + lasts, "mend", phase, fault),
            ]
        begins += length
    found.append(Step(begins, "end", drill.phases[-1]))
    order = {"mend": 0, "phase": 1, "inject": 2, "end": 3}
    return sorted(found, key=lambda s: (s.at_s, order[s.do]))


def happened(marks: Sequence[tuple[datetime, Step]]) -> list[Happened]:
    """The phases as they were, from the instants at which steps were taken."""
    begins = [(at, s.phase) for at, s in marks if s.do == "phase"]
    ends = [at for at, _ in begins[1:]] + [at for at, s in marks if s.do == "end"]
    broken = {s.phase.name: at for at, s in reversed(marks) if s.do == "inject"}
    return [Happened(p, at, end, broken.get(p.name)) for (at, p), end in zip(begins, ends, strict=True)]
