"""An incident as it is told: one value with everything a person or a program needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from collectors.diagnose.alerts import Fired, severity
from collectors.diagnose.causes import WORDS, Cause
from collectors.diagnose.columns import Requests
from collectors.diagnose.harm import Bounds, harm, scope
from collectors.diagnose.incidents import Incident

BEFORE_MIN = 15.0  # a change so long before may have to do with it
SAME_MIN = 1.0  # a start is known no better than this
WITH_CHANGE = 0.04  # what a fitting change adds to the confidence
MOST_RIVALS = 4
AGAIN_MIN = 120.0  # an open incident is told anew: whoever reads the last hours finds it


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed: seconds since the epoch, the kind of event, and what it happened to."""

    at: float
    kind: str
    subject: str
    before: str | None = None


def told(
    incident: Incident,
    name: str,
    rows: Requests,
    usual: Bounds,
    alerts: Sequence[Fired],
    changes: Sequence[Change],
    minute_s: float,
) -> dict[str, Any]:
    """The incident as JSON: times in Unix seconds, `rows` the requests that ended while it lasted."""
    hurt = harm(rows, usual)
    before = changed_before(incident, changes, minute_s)
    fits = any(c.subject == incident.component for c in before)
    return {
        "id": name,
        "start": round(incident.start, 3),
        "end": None if incident.end is None else round(incident.end, 3),
        "detected": round(incident.detected, 3),
        "cause": str(incident.cause),
        "component": incident.component,
        "scope": scope(rows, usual, incident.component),
        "severity": severity(incident, alerts),
        "confidence": round(min(0.99, incident.confidence + WITH_CHANGE * fits), 2),
        "sentence": sentence(incident),
        "harm": {
            "requests": hurt.requests,
            "requests_hurt": hurt.hurt,
            "requests_failed": hurt.failed,
            "user_seconds": round(hurt.waited_s, 1),
        },
        "alerts": [{"rule": a.rule, "component": a.component, "fired": round(a.fired, 3)} for a in alerts],
        "evidence": [asdict(e) for e in incident.evidence],
        "consequences": [str(c) for c in incident.consequences],
        "alternatives": [
            {"cause": str(c), "component": k, "score": round(s, 2)}
            for c, k, s in incident.rivals[:MOST_RIVALS]
        ],
        "changes": [
            {
                "at": round(c.at, 3),
                "kind": c.kind,
                "subject": c.subject,
                "lag_s": round(incident.start - c.at, 3),
            }
            for c in before
        ],
        "became_usual": incident.became_usual,
        "runbook": str(incident.cause),
    }


def changed_before(incident: Incident, changes: Sequence[Change], minute_s: float) -> list[Change]:
    """Changes shortly before the incident's start, that of its own component first, then the newest."""
    since, until = incident.start - BEFORE_MIN * minute_s, incident.start + SAME_MIN * minute_s
    near = [c for c in changes if since <= c.at <= until]
    return sorted(near, key=lambda c: (c.subject != incident.component, -c.at))


def sentence(incident: Incident) -> str:
    """What happened, in words for a ticket."""
    what = WORDS[incident.cause]
    where = f" ({incident.component})" if incident.component else ""
    after = _following(incident.consequences)
    return f"{what[0].upper()}{what[1:]}{where}{after}."


def _following(consequences: Sequence[Cause]) -> str:
    named = [WORDS[c] for c in consequences if c in WORDS]
    return f"; it follows that {', '.join(named)}" if named else ""


def significant(told: Mapping[str, Any], now: float, minute_s: float) -> tuple[Any, ...]:
    """What is worth telling anew when it changes; a growing count of requests is not, but every two hours."""
    lasts = 0 if told["end"] else int((now - told["detected"]) // (AGAIN_MIN * minute_s))
    kept = ("start", "end", "cause", "component", "severity", "consequences")
    return (*(str(told[name]) for name in kept), len(told["alerts"]), len(told["changes"]), lasts)
