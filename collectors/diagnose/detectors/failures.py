"""Requests that fail: too long, turned away, out of memory, or broken without a known reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Flags, Requests
from collectors.diagnose.scene import Evidence, Finding, Scene, told
from collectors.diagnose.shifts import more_often

P_FAILURE = 1e-4
FEWEST = 3  # one or two happen on any day
LEAST_SHARE = 0.02


def context_overflow(scene: Scene) -> list[Finding]:
    """Prompts that the engine refuses for their length."""
    return _more(scene, Cause.CONTEXT_OVERFLOW, lambda r: r.word("error_kind") == "context_overflow")


def rejected(scene: Scene) -> list[Finding]:
    """Requests answered with 429."""
    return _more(scene, Cause.REJECTED, lambda r: r["http_status"] == 429)  # noqa: PLR2004 - as it is named


def oom(scene: Scene) -> list[Finding]:
    """Any request whose out-of-memory was caught, or that died of it."""

    def hit(rows: Requests) -> Flags:
        return np.asarray((rows["oom_caught"] == 1) | (rows.word("error_kind") == "oom"))

    hits = hit(scene.recent)
    if not hits.any():
        return []
    rows = scene.recent.where(hits)
    evidence = (Evidence("requests out of memory", float(hits.sum()), 0.0, "requests", len(scene.recent)),)
    return [Finding(Cause.OOM, None, 0.9, float(rows.start.min()), evidence, float(rows.at.max()))]


def broken(scene: Scene) -> list[Finding]:
    """Server errors: a cause of their own where no engine is seen to be down."""
    return _more(scene, Cause.UNDETERMINED, lambda r: r["http_status"] >= 500)  # noqa: PLR2004 - HTTP's


def _more(scene: Scene, cause: Cause, failed: Callable[[Requests], Flags]) -> list[Finding]:
    now, usual = failed(scene.recent), failed(scene.usual)
    shift = more_often(now, usual)
    if now.sum() < FEWEST or shift.now < LEAST_SHARE or not shift.grew(2, P_FAILURE):
        return []
    rows = scene.recent.where(now)
    evidence = (
        told("share of requests", shift, "ratio"),
        told("prompt length", scene.column("prompt_tokens"), "tokens"),
    )
    kinds, counts = np.unique(rows.word("error_kind").astype(str), return_counts=True)
    component = f"error_kind={kinds[np.argmax(counts)]}" if cause is Cause.UNDETERMINED else None
    score = 0.9 if cause is not Cause.UNDETERMINED else 0.3
    return [Finding(cause, component, score, float(rows.start.min()), evidence, float(rows.at.max()))]
