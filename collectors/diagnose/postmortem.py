"""A postmortem's draft from an incident: what is known is filled in, what people must decide is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def draft(incident: Mapping[str, Any], notes: Sequence[tuple[datetime, str, str]] = ()) -> str:
    """Markdown. `notes` are (when, state, text) as people wrote them."""
    harm, sure = incident["harm"], f"{incident['confidence']:.0%} sure"
    parts = [
        f"# {incident['sentence'].rstrip('.')}",
        f"`{incident['id']}` · {incident['severity']} · {incident['scope']} · {sure}",
        "## Impact",
        f"- From {_at(incident['start'])} to {_at(incident['end'])}",
        f"- {harm['requests_hurt']:,} of {harm['requests']:,} requests hurt",
        f"- {harm['requests_failed']:,} requests failed",
        f"- {harm['user_seconds']:,.0f} seconds waited beyond what is usual, by all customers together",
        "## Timeline (UTC)",
        *[f"- {_at(at)}: {text}" for at, text in _timeline(incident, notes)],
        "## Cause",
        f"{incident['cause']}{_of(incident['component'])}. Evidence:",
        *[f"- {e['what']}: {_number(e['value'])} {e['unit']}{_usual(e)}" for e in incident["evidence"]],
        f"Runbook: runbooks/{incident['runbook']}.md",
        "## To be written by people",
        "- Why was it not caught before it reached customers?",
        "- What made the answer slow, what made it quick?",
        "- Actions, each with an owner and a date:",
    ]
    return _joined(parts)


def _timeline(
    incident: Mapping[str, Any], notes: Sequence[tuple[datetime, str, str]]
) -> list[tuple[float, str]]:
    found = [(float(c["at"]), f"{c['kind']}: {c['subject']}") for c in incident["changes"]]
    found += [(float(incident["start"]), "it began"), (float(incident["detected"]), "it was detected")]
    found += [
        (float(a["fired"]), f"alert {a['rule']} fired {a['component']}".rstrip()) for a in incident["alerts"]
    ]
    found += [(at.timestamp(), f"{state}: {text}".rstrip(": ")) for at, state, text in notes]
    if incident["end"] is not None:
        over = "it lasted for a day, and is usual by now" if incident.get("became_usual") else "it was over"
        found.append((float(incident["end"]), over))
    return sorted(found)


def _joined(parts: Sequence[str]) -> str:
    """Headings and paragraphs apart, the items of a list together."""
    lines: list[str] = []
    for part in parts:
        if lines and not (part.startswith("- ") and lines[-1].startswith("- ")):
            lines.append("")
        lines.append(part)
    return "\n".join(lines) + "\n"


def _of(component: str | None) -> str:
    return f" ({component})" if component else ""


def _usual(e: Mapping[str, Any]) -> str:
    return "" if e["usual"] is None else f", usually {_number(e['usual'])}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004


def _at(seconds: float | None) -> str:
    if seconds is None:
        return "now (it lasts)"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
