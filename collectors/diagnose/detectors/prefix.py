"""A broken prompt prefix: fewer cached tokens than prompts of the same length used to have.

Longer prompts lower the hit rate too, but each still finds its prefix: so tokens are compared, at the same
length, and not shares.
"""

from __future__ import annotations

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Flags, Numbers, Requests
from collectors.diagnose.scene import P_STAYS, Evidence, Finding, Scene, told
from collectors.diagnose.shifts import P_SHIFT, known, more_often, onset

SHORT = 0.75  # of the tokens that were usual: the cut between noise of whole blocks and a loss
MOSTLY = 0.5  # of the requests of a version
RISE = 0.35  # over the share that was short before
ENOUGH = 10  # requests
BUCKETS_PER_OCTAVE = 2
FEW_IN_BUCKET = 5


def prefix_cache_broken(scene: Scene) -> list[Finding]:
    """One finding for each prompt version, else adapter, whose requests mostly lost their cached tokens."""
    now, usual = _cacheable(scene.good), _cacheable(scene.usual_good)
    if len(usual) < 2 * ENOUGH or np.median(usual["cached_tokens"]) <= 0:
        return []
    expected = Expected(usual)
    lost, lost_before = expected.short(now), expected.short(usual)
    for column in ("prompt_version", "adapter"):
        found = [
            finding
            for value in sorted(set(now.word(column)))
            if (finding := _of(scene, now, lost, lost_before, expected, column, str(value)))
        ]
        if found:
            return found
    return []


class Expected:
    """How many tokens a prompt of a length usually finds at least: lower quartiles of half-octaves."""

    def __init__(self, usual: Requests) -> None:
        octave = _octave(usual["prompt_tokens"])
        counts = {k: usual["cached_tokens"][octave == k] for k in np.unique(octave)}
        self._least = {k: _quartile(v) for k, v in counts.items() if len(v) >= FEW_IN_BUCKET}
        # a length that was not there before has at least the prefix that all share
        self._unseen = min(self._least.values(), default=_quartile(usual["cached_tokens"]))

    def of(self, rows: Requests) -> Numbers:
        """Expected cached tokens."""
        octave, found = _octave(rows["prompt_tokens"]), np.full(len(rows), self._unseen)
        for each, least in self._least.items():
            found[octave == each] = least
        return found

    def short(self, rows: Requests) -> Flags:
        """Which of them found clearly less."""
        return np.asarray(rows["cached_tokens"] < SHORT * self.of(rows))


def _of(
    scene: Scene,
    now: Requests,
    lost: Flags,
    lost_before: Flags,
    expected: Expected,
    column: str,
    value: str,
) -> Finding | None:
    mine = now.word(column) == value
    shift = more_often(lost[mine], lost_before)
    component = f"{column}={value}" if value else None
    going = (Cause.PREFIX_CACHE_BROKEN, component) in scene.going
    fewest, mostly, rise, p = (
        (ENOUGH // 2, MOSTLY / 2, RISE / 2, P_STAYS) if going else (ENOUGH, MOSTLY, RISE, P_SHIFT)
    )
    if shift.count < fewest or shift.now < mostly or shift.now - shift.usual < rise or shift.p > p:
        return None
    rows = now.where(mine)
    kept = float(rows["cached_tokens"].sum() / max(1.0, expected.of(rows).sum()))
    evidence = (
        told("share of requests that found less of their prefix than usual", shift, "ratio"),
        Evidence("cached tokens of those expected at these prompt lengths", kept, 1.0, "ratio", len(rows)),
        told("prompt length", scene.column("prompt_tokens"), "tokens"),
        told("prefill", scene.column("prefill_ms"), "ms"),
    )
    return Finding(
        Cause.PREFIX_CACHE_BROKEN,
        component,
        min(0.95, 0.6 + 0.35 * (1 - kept)),
        _since(scene, expected, column, value),
        evidence,
        float(rows.at[lost[mine]].max()),
    )


def _since(scene: Scene, expected: Expected, column: str, value: str) -> float:
    rows = _cacheable(scene.buffered.where(~scene.buffered.failed))
    rows = rows.where((rows.at > scene.now - 2 * scene.recent_s) & (rows.word(column) == value))
    losing = expected.short(rows)
    if losing.all():
        return float(rows.start.min())  # so it was since the version came
    return onset(rows.start, losing.astype(float)) or scene.now - scene.recent_s


def _cacheable(rows: Requests) -> Requests:
    return rows.where(np.isfinite(rows["cached_tokens"]) & (rows["prompt_tokens"] > 0))


def _quartile(values: Numbers) -> float:
    return float(np.percentile(values, 25))


def _octave(tokens: Numbers) -> Numbers:
    return np.round(BUCKETS_PER_OCTAVE * np.log2(np.maximum(known(tokens), 1)))
