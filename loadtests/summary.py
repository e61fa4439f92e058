"""What a run offered against what was planned, and whether its generator kept up. Pure.

Verdicts on latency are the certificate's; here is what decides whether there may be one at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from loadtests.plan import Plan
from loadtests.sent import Sent
from loadtests.traffic import sessions


def summarise(
    plan: Plan, records: Collection[Sent], workers: Iterable[Mapping[str, Any]], until_s: float
) -> dict[str, Any]:
    """The summary of a run that went on until `until_s` seconds after its start.

    Planned requests assume a server's speed (see `loadtests.traffic`); planned sessions assume nothing.
    CPU shares are of one core, of the busiest worker: a process that is busy 0.8 of the time is late.
    """
    planned_sessions, planned = _planned(plan, min(until_s, plan.end_s))
    workers = list(workers)
    return {
        "seed": plan.seed,
        "run": plan.run,
        "until_s": until_s,
        "whole": until_s >= plan.end_s,
        "sessions": {"planned": planned_sessions, "offered": len({each.session_id for each in records})},
        "requests": {
            "planned": planned.total(),
            "offered": len(records),
            "failed": sum(each.error is not None for each in records),
        },
        "errors": dict(Counter(each.error_kind for each in records if each.error_kind)),
        "schedule_lag_ms": spread([each.schedule_lag_ms for each in records]),
        "pool_wait_ms": spread([each.pool_wait_ms for each in records]),
        "generator_cpu_share": max((w["cpu_share"] for w in workers), default=None),
        "generator_cpu_share_max": max((w["cpu_share_max"] for w in workers), default=None),
        "workers": len(workers),
        "phases": [_phase(plan, number, planned, records) for number in range(len(plan.phases))],
    }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 99th percentile and largest: values that occurred, never between two (nearest rank)."""
    if not values:
        return None
    ordered = sorted(values)
    return {"p50": _ranked(ordered, 0.5), "p99": _ranked(ordered, 0.99), "max": ordered[-1]}


def _ranked(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _planned(plan: Plan, until_s: float) -> tuple[int, Counter[str]]:
    """(sessions, requests by phase) planned to start before an instant."""
    count, requests = 0, Counter[str]()
    for session in sessions(plan):
        starts = list(takewhile(lambda turn: turn.start_s < until_s, session.turns))
        count += bool(starts)
        requests.update(turn.phase for turn in starts)
    return count, requests


def _phase(plan: Plan, number: int, planned: Counter[str], records: Collection[Sent]) -> dict[str, Any]:
    name = plan.phases[number].name
    mine = [each for each in records if each.phase == name]
    return {
        "name": name,
        "start_s": plan.starts_s[number],
        "end_s": plan.ends_s[number],
        "planned": planned[name],
        "offered": len(mine),
        "failed": sum(each.error is not None for each in mine),
        "schedule_lag_ms": spread([each.schedule_lag_ms for each in mine]),
        "ttft_ms": spread([each.ttft_ms for each in mine if each.ttft_ms is not None]),
        "e2e_ms": spread([each.e2e_ms for each in mine if each.error is None]),
    }
