"""Change events: the first sight of a prompt version, adapter or backend version, and its return."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from collectors.model import EventFact, RequestFact

FIRST_SEEN = "first_seen"
PRESENT_AT_START = "present_at_start"
RETURNED = "returned"
RESTART = "engine_restart"
DECLARED = ("deploy", "scaling", "configuration")  # a person or an engine tells of these
CHANGES = (FIRST_SEEN, RETURNED, RESTART, *DECLARED)  # what may be behind a new trouble
VERSIONED = ("prompt_version", "adapter", "backend_version")
# What appears this soon after the very first request was there before we looked: no change.
SETTLING = timedelta(minutes=1)
# A version that was away this many times as long, while another took its place, comes back as a change:
# a roll-back, or a fault that is rolled out again. A shorter absence is two versions side by side.
ABSENCE_SETTLINGS = 30

_VERSION = re.compile(r"[-_.]?v?\d+(\.\d+)*$")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen so far: each column's values with the instant of their last sight."""

    since: datetime | None = None
    last: Mapping[tuple[str, str], datetime] = field(default_factory=dict)


def family(name: str) -> str:
    """A versioned name without its version: manga_domain_v4 -> manga_domain, v43 -> ""."""
    return _VERSION.sub("", name)


def release(name: str) -> tuple[int, ...]:
    """The numbers of a versioned name, so that v10 comes after v9; without a version, none."""
    found = _VERSION.search(name)
    return tuple(int(n) for n in re.findall(r"\d+", found[0])) if found else ()


def predecessor(column: str, value: str, last: Mapping[tuple[str, str], datetime]) -> str | None:
    """The version of the same family seen most recently before; None where there is none."""
    rivals = [
        (at, release(v), v)
        for (c, v), at in last.items()
        if c == column and v != value and family(v) == family(value)
    ]
    return max(rivals)[2] if rivals else None


def changes(
    seen: Seen, requests: Iterable[RequestFact], settling: timedelta = SETTLING
) -> tuple[Seen, list[EventFact]]:
    """Events for what these requests carry for the first time, or again after long; and the new memory."""
    last, since, events = dict(seen.last), seen.since, []
    for request in sorted(requests, key=_started):
        at = _started(request)
        since = since or at
        for column in VERSIONED:
            value = getattr(request, column)
            if value is None:
                continue
            before = predecessor(column, value, last)
            if (column, value) not in last:
                kind = PRESENT_AT_START if at - since < settling else FIRST_SEEN
                events.append(EventFact(at, kind, f"{column}={value}", request.source, before, value))
            elif before and _was_replaced((column, value), (column, before), last, at, settling):
                events.append(EventFact(at, RETURNED, f"{column}={value}", request.source, before, value))
            last[column, value] = max(at, last.get((column, value), at))
    return Seen(since, last), events


def _was_replaced(
    own: tuple[str, str],
    rival: tuple[str, str],
    last: Mapping[tuple[str, str], datetime],
    at: datetime,
    settling: timedelta,
) -> bool:
    return at - last[own] >= ABSENCE_SETTLINGS * settling and last[rival] > last[own]


def _started(request: RequestFact) -> datetime:
    return request.at - timedelta(milliseconds=request.e2e_ms or 0.0)
