"""From changes of an alert's state to episodes: pending since, firing since, ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert that changed its state."""

    alert: str
    component: str
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch in which an alert was pending or firing, or had no data; `ended_at` None while it lasts."""

    alert: str
    component: str
    began: datetime
    pending_at: datetime | None = None
    fired_at: datetime | None = None
    ended_at: datetime | None = None

    def lasted_s(self, now: datetime) -> float:
        """Seconds from its beginning to its end, or to now."""
        return ((self.ended_at or now) - self.began).total_seconds()


def episodes(transitions: Iterable[Transition]) -> list[Episode]:
    """Episodes in the order of their beginning; going to or from no data ends one and begins the next."""
    lasting: dict[tuple[str, str], Episode] = {}
    done: list[Episode] = []
    for t in transitions:
        key = (t.alert, t.component)
        before = lasting.pop(key, None)
        if before is not None and t.state == "firing" and before.pending_at:
            lasting[key] = replace(before, fired_at=t.at)
            continue
        if before is not None:
            done.append(replace(before, ended_at=t.at))
        if t.state != "inactive":
            lasting[key] = _begun(t)
    return sorted([*done, *lasting.values()], key=lambda e: (e.began, e.alert, e.component))


def _begun(t: Transition) -> Episode:
    return Episode(
        t.alert,
        t.component,
        t.at,
        pending_at=t.at if t.state == "pending" else None,
        fired_at=t.at if t.state == "firing" else None,
    )
