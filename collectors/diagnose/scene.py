"""What a detector looks at: an instant's recent past beside what was usual before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers, Requests, Scrapes
from collectors.diagnose.shifts import NOTHING, P_SHIFT, Shift, known, larger


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that speaks for a cause, beside what is usual; `count` is what it rests on."""

    what: str
    value: float | None
    usual: float | None
    unit: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that is seen at an instant.

    `score` in (0, 1] says how clearly; `since` when it began, `until` when its newest sign was there (None:
    now).
    """

    cause: Cause
    component: str | None
    score: float
    since: float
    evidence: tuple[Evidence, ...]
    until: float | None = None

    @property
    def key(self) -> tuple[Cause, str | None]:
        """What makes it the same finding a moment later."""
        return self.cause, self.component


@dataclass(frozen=True)
class Scene:
    """The instant `now` (seconds since the epoch). `minute_s` is a minute divided by the clock's scale.

    `recent` and `engines` reach `recent_s` back; `usual` and `usual_engines` are the last healthy time
    before, `usual_s` seconds of it. `engines_lately` reach back further than `engines`, whatever was wrong;
    `buffered` is every request that is remembered. `going` are the causes, with their components, of the
    incidents that are open.
    """

    now: float
    minute_s: float
    recent: Requests
    recent_s: float
    usual: Requests
    usual_s: float
    engines: Mapping[str, Scrapes]
    usual_engines: Mapping[str, Scrapes]
    engines_lately: Mapping[str, Scrapes]
    buffered: Requests
    going: frozenset[tuple[Cause, str | None]] = frozenset()
    _shifts: dict[tuple[str, bool], Shift] = field(default_factory=dict)  # many detectors ask for the same

    @cached_property
    def good(self) -> Requests:
        """Recent requests that were answered."""
        return self.recent.where(~self.recent.failed)

    @cached_property
    def usual_good(self) -> Requests:
        """Usual requests that were answered."""
        return self.usual.where(~self.usual.failed)

    def shift(self, of: Callable[[Requests], Numbers], *, mean: bool = False) -> Shift:
        """Whether a quantity of answered requests is larger than usual."""
        return larger(of(self.good), of(self.usual_good), mean=mean)

    def column(self, name: str, *, mean: bool = False) -> Shift:
        """The same for a column."""
        if (name, mean) not in self._shifts:
            self._shifts[name, mean] = self.shift(lambda r: r[name], mean=mean)
        return self._shifts[name, mean]

    @cached_property
    def tpot(self) -> Shift:
        """Whether tokens come more slowly than usual."""
        return self.shift(lambda r: r.tpot_ms)

    def grew(self, shift: Shift, factor: float, key: tuple[Cause, str | None], p: float = P_SHIFT) -> bool:
        """Whether a shift is there; less of it will do for an incident to go on, so that none flickers."""
        if key in self.going:
            return shift.grew(1 + STAYS * (factor - 1), P_STAYS)
        return shift.grew(factor, p)

    def latest(self, name: str) -> float:
        """A gauge's newest level, summed over replicas; nan where nobody told."""
        levels = [float(x[-1]) for s in self.engines.values() if len(x := known(s[name]))]
        return sum(levels) if levels else np.nan

    def rise(self, name: str) -> float:
        """How much a gauge rose over the recent time, summed over replicas; 0 where nobody told."""
        ends = [known(s[name]) for s in self.engines.values()]
        return float(sum(x[-1] - x[0] for x in ends if len(x) > 1))

    @property
    def arrivals(self) -> float:
        """Requests a second that came lately: those that ended, and by how many more are under way."""
        came = len(self.recent) + self.rise("requests_running") + self.rise("requests_waiting")
        return max(0.0, came) / self.recent_s

    @property
    def usual_arrivals(self) -> float:
        """Requests a second, usually."""
        return len(self.usual) / self.usual_s if self.usual_s else np.nan


Detector = Callable[[Scene], list[Finding]]

FELT = 1.3
STAYS = 0.6  # of the growth that opened an incident
P_STAYS = 0.01


def felt(scene: Scene) -> Shift:
    """The largest of the shifts that a customer feels: time to first token, and to the end."""
    shifts = [scene.column("ttft_ms"), scene.column("e2e_ms")]
    sure = [s for s in shifts if s.grew(FELT)]
    return max(sure, key=lambda s: s.ratio, default=NOTHING)


def is_felt(scene: Scene) -> bool:
    """Whether customers wait longer than usual."""
    return felt(scene) is not NOTHING


def told(what: str, shift: Shift, unit: str) -> Evidence:
    """A shift as evidence."""
    return Evidence(what, shift.now, shift.usual, unit, shift.count)


def certainty(shift: Shift, factor: float) -> float:
    """A score from a shift: 0.5 at the factor that is asked for, towards 1 as it grows beyond."""
    if not np.isfinite(shift.ratio):
        return 1.0
    beyond = max(0.0, np.log(shift.ratio / factor)) if shift.ratio > 0 else 0.0
    return float(1 - 0.5 * np.exp(-beyond))
