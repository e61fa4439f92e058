"""More asked than is served, and what follows from it: waiting, preemption, slower tokens, a slow front."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers, Requests
from collectors.diagnose.scene import Evidence, Finding, Scene, certainty, felt, is_felt, told
from collectors.diagnose.shifts import Shift, faster, known, larger

BURST = 1.5  # times the rate that is usual in busy moments
BUSY = 90  # percentile of the usual rate
ORDINARY = 1.3
MORE = 1.2
SLOW = 1.5
QUEUE_SHARE = 0.2  # of the usual time to first token, spent waiting: less is no queue
WAITING = 0.6  # share of the scrapes with somebody waiting
FRONT_MS = 50.0
P_LATENCY = 1e-6


def traffic_burst(scene: Scene) -> list[Finding]:
    """Requests come faster than usual, and it is felt."""
    rate = arrivals(scene)
    if not rate.grew(BURST) or not (is_slow(scene) or queueing(scene)):
        return []
    evidence = (
        told("requests a second", rate, "per s"),
        told("mean queue wait", scene.column("queue_ms", mean=True), "ms"),
        told("prompt length", scene.column("prompt_tokens"), "tokens"),
        told("answer length", scene.column("output_tokens"), "tokens"),
    )
    return [Finding(Cause.TRAFFIC_BURST, None, certainty(rate, BURST), _since(scene), evidence)]


def capacity_short(scene: Scene) -> list[Finding]:
    """Not much more is asked than usual, and still more than is served: a queue, or a fuller batch."""
    rate, queue = arrivals(scene), scene.column("queue_ms", mean=True)
    waits = queueing(scene) and queue.grew(2)
    crowded = scene.shift(_tpot).grew(SLOW, P_LATENCY) and _crowded(scene) and is_felt(scene)
    if rate.grew(BURST) or not (waits or crowded):
        return []
    evidence = (
        told("mean queue wait", queue, "ms"),
        told("requests a second", rate, "per s"),
        Evidence("requests waiting", scene.latest("requests_waiting"), None, "requests"),
    )
    return [Finding(Cause.CAPACITY_SHORT, None, 0.6, scene.now - scene.recent_s, evidence)]


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
    tpot = scene.shift(_tpot)
    if not tpot.grew(SLOW, P_LATENCY) or _crowded(scene):
        return []
    evidence = (
        told("time per output token", tpot, "ms"),
        Evidence("requests running", scene.latest("requests_running"), None, "requests"),
    )
    return [Finding(Cause.DECODE_SLOW, None, 0.55, scene.now - scene.recent_s, evidence)]


def frontend_slow(scene: Scene) -> list[Finding]:
    """Time goes before the engine's core, or between it and the client."""
    front = scene.shift(_front)
    usual_ttft = scene.column("ttft_ms").usual
    beyond = front.now - front.usual
    if not front.grew(2, P_LATENCY) or not beyond > max(FRONT_MS, 0.3 * usual_ttft):
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


def _crowded(scene: Scene) -> bool:
    """Whether more requests come than usual, so that more of them share a batch."""
    return scene.arrivals > MORE * scene.usual_arrivals


def _tpot(rows: Requests) -> Numbers:
    return rows.tpot_ms


def arrivals(scene: Scene) -> Shift:
    """Requests a second beside those of usual busy moments."""
    came = round(scene.arrivals * scene.recent_s)
    busy = _busy(scene.usual.at, scene.recent_s)
    return faster(came, scene.recent_s, round(busy * scene.usual_s), scene.usual_s)


def _busy(at: Numbers, width_s: float) -> float:
    """Requests a second in busy stretches of this width; stretches without any are no healthy time."""
    if not len(at):
        return 0.0
    _, counts = np.unique((at / width_s).astype(int), return_counts=True)
    return float(np.percentile(counts, BUSY)) / width_s


def is_slow(scene: Scene) -> bool:
    """Whether those who came lately wait clearly longer than usual for their first token."""
    lately = scene.good.where(scene.good.start > scene.now - scene.recent_s)
    return larger(lately["ttft_ms"], scene.usual_good["ttft_ms"]).grew(SLOW)


def queueing(scene: Scene) -> bool:
    """Whether requests wait in the engine, most of the time and for long enough to be noticed."""
    waiting = [known(s["requests_waiting"]) for s in scene.engines.values()]
    shares = [float((w > 0).mean()) for w in waiting if len(w)]
    if shares:
        return max(shares) >= WAITING and scene.latest("requests_waiting") > FEW_WAITING
    usual, queue = scene.column("ttft_ms").usual, known(scene.good["queue_ms"])
    return bool(len(queue) and np.isfinite(usual) and queue.mean() > QUEUE_SHARE * usual)


FEW_WAITING = 4


def _since(scene: Scene) -> float:
    """When requests began to come faster: the split of the last minutes that fits two Poisson rates best.

    Maximum likelihood of a change-point: Akman & Raftery, Biometrika 73 (1986).
    """
    since = scene.now - 3 * scene.recent_s
    starts = np.sort(scene.buffered.start[scene.buffered.start > since])
    if len(starts) < FEWEST:
        return scene.now - scene.recent_s
    until = float(starts[-1])
    before, at = np.arange(len(starts), dtype=float), starts
    first_s, second_s = np.maximum(at - since, 1e-3), np.maximum(until - at, 1e-3)
    after = len(starts) - before
    fits = xlogy(before, before / first_s) + xlogy(after, after / second_s)
    rises = (after / second_s > before / first_s) & (second_s > STRETCH * scene.recent_s)
    return float(at[int(np.argmax(np.where(rises, fits, -np.inf)))]) if rises.any() else since


FEWEST = 8
STRETCH = 0.1  # of the recent time: a shorter stretch at its end is chance


def _front(rows: Requests) -> Numbers:
    return np.asarray(np.nan_to_num(rows["frontend_ms"]) + rows["gateway_ms"])


__all__ = [
    "arrivals",
    "capacity_short",
    "decode_slow",
    "frontend_slow",
    "preemption",
    "slow",
    "traffic_burst",
]
