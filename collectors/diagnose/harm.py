"""Whom an incident hurt: requests that failed, or took clearly longer than the slowest usual ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collectors.diagnose.columns import Flags, Numbers, Requests
from collectors.diagnose.shifts import known

BEYOND = 1.25  # times the usual 95th percentile
MOST = 0.5  # of the requests hurt: then it is everybody's matter
COHORT_SHARE = 0.8  # of the traffic: what has more of it is no cohort


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is usual, in milliseconds; None where nothing is known."""

    ttft_p95: float | None
    e2e_p95: float | None
    e2e_p50: float | None


@dataclass(frozen=True, slots=True)
class Harm:
    """`waited_s` is what the hurt waited beyond the usual median, summed; the failed have no such time."""

    requests: int
    hurt: int
    failed: int
    waited_s: float

    @property
    def share(self) -> float | None:
        """Hurt of all that ended meanwhile."""
        return self.hurt / self.requests if self.requests else None


def bounds(usual: Requests) -> Bounds:
    """What is usual of answered requests."""
    good = usual.where(~usual.failed)
    return Bounds(
        _percentile(good["ttft_ms"], 95), _percentile(good["e2e_ms"], 95), _percentile(good["e2e_ms"], 50)
    )


def harm(rows: Requests, usual: Bounds) -> Harm:
    """The harm among the requests that ended while the incident lasted."""
    hit = hurt(rows, usual)
    slow = hit & ~rows.failed
    beyond = rows["e2e_ms"][slow] - (usual.e2e_p50 or 0.0)
    waited_s = float(np.nansum(np.maximum(beyond, 0.0))) / 1000
    return Harm(len(rows), int(hit.sum()), int(rows.failed.sum()), waited_s)


def hurt(rows: Requests, usual: Bounds) -> Flags:
    """Which of them were hurt."""
    found = rows.failed.copy()
    for column, bound in (("ttft_ms", usual.ttft_p95), ("e2e_ms", usual.e2e_p95)):
        if bound is not None:
            found |= rows[column] > BEYOND * bound
    return found


def scope(rows: Requests, usual: Bounds, component: str | None) -> str:
    """`systemic` where most requests are hurt, `cohort` where a part is, `undetermined` without requests."""
    if not len(rows):
        return "undetermined"
    column, _, value = (component or "").partition("=")
    if column in rows.words and (rows.word(column) == value).mean() < COHORT_SHARE:
        return "cohort"
    return "systemic" if hurt(rows, usual).mean() >= MOST or component is not None else "cohort"


def _percentile(values: Numbers, q: float) -> float | None:
    there = known(values)
    return float(np.percentile(there, q)) if len(there) else None
