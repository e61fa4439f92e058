"""Curves and marks as plain data, for the charts that draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; None is a gap."""

    name: str
    at: Sequence[datetime]
    values: Sequence[float | None]
    colour: str
    dash: str = "solid"
    fill: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a change (dashed, blue) or a firing alert (band, from `at` to `until`)."""

    at: datetime
    text: str
    until: datetime | None = None
