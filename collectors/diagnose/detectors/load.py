"""More asked than is served: a burst, or too little capacity for what is usual."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers
from collectors.diagnose.scene import Evidence, Finding, Scene, certainty, is_felt, told
from collectors.diagnose.shifts import Shift, faster, known, larger

BURST = 1.5  # times the rate that is usual in busy moments
BUSY = 90  # percentile of the usual rate
MORE = 1.2  # times the usual rate: more of them share a batch
SLOW = 1.5
P_LATENCY = 1e-6
QUEUE_SHARE = 0.2  # of the usual time to first token, spent waiting: less is no queue
WAITING = 0.6  # share of the scrapes with somebody waiting
FEW_WAITING = 4  # requests
FEWEST = 8  # starts, to split them in two
STRETCH = 0.1  # of the recent time: a shorter stretch at its end is chance


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
    packed = crowded(scene) and scene.tpot.grew(SLOW, P_LATENCY) and is_felt(scene)
    if rate.grew(BURST) or not (waits or packed):
        return []
    evidence = (
        told("mean queue wait", queue, "ms"),
        told("requests a second", rate, "per s"),
        Evidence("requests waiting", scene.latest("requests_waiting"), None, "requests"),
    )
    return [Finding(Cause.CAPACITY_SHORT, None, 0.6, scene.now - scene.recent_s, evidence)]


def crowded(scene: Scene) -> bool:
    """Whether more requests come than usual, so that more of them share a batch."""
    return scene.arrivals > MORE * scene.usual_arrivals


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
