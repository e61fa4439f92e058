"""What every screen is looked at through: the instant, the span behind it, the time zone and the palette."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Mode = Literal["light", "dark"]

SPANS: dict[str, timedelta] = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
}
POINTS = 120  # on a chart: finer than the eye needs at this width, coarse enough for one quick query
SPARK_POINTS = 60
SECOND = timedelta(seconds=1)
_INSTANT = re.compile(
    r"(?:(?P<date>\d{4}-\d{2}-\d{2})[T ])?"
    r"(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s*(?P<zone>Z|UTC|JST)?"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """`now` is the instant that is looked at; `zone` leads on screen and `other` stands in brackets."""

    now: datetime
    live: bool = True
    span: timedelta = SPANS["15m"]
    zone: str = "UTC"
    other: str = "Asia/Tokyo"
    mode: Mode = "light"

    @property
    def since(self) -> datetime:
        """Where the span begins."""
        return self.now - self.span

    def step(self, points: int = POINTS) -> timedelta:
        """The distance between instants of a chart, in whole seconds."""
        return max(SECOND, SECOND * round(self.span / points / SECOND))


def parse_instant(text: str, now: datetime, zone: str) -> datetime | None:
    """The instant a person means: full, or a time of day whose last occurrence before `now` is taken.

    A trailing Z, UTC or JST wins over `zone`. None where the text is no time.
    """
    found = _INSTANT.fullmatch(text.strip())
    if found is None:
        return None
    tz = ZoneInfo({"JST": "Asia/Tokyo", "Z": "UTC", "UTC": "UTC"}.get(found["zone"] or "", zone))
    day = found["date"] or now.astimezone(tz).date().isoformat()
    try:
        at = datetime.fromisoformat(f"{day}T{found['time'].zfill(5)}").replace(tzinfo=tz).astimezone(UTC)
    except ValueError:
        return None
    return at - timedelta(days=1) if found["date"] is None and at > now else at


def zone_label(zone: str, at: datetime) -> str:
    """The short name of a time zone, such as JST."""
    return at.astimezone(ZoneInfo(zone)).strftime("%Z")


def clock(at: datetime, frame: Frame, *, both: bool = True) -> str:
    """A time as people say it: "07:24:12 UTC (16:24 JST)"; with its date where that is not the frame's."""
    lead, other = at.astimezone(ZoneInfo(frame.zone)), at.astimezone(ZoneInfo(frame.other))
    today = frame.now.astimezone(ZoneInfo(frame.zone)).date() == lead.date()
    day = "" if today else f"{lead:%b} {lead.day} "
    text = f"{day}{lead:%H:%M:%S} {zone_label(frame.zone, at)}"
    return (
        f"{text} ({other:%H:%M} {zone_label(frame.other, at)})"
        if both and frame.zone != frame.other
        else text
    )


def instant_text(at: datetime) -> str:
    """An instant for a link."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
