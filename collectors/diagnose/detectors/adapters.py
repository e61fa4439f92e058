"""One adapter family against its own past: longer answers, or slower tokens, than the others have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers, Requests
from collectors.diagnose.scene import P_STAYS, Finding, Scene, certainty, told
from collectors.diagnose.shifts import NOTHING, Shift, larger, onset
from collectors.signals.changes import family

WORSE = 1.5
SHARED = 1.25  # what all others suffer as well is not the adapter's
P_WAITS = 1e-3
P_BEYOND = 1e-3  # where all suffer, of standing out from them by chance
MAY_BE = 1.3  # less is looked into no further
ENOUGH = 12  # requests of an adapter,
STRETCH_MIN = 5.0  # for which this much before the recent time is looked at


def adapter_regression(scene: Scene) -> list[Finding]:
    """Adapters whose answers grew, or whose tokens slowed, against their family and beyond the others'."""
    lately = scene.buffered.between(scene.now - scene.recent_s - STRETCH_MIN * scene.minute_s, scene.now)
    now, usual = by_family(lately.where(~lately.failed)), by_family(scene.usual_good)
    return [
        finding
        for name in sorted(now.keys() & usual.keys())
        for version in sorted(set(now[name].word("adapter")))
        if (finding := _regressed(scene, name, str(version), now, usual))
    ]


def _latest(scene: Scene, rows: Requests) -> Requests:
    """The recent ones; of an adapter with few requests, as many as are needed from a little before."""
    recent = rows.where(rows.at > scene.now - scene.recent_s)
    return recent if len(recent) >= ENOUGH else rows.where(slice(-ENOUGH, None))


def by_family(rows: Requests) -> Mapping[str, Requests]:
    """Requests by the family of their adapter; those without one are the family ""."""
    names = rows.word("adapter")
    families = {str(name): family(str(name)) for name in set(names)}
    own = np.array([families[str(name)] for name in names], dtype=object)
    return {each: rows.where(own == each) for each in sorted(set(families.values()))}


def _regressed(
    scene: Scene, name: str, version: str, now: Mapping[str, Requests], usual: Mapping[str, Requests]
) -> Finding | None:
    mine = _latest(scene, now[name].where(now[name].word("adapter") == version))
    before = usual[name]
    longer = _Compared(mine["output_tokens"], before["output_tokens"], mean=True)
    # how fast tokens come is shared by all who run at the time, so that is compared at the same time alone
    slower = _Compared(mine.where(mine.at > scene.now - scene.recent_s).tpot_ms, before.tpot_ms)
    if not any(each.shift.grew(MAY_BE, P_STAYS) for each in (longer, slower)):
        return None
    waits = larger(mine["e2e_ms"], before["e2e_ms"])
    rest = _others(scene, now, usual, [each for each in now if each != name and each in usual])
    component = f"adapter={version}" if version else None
    key = (Cause.ADAPTER_REGRESSION, component)
    own = [
        each
        for each, theirs in zip((longer, slower), rest, strict=True)
        if scene.grew(each.shift, WORSE, key) and _its_own(each, theirs)
    ]
    if mine.at[-1] <= scene.now - scene.recent_s or not own or not scene.grew(waits, SHARED, key, P_WAITS):
        return None
    worst = max(own, key=lambda each: each.shift.ratio)
    evidence = (
        told("mean answer length", longer.shift, "tokens"),
        told("time per output token", slower.shift, "ms"),
        told("total latency", waits, "ms"),
        told("answer length of the other adapters", rest[0].shift, "tokens"),
        told("time per output token of the other adapters", rest[1].shift, "ms"),
    )
    since = _since(scene, version, mine, by_length=worst is longer)
    score, last = certainty(worst.shift, WORSE), float(mine.at.max())
    return Finding(Cause.ADAPTER_REGRESSION, component, score, since, evidence, last)


@dataclass(frozen=True)
class _Compared:
    """A quantity's values now and usually, of one adapter or of all others."""

    now: Numbers
    usual: Numbers
    mean: bool = False

    @cached_property
    def shift(self) -> Shift:
        return larger(self.now, self.usual, mean=self.mean)

    def beyond(self, theirs: _Compared) -> Shift:
        """How far each has left its own past behind, beside how far the others have theirs."""
        if not (self.shift.usual > 0 and theirs.shift.usual > 0):
            return NOTHING
        return larger(self.now / self.shift.usual, theirs.now / theirs.shift.usual, mean=self.mean)


def _others(
    scene: Scene, now: Mapping[str, Requests], usual: Mapping[str, Requests], names: list[str]
) -> tuple[_Compared, _Compared]:
    recent = [now[n].where(now[n].at > scene.now - scene.recent_s) for n in names]
    before = [usual[n] for n in names]

    def joined(rows: list[Requests], of: Callable[[Requests], Numbers]) -> Numbers:
        return np.concatenate([of(r) for r in rows]) if rows else np.empty(0)

    def compared(of: Callable[[Requests], Numbers], *, mean: bool) -> _Compared:
        return _Compared(joined(recent, of), joined(before, of), mean)

    return compared(lambda r: r["output_tokens"], mean=True), compared(lambda r: r.tpot_ms, mean=False)


def _its_own(mine: _Compared, theirs: _Compared) -> bool:
    """Whether the shift is the adapter's and not what all suffer.

    A batch's step takes as long for every adapter in it: where the others slowed as well, an adapter that
    had quicker tokens has the larger ratio, and is no slower than they are. Where nobody else tells, longer
    answers alone are the adapter's.
    """
    if not theirs.shift.count:
        return mine.mean
    if theirs.shift.ratio <= SHARED:
        return True
    before = mine.shift.usual / theirs.shift.usual if theirs.shift.usual > 0 else 1.0
    slower = mine.shift.now >= WORSE * theirs.shift.now * max(1.0, before)
    return slower and mine.beyond(theirs).grew(WORSE, P_BEYOND)


def _since(scene: Scene, version: str, rows: Requests, *, by_length: bool) -> float:
    mine = scene.buffered.where(
        (scene.buffered.word("adapter") == version) & (scene.buffered.at > scene.now - 4 * scene.recent_s)
    )
    values = mine["output_tokens"] if by_length else mine.tpot_ms
    first = float(mine.start.min()) if len(mine) else scene.now
    if first > scene.now - 3 * scene.recent_s:
        return first  # the version has just come
    return onset(mine.start, np.log(np.maximum(values, 1e-3))) or float(rows.start.min())
