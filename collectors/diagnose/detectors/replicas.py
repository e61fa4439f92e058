"""What one replica's scrapes, and the requests that are known or may have been its, tell of it."""

from __future__ import annotations

import numpy as np

from collectors.diagnose.columns import Flags, Requests, Scrapes
from collectors.diagnose.scene import Scene

STILL_S = 2.5  # shorter silences happen in a long prefill
ALIVE = 3  # requests, to prove something of their engine


def ended(scene: Scene, name: str, since: float) -> Requests:
    """The replica's requests that ended after an instant.

    Where requests name replicas in another way than scrapes do, whatever ended may have been its.
    """
    rows = scene.buffered
    own = rows.word("replica")
    alike = np.isin(own, [str(each) for each in scene.engines]).any()
    mine = (own == name) | (own == "") if alike else np.ones(len(rows), dtype=bool)
    return rows.where((rows.at > since) & mine)


def pace(scene: Scene, name: str, scrapes: Scrapes) -> float:
    """Seconds between its scrapes, usually."""
    usual = scene.usual_engines.get(name, scrapes)
    gaps = np.diff(usual.at) if len(usual) > 1 else np.diff(scrapes.at)
    return float(np.median(gaps)) if len(gaps) else 5.0


def per_s(scrapes: Scrapes, name: str) -> float | None:
    """A counter's growth a second over all scrapes; None where no time is known."""
    seconds = np.nansum(scrapes["interval_s"])
    return float(np.nansum(scrapes[name]) / seconds) if seconds > 0 else None


def tail(flags: Flags) -> int:
    """How many at the end are true without a break."""
    values = np.asarray(flags, dtype=bool)
    return int(np.argmin(values[::-1])) if not values.all() else len(values)
