"""Incidents in words: what happened, since when, to whom, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from console.views import words
from console.views.alerts import Bar
from console.views.frame import Frame, clock

TONES = {"critical": "bad", "warning": "warn", "info": "info"}
SHOWN = 6
MIN_SHARE = 0.004  # of the span: a bar thinner than this could not be seen
COLUMNS = {"prompt_version": "prompt", "adapter": "adapter", "replica": "replica", "error_kind": "error"}


@dataclass(frozen=True, slots=True)
class Line:
    """One incident in a list."""

    id: str
    tone: str
    severity: str
    title: str
    what: str
    when: str
    state: str
    runbook: str
    start: datetime


def seen(found: Sequence[Mapping[str, Any]], frame: Frame) -> list[Mapping[str, Any]]:
    """Those that were open at some moment of the span, the newest first."""
    since, now = frame.since.timestamp(), frame.now.timestamp()
    inside = [i for i in found if i["start"] <= now and (i["end"] is None or i["end"] >= since)]
    return sorted(inside, key=lambda i: (i["end"] is not None, -i["start"]))


def lines(
    found: Sequence[Mapping[str, Any]], frame: Frame, states: Mapping[str, str] | None = None
) -> list[Line]:
    """Each as a line; `states` are those that people gave them."""
    return [_line(i, frame, (states or {}).get(i["id"])) for i in found]


def bars(found: Sequence[Mapping[str, Any]], frame: Frame) -> tuple[list[Bar], list[str]]:
    """Incidents over the span as bars, a row a cause, and the rows in their order."""
    least = frame.span * MIN_SHARE
    told = []
    for i in found:
        start = max(instant(i["start"]), frame.since)
        end = min(instant(i["end"]), frame.now) if i["end"] else frame.now
        name = title(i)
        told.append(Bar(name, start, max(end, start + least), i["severity"], f"{name}: {when(i, frame)}"))
    return told, list(dict.fromkeys(b.row for b in sorted(told, key=lambda b: b.start)))


def title(i: Mapping[str, Any]) -> str:
    """The cause and its component: "Prefix cache broken · prompt v43"."""
    return " · ".join(p for p in (words.title(i["cause"]), component(i["component"])) if p)


def component(text: str | None) -> str:
    """The component without the column's underscores."""
    column, _, value = (text or "").partition("=")
    return f"{COLUMNS.get(column, column)} {value}" if value else column


def when(i: Mapping[str, Any], frame: Frame) -> str:
    """From when to when, and for how long."""
    start, end = instant(i["start"]), instant(i["end"]) if i["end"] else frame.now
    until = clock(end, frame, both=False) if i["end"] else "now"
    return f"{clock(start, frame, both=False)} to {until} ({words.length(end - start)})"


def hurt(i: Mapping[str, Any]) -> str:
    """Whom it hurt."""
    harm = i["harm"]
    failed = f", {harm['requests_failed']:,} failed" if harm["requests_failed"] else ""
    return f"{harm['requests_hurt']:,} of {harm['requests']:,} requests hurt{failed}"


def facts(i: Mapping[str, Any], frame: Frame) -> list[tuple[str, str]]:
    """What is known of it."""
    named = ", ".join(words.title(c) for c in i["consequences"]) or "nothing else"
    rivals = ", ".join(f"{words.title(a['cause'])} ({a['score']:.0%})" for a in i["alternatives"]) or "none"
    return [
        ("From – to", when(i, frame)),
        ("Known", f"{words.number(i['detected'] - i['start'])} s after its start"),
        ("Scope", words.title(i["scope"])),
        ("Sure", f"{i['confidence']:.0%}"),
        ("Harm", hurt(i)),
        ("Waited beyond usual", f"{i['harm']['user_seconds']:,.0f} s in all"),
        ("It brought about", named),
        ("Also considered", rivals),
    ]


def evidence(i: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, then, usually, from how many)."""
    return [
        (
            str(e["what"]).capitalize(),
            words.amount(e["value"], e["unit"]),
            words.amount(e["usual"], e["unit"]) if e["usual"] is not None else "–",
            words.number(e["count"]) if e["count"] is not None else "–",
        )
        for e in i["evidence"]
    ]


def before(i: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what changed, how long before the start)."""
    return [(f"{words.title(c['kind'])}: {component(c['subject'])}", _lag(c["lag_s"])) for c in i["changes"]]


def instant(seconds: float) -> datetime:
    """Unix seconds as an instant."""
    return datetime.fromtimestamp(seconds, UTC)


def _lag(seconds: float) -> str:
    return "at its start" if abs(seconds) < 1 else f"{seconds:,.0f} s {'before' if seconds > 0 else 'after'}"


def _line(i: Mapping[str, Any], frame: Frame, said: str | None) -> Line:
    state = said or ("lasts" if i["end"] is None else "usual by now" if i.get("became_usual") else "over")
    return Line(
        i["id"],
        TONES[i["severity"]],
        words.title(i["severity"]),
        title(i),
        hurt(i),
        when(i, frame),
        state,
        i["runbook"],
        instant(i["start"]),
    )
