"""What diagnosing remembers between turns, and how it is put together anew after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from typing import Any

from collectors.diagnose.alerts import Fired
from collectors.diagnose.causes import Cause
from collectors.diagnose.harm import Bounds
from collectors.diagnose.incidents import Case, Incident
from collectors.diagnose.scene import Evidence
from collectors.diagnose.telling import Change
from collectors.diagnose.watching import Watch

Told = Mapping[str, Any]  # an incident as it was told


@dataclass(frozen=True, slots=True)
class Memory:
    """What diagnosing remembers between turns. `names` and `told` are by an incident's number."""

    watch: Watch
    upto: datetime
    fired: tuple[Fired, ...] = ()
    changes: tuple[Change, ...] = ()
    usual: Mapping[int, Bounds] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    told: Mapping[int, tuple[Any, ...]] = field(default_factory=dict)


def recalled(memory: Memory, before: Sequence[Told], now: float) -> Memory:
    """A memory that walked the past anew, with the names and open ends of what was told of it then."""
    case, names = memory.watch.case, dict(memory.names)
    known: dict[int, Told] = {}
    for each in (*case.open, *reversed(case.ended)):
        taken = {t["id"] for t in known.values()}
        same = next((t for t in before if _same(t, each) and t["id"] not in taken), None)
        if same is not None:
            names[each.number], known[each.number] = same["id"], same
    # what nobody was told of lately, or whose end nobody knows, is told now
    untold = {i.number for i in case.open} | {n for n, t in known.items() if t["end"] is None}
    rebuilt = _rebuilt(case, [t for t in before if t["end"] is None and t not in known.values()], now)
    names |= {i.number: t["id"] for i, t in rebuilt}
    case = replace(case, open=(*case.open, *(i for i, _ in rebuilt)), count=case.count + len(rebuilt))
    told = {n: each for n, each in memory.told.items() if n not in untold}
    return replace(memory, watch=replace(memory.watch, case=case), names=names, told=told)


def _same(told: Told, each: Incident) -> bool:
    """Whether both are one incident, though it may have been detected a little earlier or later."""
    overlap = told["start"] < (each.end or inf) and each.start < (told["end"] or inf)
    return overlap and (told["cause"], told["component"]) == (str(each.cause), each.component)


def _rebuilt(case: Case, lost: Sequence[Told], now: float) -> list[tuple[Incident, Told]]:
    return [
        (
            Incident(
                number=case.count + 1 + n,
                cause=Cause(t["cause"]),
                component=t["component"],
                start=t["start"],
                detected=t["detected"],
                seen=now,
                felt=now,
                confidence=t["confidence"],
                evidence=tuple(Evidence(**e) for e in t["evidence"]),
                consequences=tuple(map(Cause, t["consequences"])),
            ),
            t,
        )
        for n, t in enumerate(lost)
    ]
