"""An engine that stands still, is gone, or is not seen; and adapters that do not fit its batch."""

from __future__ import annotations

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Numbers, Requests, Scrapes
from collectors.diagnose.scene import Evidence, Finding, Scene, is_felt, told
from collectors.diagnose.shifts import known

STILL_SCRAPES = 3  # without a token while requests run: fewer happen in a long prefill
STILL_S = 2.5
IDLE = 0.3  # of the usual tokens a second: an engine that goes on has made up for less by its next scrape
BLIND_SCRAPES = 2  # that failed: one is chance
ALIVE = 3  # requests answered since prove that the engine lives
LOST = 0.5  # share of failed requests that proves that it does not
EXPECTED = 4  # requests that should have ended meanwhile, so that none says something


def engine_stall(scene: Scene) -> list[Finding]:
    """Replicas that have requests running and bring no token, or that were silent and went on."""
    return [
        f for name, s in scene.engines.items() if (f := _stalled(scene, name, s) or _went_on(scene, name, s))
    ]


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


def _stalled(scene: Scene, name: str, scrapes: Scrapes) -> Finding | None:
    seen = scrapes.where(scrapes["up"] != 0)
    still = (seen["requests_running"] > 0) & (seen["generation_tokens"] == 0)
    length = _tail(still)
    if length < STILL_SCRAPES or length == len(still):
        return None
    since = float(seen.at[-length - 1])
    if seen.at[-1] - since < STILL_S or scene.now - seen.at[-1] > scene.minute_s:
        return None
    running = float(seen["requests_running"][-1])
    usual = scene.usual_engines.get(name)
    rate = _per_s(usual, "generation_tokens") if usual is not None else None
    evidence = (
        Evidence("generated tokens a second", 0.0, rate, "tokens/s", length),
        Evidence("requests running", running, None, "requests"),
        Evidence("seconds without a token", float(seen.at[-1] - since), None, "s"),
    )
    return Finding(Cause.ENGINE_STALL, f"replica={name}", 0.95, since, evidence)


def _went_on(scene: Scene, name: str, scrapes: Scrapes) -> Finding | None:
    """A replica that answered no scrape for a while, and went on with its requests: no restart."""
    lately = scene.engines_lately[name]
    good = lately.where(lately["up"] == 1)
    gaps = np.where(good.at[1:] > scene.now - scene.recent_s, np.diff(good.at), 0.0)
    if not len(gaps):
        return None
    widest = int(np.argmax(gaps))
    since, until = float(good.at[widest]), float(good.at[widest + 1])
    started = good["process_start_s"][[widest, widest + 1]]
    if gaps[widest] < max(STILL_S, STILL_SCRAPES * _pace(scene, name, scrapes)) or _differ(started):
        return None
    rows = _ended(scene, name, since)
    tokens = float(good["generation_tokens"][widest + 1]) / gaps[widest]
    usual = _per_s(scene.usual_engines.get(name, good), "generation_tokens") or 0.0
    if not tokens < IDLE * usual:
        return None  # it worked, and only did not answer us
    slack_s = 2 * _pace(scene, name, scrapes)  # a scrape sees both ends of the silence late
    good_rows = rows.where(~rows.failed)
    survived = (good_rows.start < since + slack_s) & (good_rows.at > until - slack_s)
    meanwhile = (good_rows.at > since + slack_s) & (good_rows.at < until - slack_s)
    if not survived.any() or meanwhile.any():
        return None
    evidence = (
        Evidence("seconds in which it answered nothing", until - since, None, "s"),
        Evidence("requests that it went on with afterwards", float(survived.sum()), None, "requests"),
    )
    return Finding(Cause.ENGINE_STALL, f"replica={name}", 0.9, since, evidence, until)


def _differ(values: Numbers) -> bool:
    """Whether two known values differ; what is not known does not."""
    return bool(np.isfinite(values).all() and values[0] != values[1])


def _blind(scene: Scene, name: str, scrapes: Scrapes) -> Finding | None:
    failed = scrapes["up"] == 0
    length, pace = _tail(failed), _pace(scene, name, scrapes)
    silent = scene.now - float(scrapes.at[-1]) if len(scrapes) else scene.recent_s
    if length >= BLIND_SCRAPES:
        since = float(scrapes.at[-length])
    elif silent > max(4 * pace, STILL_S):
        since = float(scrapes.at[-1]) if len(scrapes) else scene.now - silent
    else:
        return None
    lives = _lives(scene, name, since)
    if lives is None:
        return None
    ended = _ended(scene, name, since)
    cause = Cause.TELEMETRY_GAP if lives else Cause.REPLICA_DOWN
    evidence = (
        Evidence("seconds without a good scrape", scene.now - since, pace, "s", length),
        Evidence("requests that failed since", float(ended.failed.sum()), None, "requests", len(ended)),
        Evidence("requests answered since", float((~ended.failed).sum()), None, "requests", len(ended)),
    )
    return Finding(cause, f"replica={name}", 0.9, since, evidence)


def _lives(scene: Scene, name: str, since: float) -> bool | None:
    """Whether the engine still serves; None where too little was asked of it to say."""
    # A request that began before says nothing about the engine afterwards.
    ended = _ended(scene, name, since)
    ended = ended.where(ended.start >= since)
    broken = ended.failed & (ended["http_status"] >= 500)  # noqa: PLR2004 - the server's errors
    if broken.sum() >= ALIVE and broken.mean() >= LOST:
        return False
    if (~ended.failed).sum() >= ALIVE:
        return True
    lasts_s = known(scene.usual_good["e2e_ms"])
    usual_s = float(np.percentile(lasts_s, 95)) / 1000 if len(lasts_s) else 0.0
    expected = scene.usual_arrivals * (scene.now - since - usual_s) / max(1, len(scene.engines))
    return False if expected >= EXPECTED and not len(ended) else None


def _ended(scene: Scene, name: str, since: float) -> Requests:
    rows = scene.buffered
    own = rows.word("replica")
    # where requests name replicas in another way than scrapes do, whatever ended may have been its
    alike = np.isin(own, [str(each) for each in scene.engines]).any()
    mine = (own == name) | (own == "") if alike else np.ones(len(rows), dtype=bool)
    return rows.where((rows.at > since) & mine)


def _pace(scene: Scene, name: str, scrapes: Scrapes) -> float:
    usual = scene.usual_engines.get(name, scrapes)
    gaps = np.diff(usual.at) if len(usual) > 1 else np.diff(scrapes.at)
    return float(np.median(gaps)) if len(gaps) else 5.0


def _per_s(scrapes: Scrapes, name: str) -> float | None:
    seconds = np.nansum(scrapes["interval_s"])
    return float(np.nansum(scrapes[name]) / seconds) if seconds > 0 else None


def _most(scene: Scene, name: str) -> float | None:
    found = [known(s[name]) for s in scene.engines.values()]
    return max((float(x.max()) for x in found if len(x)), default=None)


def _tail(flags: object) -> int:
    """How many at the end are true without a break."""
    values = np.asarray(flags, dtype=bool)
    return int(np.argmin(values[::-1])) if not values.all() else len(values)
