"""Latency by where it arises: preemption, slower tokens, a slow front, or somewhere unknown."""

from __future__ import annotations

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers, Requests
from collectors.diagnose.detectors.load import P_LATENCY, SLOW, arrivals, crowded
from collectors.diagnose.scene import Evidence, Finding, Scene, felt, is_felt, told
from collectors.diagnose.shifts import faster, known

ORDINARY = 1.3  # times the rate of busy moments: more of them wait for each other
FRONT_MS = 50.0
FRONT_SHARE = 0.3  # of the usual time to first token


def preemption(scene: Scene) -> list[Finding]:
    """Requests are put back for want of KV cache more often than usual, and it is felt."""
    now = sum(float(np.nansum(s["preemptions"])) for s in scene.engines.values())
    usual = sum(float(np.nansum(s["preemptions"])) for s in scene.usual_engines.values())
    shift = faster(int(now), scene.recent_s, int(usual), scene.usual_s)
    if now < 3 or not shift.grew(2) or not is_felt(scene):  # noqa: PLR2004 - one or two are chance
        return []
    full = [known(s["kv_usage_ratio"]) for s in scene.engines.values()]
    most = max((float(x.max()) for x in full if len(x)), default=None)
    evidence = (
        told("preemptions a second", shift, "per s"),
        Evidence("KV cache in use, at most", most, None, "ratio"),
    )
    return [Finding(Cause.PREEMPTION, None, 0.6, scene.now - scene.recent_s, evidence)]


def decode_slow(scene: Scene) -> list[Finding]:
    """Each token takes longer than usual, though no more requests come to share a batch."""
    tpot = scene.tpot
    if not tpot.grew(SLOW, P_LATENCY) or crowded(scene):
        return []
    evidence = (
        told("time per output token", tpot, "ms"),
        Evidence("requests running", scene.latest("requests_running"), None, "requests"),
    )
    return [Finding(Cause.DECODE_SLOW, None, 0.55, scene.now - scene.recent_s, evidence)]


def frontend_slow(scene: Scene) -> list[Finding]:
    """Time goes before the engine's core, or between it and the client, and not for more of them."""
    front = scene.shift(_front)
    usual_ttft = scene.column("ttft_ms").usual
    beyond = front.now - front.usual
    noticed = beyond > max(FRONT_MS, FRONT_SHARE * usual_ttft)
    if not noticed or not front.grew(2, P_LATENCY) or arrivals(scene).grew(ORDINARY):
        return []
    evidence = (
        told("time in gateway and front end", front, "ms"),
        told("time to first token", scene.column("ttft_ms"), "ms"),
    )
    return [Finding(Cause.FRONTEND_SLOW, None, 0.6, scene.now - scene.recent_s, evidence)]


def slow(scene: Scene) -> list[Finding]:
    """Customers wait clearly longer, whatever the cause, and not just because more of them came."""
    shift = felt(scene)
    if not shift.grew(SLOW, P_LATENCY) or arrivals(scene).grew(ORDINARY):
        return []
    return [
        Finding(
            Cause.UNDETERMINED,
            None,
            0.2,
            scene.now - scene.recent_s,
            (told("what customers wait", shift, "ms"),),
        )
    ]


def _front(rows: Requests) -> Numbers:
    return np.asarray(np.nan_to_num(rows["frontend_ms"]) + rows["gateway_ms"])
