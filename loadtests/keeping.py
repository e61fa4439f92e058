"""Was everything kept: a row for each request, a trace in MLflow, and the same numbers wherever one looks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from loadtests.evidence import Evidence
from loadtests.records import Record
from loadtests.validity import Check

ROWS_SHARE = 0.99
APART_MS = 5.0
SPANS = ("orchestrator", "generation_client", "vllm_gateway", "llm_request")


def checks(
    sent: Sequence[Record], stored: Mapping[str, str | None], dropped: int, e: Evidence, *, own_engine: bool
) -> list[Check]:
    """`stored` are the trace ids of request rows; `dropped` the spans that were counted as given up.

    An engine that the drill did not start may send its spans elsewhere, or none.
    """
    return [
        _rows(sent, stored),
        _traces({t for t in stored.values() if t}, dropped, e),
        _everywhere(e, SPANS if own_engine else SPANS[:-1]),
    ]


def _rows(sent: Sequence[Record], stored: Collection[str]) -> Check:
    """What has no row could not be judged."""
    reached = [r for r in sent if r.status is not None]
    there = sum(r.request_id in stored for r in reached)
    share = there / len(reached) if reached else 0.0
    found = f"{share:.1%} ({there} of {len(reached)})"
    name = "request rows stored, of requests answered"
    return Check(name, found, f"≥ {ROWS_SHARE:.0%}", share >= ROWS_SHARE)


def _traces(stored: set[str], dropped: int, e: Evidence) -> Check:
    """Each missing one has to be accounted for by a span that was counted as dropped."""
    missing = len(stored - e.traces)
    found = f"{len(stored) - missing} of {len(stored)}; {dropped} spans counted as dropped"
    name, allowed = "traces in MLflow, of request rows", "all, or counted as dropped"
    return Check(name, e.lacking or found, allowed, not e.lacking and bool(stored) and missing <= dropped)


def _everywhere(e: Evidence, wanted: Sequence[str]) -> Check:
    name, allowed = "one request, looked up everywhere", f"≤ {APART_MS:.0f} ms apart, {len(wanted)} spans"
    f = e.followed
    if f is None:
        return Check(name, e.lacking or "no request could be followed", allowed, held=False)
    apart, whole = f.spread_ms, set(wanted) <= set(f.spans)
    told = "not told everywhere" if apart is None else f"{apart:.1f} ms apart in {len(f.sightings)} places"
    spans = f"{len(f.spans)} spans" if whole else f"only {', '.join(f.spans) or 'no span'}"
    held = whole and apart is not None and apart <= APART_MS
    return Check(name, f"{told}, {spans}", allowed, held)
