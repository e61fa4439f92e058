"""Where one request's time went, beside its peers: the stage with the largest excess leads.

Peers are requests of the same adapter family, prompt-length and answer-length bucket, answered within
half an hour of it. Fewer than ENOUGH_PEERS of them support no claim, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collectors.model import RequestFact

STAGES = ("gateway", "frontend", "queue", "prefill", "decode")
MEANING = {
    "gateway": "client and gateway, around the engine",
    "frontend": "before the engine's core took it",
    "queue": "waiting in the engine for a place",
    "prefill": "reading the prompt",
    "decode": "writing the answer",
}
ENOUGH_PEERS = 20
# An excess below this share of the request's own time explains nothing about it.
LEADING_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """How long a stage usually takes: median and 95th percentile over the peers, in milliseconds."""

    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Peers:
    """The requests that this one is compared with."""

    description: str
    count: int
    times: Mapping[str, PeerTimes]
    cached_tokens: float | None = None  # their median

    @property
    def enough(self) -> bool:
        """Whether there are enough of them to compare with."""
        return self.count >= ENOUGH_PEERS


@dataclass(frozen=True, slots=True)
class StageShare:
    """One stage of a request; `excess_ms` is what it took beyond the median of its peers."""

    stage: str
    ms: float | None
    peer_p50_ms: float | None
    peer_p95_ms: float | None
    excess_ms: float | None


def split(request: RequestFact, peers: Peers) -> tuple[StageShare, ...]:
    """The request's stages in the order in which they happen; unknown ones have no time."""
    return tuple(_share(stage, getattr(request, f"{stage}_ms"), peers) for stage in STAGES)


def leading(request: RequestFact, shares: tuple[StageShare, ...], peers: Peers) -> StageShare | None:
    """The stage that made the request slow; None where nothing stands out or nothing can be told."""
    known = [s for s in shares if s.excess_ms is not None]
    if not peers.enough or not known or not request.e2e_ms:
        return None
    worst = max(known, key=lambda s: s.excess_ms or 0.0)
    beyond = worst.peer_p95_ms is not None and worst.ms is not None and worst.ms > worst.peer_p95_ms
    return worst if beyond and (worst.excess_ms or 0.0) >= LEADING_SHARE * request.e2e_ms else None


def sentence(request: RequestFact, shares: tuple[StageShare, ...], peers: Peers, because: str) -> str:
    """What happened, and why, to be pasted into a ticket."""
    told = _told(request, shares, peers)
    reason = because.strip().rstrip(".")
    return f"{told} {reason[0].upper()}{reason[1:]}." if reason else told


def _told(request: RequestFact, shares: tuple[StageShare, ...], peers: Peers) -> str:
    name = f"Request {request.request_id}"
    if request.http_status is not None and request.http_status >= 400:  # noqa: PLR2004 - first HTTP error status
        kind = f" ({request.error_kind})" if request.error_kind else ""
        return f"{name} failed with HTTP {request.http_status}{kind} after {_text(request.e2e_ms)}."
    took = f"{name} took {_text(request.e2e_ms)} (first token after {_text(request.ttft_ms)})"
    if all(s.ms is None for s in shares):
        return f"{took}; its stages are unknown, because no engine span was received for it."
    if not peers.enough:
        longest = max(shares, key=lambda s: s.ms or 0.0)
        most = f"{_text(longest.ms)} of it in {longest.stage}"
        few = "1 peer" if peers.count == 1 else f"{peers.count} peers"
        return f"{took}, {most}; only {few}, too few to compare."
    stage = leading(request, shares, peers)
    if stage is None:
        return f"{took}; no stage stands out against its {peers.count:,} peers."
    usual = _text(stage.peer_p50_ms)
    where = f"{stage.stage} ({MEANING[stage.stage]})"
    return (
        f"{took}: {_text(stage.ms)} of it in {where}, where its {peers.count:,} peers spend {usual} (median)."
    )


def _share(stage: str, ms: float | None, peers: Peers) -> StageShare:
    usual = peers.times.get(stage, PeerTimes(None, None))
    excess = None if ms is None or usual.p50_ms is None else ms - usual.p50_ms
    return StageShare(stage, ms, usual.p50_ms, usual.p95_ms, excess)


def _text(ms: float | None) -> str:
    if ms is None:
        return "an unknown time"
    return f"{ms:,.0f} ms" if ms >= 1 else f"{ms:.3f} ms"
