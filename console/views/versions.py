"""Adapters and versions: each beside the one that it took the place of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.signals.changes import family, release
from console.views import words
from console.views.frame import Frame, clock

COLUMNS: Mapping[str, str] = {
    "Adapters": "adapter",
    "Prompt versions": "prompt_version",
    "Backend versions": "backend_version",
    "Variants": "variant",
}
RUNBOOKS: Mapping[str, str] = {"prompt_version": "prefix_cache_broken"}
RUNBOOK = "adapter_regression"
WORSE = 1.5  # times the predecessor: as the detector of regressions asks
FEWEST = 20  # requests on either side; fewer say nothing


@dataclass(frozen=True, slots=True)
class Version:
    """What a version's requests came to in the span; None where nothing is known."""

    name: str
    count: int
    first: datetime
    last: datetime
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tpot_p50_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    output_p50: float | None
    cached: float | None  # share of the prompt
    failed: float | None  # share of the answered


@dataclass(frozen=True, slots=True)
class Row:
    """A version with the one before it; `worse` names what is clearly worse than that one's."""

    version: Version
    before: Version | None
    worse: tuple[str, ...]


def rows(found: Sequence[Version]) -> list[Row]:
    """By family, the newest release first."""
    ordered = sorted(found, key=lambda v: (family(v.name), [-n for n in release(v.name)], v.name))
    return [_row(v, found) for v in ordered]


def seen(row: Row, frame: Frame) -> str:
    """From its first to its last request of the span."""
    first, last = (clock(at, frame, both=False) for at in (row.version.first, row.version.last))
    return f"{first} to {last}"


def cells(row: Row, span: timedelta) -> tuple[str, ...]:
    """One row behind its name: traffic, latencies, answer, cache, errors."""
    v, past = row.version, row.before

    def beside(column: str, unit: str) -> str:
        return _beside(getattr(v, column), getattr(past, column) if past else None, unit)

    return (
        f"{v.count:,} ({v.count / span.total_seconds():.2g} per s)",
        beside("ttft_p50_ms", "ms"),
        words.amount(v.ttft_p95_ms, "ms"),
        beside("tpot_p50_ms", "ms"),
        beside("e2e_p95_ms", "ms"),
        beside("output_p50", "tokens"),
        words.percent(v.cached),
        words.percent(v.failed),
    )


def verdict(row: Row) -> tuple[str, str]:
    """(in words, tone) of a version against its predecessor."""
    if row.before is None:
        return "no predecessor here", "none"
    if min(row.version.count, row.before.count) < FEWEST:
        return f"not enough traffic beside {row.before.name}", "none"
    if row.worse:
        return f"worse than {row.before.name}: {', '.join(row.worse)}", "bad"
    return f"as good as {row.before.name}", "ok"


def _row(v: Version, found: Sequence[Version]) -> Row:
    older = [o for o in found if family(o.name) == family(v.name) and release(o.name) < release(v.name)]
    before = max(older, key=lambda o: release(o.name), default=None)
    return Row(v, before, _worse(v, before) if before else ())


def _worse(v: Version, before: Version) -> tuple[str, ...]:
    pairs = (
        ("first token", v.ttft_p50_ms, before.ttft_p50_ms),
        ("time per token", v.tpot_p50_ms, before.tpot_p50_ms),
        ("total latency", v.e2e_p95_ms, before.e2e_p95_ms),
        ("longer answers", v.output_p50, before.output_p50),
        ("less cached", before.cached, v.cached),
    )
    if min(v.count, before.count) < FEWEST:
        return ()
    known = [(name, now, past) for name, now, past in pairs if now is not None and past is not None]
    return tuple(name for name, now, past in known if now > WORSE * past)


def _beside(now: float | None, past: float | None, unit: str) -> str:
    change = words.gained(now, past, unit)
    return f"{words.amount(now, unit)} ({change})" if change else words.amount(now, unit)
