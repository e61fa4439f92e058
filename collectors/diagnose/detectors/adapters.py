"""One adapter family against its own past: longer answers, or slower tokens, than the others have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers, Requests
from collectors.diagnose.scene import P_STAYS, Finding, Scene, certainty, told
from collectors.diagnose.shifts import Shift, larger, onset
from collectors.signals.changes import family

WORSE = 1.5
SHARED = 1.25  # what all others suffer as well is not the adapter's
P_WAITS = 1e-3
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
    longer = larger(mine["output_tokens"], before["output_tokens"], mean=True)
    # how fast tokens come is shared by all who run at the time, so that is compared at the same time alone
    slower = larger(mine.where(mine.at > scene.now - scene.recent_s).tpot_ms, before.tpot_ms)
    if not (longer.grew(MAY_BE, P_STAYS) or slower.grew(MAY_BE, P_STAYS)):
        return None
    waits = larger(mine["e2e_ms"], before["e2e_ms"])
    rest = _others(scene, now, usual, [each for each in now if each != name and each in usual])
    component = f"adapter={version}" if version else None
    key = (Cause.ADAPTER_REGRESSION, component)
    own = [
        shift
        for shift, theirs in ((longer, rest[0]), (slower, rest[1]))
        if scene.grew(shift, WORSE, key) and _its_own(shift, theirs, alone=shift is longer)
    ]
    if mine.at[-1] <= scene.now - scene.recent_s or not own or not scene.grew(waits, SHARED, key, P_WAITS):
        return None
    worst = max(own, key=lambda s: s.ratio)
    evidence = (
        told("mean answer length", longer, "tokens"),
        told("time per output token", slower, "ms"),
        told("total latency", waits, "ms"),
        told("answer length of the other adapters", rest[0], "tokens"),
    )
    since = _since(scene, version, mine, by_length=worst is longer)
    score, last = certainty(worst, WORSE), float(mine.at.max())
    return Finding(Cause.ADAPTER_REGRESSION, component, score, since, evidence, last)


def _others(
    scene: Scene, now: Mapping[str, Requests], usual: Mapping[str, Requests], names: list[str]
) -> tuple[Shift, Shift]:
    def joined(of: Mapping[str, Requests]) -> tuple[Numbers, Numbers]:
        rows = [of[n].where(of[n].at > scene.now - scene.recent_s) if of is now else of[n] for n in names]
        return (
            np.concatenate([r["output_tokens"] for r in rows]) if rows else np.empty(0),
            np.concatenate([r.tpot_ms for r in rows]) if rows else np.empty(0),
        )

    (tokens, tpot), (usual_tokens, usual_tpot) = joined(now), joined(usual)
    return larger(tokens, usual_tokens, mean=True), larger(tpot, usual_tpot)


def _its_own(shift: Shift, theirs: Shift, *, alone: bool) -> bool:
    """Whether the shift is the adapter's and not what all suffer; `alone`, where nobody else tells.

    A batch's step takes as long for every adapter in it: where the others slowed as well, an adapter that
    had quicker tokens has the larger ratio, and is no slower than they are.
    """
    if not theirs.count:
        return alone
    if theirs.ratio <= SHARED:
        return True
    before = shift.usual / theirs.usual if theirs.usual > 0 else 1.0
    return shift.ratio >= WORSE * theirs.ratio and shift.now >= WORSE * theirs.now * max(1.0, before)


def _since(scene: Scene, version: str, rows: Requests, *, by_length: bool) -> float:
    mine = scene.buffered.where(
        (scene.buffered.word("adapter") == version) & (scene.buffered.at > scene.now - 4 * scene.recent_s)
    )
    values = mine["output_tokens"] if by_length else mine.tpot_ms
    first = float(mine.start.min()) if len(mine) else scene.now
    if first > scene.now - 3 * scene.recent_s:
        return first  # the version has just come
    return onset(mine.start, np.log(np.maximum(values, 1e-3))) or float(rows.start.min())
