"""Slow chat: what was asked for, the candidates, and one request explained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from collectors.diagnose.why import Why
from collectors.model import RequestFact
from console.views import words
from console.views.frame import Frame, clock, parse_instant, zone_label
from console.views.incidents import component

AROUND = timedelta(seconds=15)  # what a time with seconds means: a little to either side
MINUTE = timedelta(minutes=1)
HALF_DAY = timedelta(hours=12)
ORDERS = {"First token": "ttft_ms", "Total": "e2e_ms", "Queue": "queue_ms", "Prefill": "prefill_ms"}
QUESTIONS = (("Asked", ""), ("Answer", ""))
CALM = {"normal": "ok", "undetermined": "none"}
_SECONDS = re.compile(r":\d{2}:\d{2}")


def stretch(asked: str, frame: Frame) -> tuple[datetime, datetime] | None:
    """The stretch of time that a text names: a whole minute, or 15 s around a time with seconds."""
    # Looking back, a time just after the instant shown is meant more likely than the day before.
    latest = frame.now if frame.live else frame.now + HALF_DAY
    at = parse_instant(asked, latest, frame.zone)
    if at is None:
        return None
    return (at - AROUND, at + AROUND) if _SECONDS.search(asked) else (at, at + MINUTE)


def cause(why: Why) -> tuple[str, str]:
    """The cause in words with its component, and its tone."""
    named = " · ".join(p for p in (words.title(why.cause), component(why.component)) if p)
    return named, CALM.get(why.cause, "warn")


def columns(frame: Frame) -> list[str]:
    """The candidates' columns, in their order."""
    return list(row(RequestFact(frame.now, "", ""), frame))


def row(r: RequestFact, frame: Frame) -> dict[str, object]:
    """One candidate; missing is None."""
    return {
        f"Ended ({zone_label(frame.zone, frame.now)})": f"{r.at.astimezone(ZoneInfo(frame.zone)):%H:%M:%S}",
        "First token": r.ttft_ms,
        "Total": r.e2e_ms,
        "Queue": r.queue_ms,
        "Prefill": r.prefill_ms,
        "Decode": r.decode_ms,
        "Adapter": r.adapter,
        "Prompt": r.prompt_version,
        "In": r.prompt_tokens,
        "Cached": r.cached_tokens,
        "Out": r.output_tokens,
        "HTTP": r.http_status,
        "Turn": r.turn,
        "Session": r.session_id,
        "Request": r.request_id,
    }


def facts(r: RequestFact, frame: Frame) -> list[tuple[str, str]]:
    """What is known of a request, in words."""
    cached = (
        words.percent(r.cached_tokens / r.prompt_tokens)
        if r.cached_tokens is not None and r.prompt_tokens
        else ""
    )
    status = " ".join(str(v) for v in (r.http_status, r.error_kind) if v is not None)
    return [
        ("Ended", clock(r.at, frame)),
        ("First token", words.amount(r.ttft_ms, "ms")),
        ("Total", words.amount(r.e2e_ms, "ms")),
        ("Adapter", r.adapter or words.NO_DATA),
        ("Backend version", r.backend_version or words.NO_DATA),
        ("Prompt version", r.prompt_version or words.NO_DATA),
        ("Prompt tokens", f"{words.number(r.prompt_tokens)}{f', {cached} cached' if cached else ''}"),
        ("Answer tokens", words.number(r.output_tokens)),
        (
            "Session and turn",
            f"{r.session_id or words.NO_DATA}, turn {r.turn if r.turn is not None else '?'}",
        ),
        ("Replica", r.replica or words.NO_DATA),
        ("Intent, locale", ", ".join(v for v in (r.intent, r.locale) if v) or words.NO_DATA),
        ("HTTP", status or words.NO_DATA),
    ]


def chosen(selected: str | None, kept: str | None, candidates: Sequence[RequestFact]) -> RequestFact | None:
    """The request to explain: the row just selected, else the one in the URL, else the first."""
    by_id = {r.request_id: r for r in candidates}
    for wanted in (selected, kept):
        if wanted in by_id:
            return by_id[wanted]
    return candidates[0] if candidates else None


def scope(asked: str, frame: Frame, stretch_: tuple[datetime, datetime] | None) -> str:
    """What the candidates are, in words."""
    if stretch_:
        return (
            f"Requests that ended from {clock(stretch_[0], frame, both=False)} to {clock(stretch_[1], frame)}"
        )
    return f"Requests of {asked}" if asked else f"Requests of the last {words.length(frame.span)}"


def collected(dataset: str, added: int, total: int, left_out: Mapping[str, int]) -> tuple[str, str]:
    """What came of adding requests to a data set: the outcome, and how many were left out for what reason."""
    told = "; ".join(f"{count} {why}" for why, count in left_out.items() if count)
    new = "1 new record" if added == 1 else f"{added} new records"
    return f"{new} in “{dataset}”, {total} in all.", f"Left out: {told}." if told else ""
