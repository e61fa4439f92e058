"""Alerts beside incidents: which belong to which, and how grave that makes an incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectors.diagnose.causes import Cause
from collectors.diagnose.incidents import Incident

GRAVE = frozenset({Cause.REPLICA_DOWN, Cause.OOM, Cause.ENGINE_STALL})
SLACK_S = 1.0  # a start is estimated


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that fired: seconds since the epoch, and how far back its rule looks, in seconds."""

    rule: str
    component: str
    severity: str
    fired: float
    pending: float
    reach_s: float


def severity(incident: Incident, alerts: Sequence[Fired]) -> str:
    """Critical or warning as its gravest alert is; info where it stayed inside every alert."""
    if incident.cause in GRAVE or any(a.severity == "critical" for a in alerts):
        return "critical"
    return "warning" if any(a.severity == "warning" for a in alerts) else "info"


def assigned(incidents: Sequence[Incident], alerts: Sequence[Fired]) -> dict[int, tuple[Fired, ...]]:
    """Alerts by the number of the newest incident that had begun when they became pending, or else fired."""
    found: dict[int, tuple[Fired, ...]] = {}
    for alert in alerts:
        owner = _begun(incidents, alert, alert.pending) or _begun(incidents, alert, alert.fired)
        if owner is not None:
            found[owner.number] = (*found.get(owner.number, ()), alert)
    return found


def _begun(incidents: Sequence[Incident], alert: Fired, instant: float) -> Incident | None:
    """The newest that had begun, and had not ended longer ago than the rule looks back."""
    able = [
        i
        for i in incidents
        if i.start <= instant + SLACK_S and (i.end is None or instant <= i.end + alert.reach_s)
    ]
    return max(able, key=lambda i: i.start, default=None)
