"""An engine that stands still: with requests in it, answering nothing, or with requests in front of it."""

from __future__ import annotations

import numpy as np

from collectors.diagnose.causes import Cause
from collectors.diagnose.columns import Flags, Numbers, Scrapes
from collectors.diagnose.detectors.replicas import ALIVE, STILL_S, ended, pace, per_s, tail
from collectors.diagnose.scene import Evidence, Finding, Scene

STILL_SCRAPES = 3  # without a token while requests run: fewer happen in a long prefill
IDLE = 0.3  # of the usual tokens a second: an engine that goes on has made up for less by its next scrape


def engine_stall(scene: Scene) -> list[Finding]:
    """Replicas that have requests running and bring no token, or that went on after they brought none."""
    return [
        f
        for name, s in scene.engines.items()
        if (f := _stalled(scene, name, s) or _went_on(scene, name, s) or _woke(scene, name, s))
    ]


def _stalled(scene: Scene, name: str, scrapes: Scrapes) -> Finding | None:
    seen = scrapes.where(scrapes["up"] != 0)
    still = (seen["requests_running"] > 0) & (seen["generation_tokens"] == 0)
    length = tail(still)
    if length < STILL_SCRAPES or length == len(still):
        return None
    since = float(seen.at[-length - 1])
    if seen.at[-1] - since < STILL_S or scene.now - seen.at[-1] > scene.minute_s:
        return None
    running = float(seen["requests_running"][-1])
    usual = scene.usual_engines.get(name)
    rate = per_s(usual, "generation_tokens") if usual is not None else None
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
    if gaps[widest] < max(STILL_S, STILL_SCRAPES * pace(scene, name, scrapes)) or _differ(started):
        return None
    rows = ended(scene, name, since)
    tokens = float(good["generation_tokens"][widest + 1]) / gaps[widest]
    usual = per_s(scene.usual_engines.get(name, good), "generation_tokens") or 0.0
    if not tokens < IDLE * usual:
        return None  # it worked, and only did not answer us
    slack_s = 2 * pace(scene, name, scrapes)  # a scrape sees both ends of the silence late
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


def _woke(scene: Scene, name: str, scrapes: Scrapes) -> Finding | None:
    """A replica that seemed idle while requests came, and worked on all of them afterwards.

    What stops in a moment without work has no request in it: those that come wait in front of it, and only
    when it goes on do they tell of it.
    """
    lately = scene.engines_lately[name]
    good = lately.where(lately["up"] == 1)
    idle = (good["requests_running"] == 0) & (good["generation_tokens"] == 0)
    first, last = _longest(idle & (good.at > scene.now - scene.recent_s))
    if last - first + 1 < STILL_SCRAPES or first == 0 or last + 1 >= len(good):
        return None
    since, until = float(good.at[first - 1]), float(good.at[last])
    slack_s = 2 * pace(scene, name, scrapes)
    rows = ended(scene, name, since)
    rows = rows.where(~rows.failed)
    waited = (rows.start > since) & (rows.start < until - slack_s) & (rows.at > until)
    meanwhile = (rows.at > since + slack_s) & (rows.at < until)
    if waited.sum() < ALIVE or meanwhile.any():
        return None
    began = float(rows.start[waited].min())
    if until - began < STILL_S:
        return None
    evidence = (
        Evidence("seconds without a token", until - began, None, "s"),
        Evidence("requests that waited in front of it", float(waited.sum()), None, "requests"),
    )
    return Finding(Cause.ENGINE_STALL, f"replica={name}", 0.9, began, evidence, until)


def _longest(flags: Flags) -> tuple[int, int]:
    """First and last index of the longest run of true; (0, -1) without any."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, -1
    starts, ends = edges[::2], edges[1::2]
    widest = int(np.argmax(ends - starts))
    return int(starts[widest]), int(ends[widest]) - 1
