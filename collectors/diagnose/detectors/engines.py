"""An engine that is gone, is not seen, or has just started; and adapters that do not fit its batch."""

from __future__ import annotations

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Scrapes
from collectors.diagnose.detectors.replicas import ALIVE, STILL_S, ended, pace, tail
from collectors.diagnose.scene import Evidence, Finding, Scene, is_felt, told
from collectors.diagnose.shifts import known

BLIND_SCRAPES = 2  # that failed: one is chance
LOST = 0.5  # share of failed requests that proves that it does not
EXPECTED = 4  # requests that should have ended meanwhile, so that none says something


def replica_down(scene: Scene) -> list[Finding]:
    """Replicas that do not answer the scrape: down if requests fail or stop, else merely not seen."""
    return [f for name, s in scene.engines.items() if (f := _blind(scene, name, s))]


def adapter_slots_short(scene: Scene) -> list[Finding]:
    """Requests wait for an adapter's place in the batch, while memory and batch have room."""
    queue = scene.column("queue_ms", mean=True)
    waiting, slots = _most(scene, "adapters_waiting"), _most(scene, "adapter_slots")
    full = _most(scene, "kv_usage_ratio")
    own = scene.recent.word("adapter") != scene.recent.word("model")  # the base model takes no place
    asked = len(set(scene.recent.word("adapter")[own]) - {""})
    if not slots or asked <= slots or not queue.grew(2) or queue.now < QUEUED_MS or (full or 0.0) > KV_FULL:
        return []
    evidence = (
        Evidence("adapters asked for", float(asked), slots, "adapters", len(scene.recent)),
        Evidence("adapters waiting", waiting, None, "adapters"),
        told("mean queue wait", queue, "ms"),
    )
    return [Finding(Cause.ADAPTER_SLOTS_SHORT, None, 0.8, scene.now - scene.recent_s, evidence)]


def cold_start(scene: Scene) -> list[Finding]:
    """Replicas that have just started, while customers wait longer: caches are empty, code is compiled."""
    if not is_felt(scene):
        return []
    return [f for name, s in scene.engines.items() if (f := _fresh(scene, name, s))]


FRESH_MIN = 5.0  # after its start, an engine's caches fill
QUEUED_MS = 20.0
KV_FULL = 0.9


def _fresh(scene: Scene, name: str, scrapes: Scrapes) -> Finding | None:
    known_starts = known(scrapes["process_start_s"])
    began = float(known_starts[-1]) if len(known_starts) else np.nan
    if not 0 <= scene.now - began <= FRESH_MIN * scene.minute_s:
        return None
    evidence = (
        Evidence("seconds since the engine started", scene.now - began, None, "s"),
        told("cached tokens of a request", scene.column("cached_tokens"), "tokens"),
        told("time to first token", scene.column("ttft_ms"), "ms"),
    )
    return Finding(Cause.COLD_START, f"replica={name}", 0.8, began, evidence)


def _blind(scene: Scene, name: str, scrapes: Scrapes) -> Finding | None:
    failed = scrapes["up"] == 0
    length, each_s = tail(failed), pace(scene, name, scrapes)
    silent = scene.now - float(scrapes.at[-1]) if len(scrapes) else scene.recent_s
    if length >= BLIND_SCRAPES:
        since = float(scrapes.at[-length])
    elif silent > max(4 * each_s, STILL_S):
        since = float(scrapes.at[-1]) if len(scrapes) else scene.now - silent
    else:
        return None
    lives = _lives(scene, name, since)
    if lives is None:
        return None
    rows = ended(scene, name, since)
    cause = Cause.TELEMETRY_GAP if lives else Cause.REPLICA_DOWN
    evidence = (
        Evidence("seconds without a good scrape", scene.now - since, each_s, "s", length),
        Evidence("requests that failed since", float(rows.failed.sum()), None, "requests", len(rows)),
        Evidence("requests answered since", float((~rows.failed).sum()), None, "requests", len(rows)),
    )
    return Finding(cause, f"replica={name}", 0.9, since, evidence)


def _lives(scene: Scene, name: str, since: float) -> bool | None:
    """Whether the engine still serves; None where too little was asked of it to say."""
    # A request that began before says nothing about the engine afterwards.
    rows = ended(scene, name, since)
    rows = rows.where(rows.start >= since)
    broken = rows.failed & (rows["http_status"] >= 500)  # noqa: PLR2004 - the server's errors
    if broken.sum() >= ALIVE and broken.mean() >= LOST:
        return False
    if (~rows.failed).sum() >= ALIVE:
        return True
    lasts_s = known(scene.usual_good["e2e_ms"])
    usual_s = float(np.percentile(lasts_s, 95)) / 1000 if len(lasts_s) else 0.0
    expected = scene.usual_arrivals * (scene.now - since - usual_s) / max(1, len(scene.engines))
    return False if expected >= EXPECTED and not len(rows) else None


def _most(scene: Scene, name: str) -> float | None:
    found = [known(s[name]) for s in scene.engines.values()]
    return max((float(x.max()) for x in found if len(x)), default=None)
