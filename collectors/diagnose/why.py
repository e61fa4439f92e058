"""Why one request was slow or failed: its own stages, beside what was going on when it ran.

Pure. An incident explains a request only where the request bears its mark: the stage that the cause slows,
the failure that it brings, the component that it is about. Otherwise the request stands for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collectors.diagnose.causes import WORDS, Cause
from collectors.diagnose.stages import MEANING, Peers, StageShare
from collectors.model import RequestFact

FAILED = 400
# Where each cause costs a request its time; those that are missing make requests fail.
SLOWS: Mapping[Cause, frozenset[str]] = {
    Cause.PREFIX_CACHE_BROKEN: frozenset({"prefill", "queue", "decode"}),
    Cause.LONG_CONTEXT_PRESSURE: frozenset({"prefill", "queue", "decode"}),
    Cause.TRAFFIC_BURST: frozenset({"queue", "decode", "prefill", "frontend", "gateway"}),
    Cause.CAPACITY_SHORT: frozenset({"queue", "decode", "prefill"}),
    Cause.ENGINE_STALL: frozenset({"frontend", "queue", "prefill", "decode", "gateway"}),
    Cause.ADAPTER_SLOTS_SHORT: frozenset({"queue"}),
    Cause.ADAPTER_REGRESSION: frozenset({"decode"}),
    Cause.LONG_OUTPUT: frozenset({"decode"}),
    Cause.DECODE_SLOW: frozenset({"decode"}),
    Cause.PREEMPTION: frozenset({"decode", "queue"}),
    Cause.COLD_START: frozenset({"prefill", "queue", "frontend"}),
    Cause.FRONTEND_SLOW: frozenset({"frontend", "gateway"}),
    Cause.REPLICA_DOWN: frozenset({"queue", "gateway", "frontend"}),
    Cause.OOM: frozenset({"queue", "prefill", "decode", "gateway"}),
    Cause.UNDETERMINED: frozenset({"frontend", "gateway", "queue", "prefill", "decode"}),
}
OF_FAILURE: Mapping[str, Cause] = {
    "context_overflow": Cause.CONTEXT_OVERFLOW,
    "rejected": Cause.REJECTED,
    "oom": Cause.OOM,
}
# What a single slow stage says where nothing was going on: enough for a name, not for certainty.
ALONE: Mapping[str, Cause] = {
    "queue": Cause.CAPACITY_SHORT,
    "decode": Cause.DECODE_SLOW,
    "frontend": Cause.FRONTEND_SLOW,
    "gateway": Cause.FRONTEND_SLOW,
    "prefill": Cause.UNDETERMINED,
}
SELF_LIKE = frozenset({Cause.ADAPTER_REGRESSION, Cause.PREFIX_CACHE_BROKEN})
ALONE_SURE, FAILURE_SURE, NORMAL_SURE = 0.4, 0.95, 0.8
LOST = 0.5  # of the peers' cached tokens: a prefix that was not found
LOST_SURE = 0.5


@dataclass(frozen=True, slots=True)
class Why:
    """The answer for one request. `incident` is the id of the one that explains it; None where none does."""

    cause: Cause
    component: str | None
    scope: str
    confidence: float
    incident: str | None
    because: str

    @property
    def runbook(self) -> str:
        """The page about the cause."""
        return str(self.cause)


def why(
    request: RequestFact,
    leading: StageShare | None,
    peers: Peers,
    meanwhile: Sequence[Mapping[str, Any]],
    peers_cached: float | None,
) -> Why:
    """The cause, from the stage that leads and the incidents (as told) that were open while it ran."""
    failed = request.http_status is not None and request.http_status >= FAILED
    able = [i for i in meanwhile if _bears(request, leading, i, failed=failed)]
    if able:
        best = max(able, key=lambda i: (_own(request, i), i["confidence"], i["start"]))
        return Why(
            Cause(best["cause"]),
            best["component"],
            best["scope"],
            best["confidence"],
            best["id"],
            best["sentence"],
        )
    if failed:
        cause = OF_FAILURE.get(request.error_kind or "", Cause.UNDETERMINED)
        sure = FAILURE_SURE if cause is not Cause.UNDETERMINED else ALONE_SURE
        return Why(cause, None, "isolated", sure, None, f"{WORDS[cause]}: this request alone failed so")
    return _alone(request, leading, peers, peers_cached)


def _alone(request: RequestFact, leading: StageShare | None, peers: Peers, cached: float | None) -> Why:
    if leading is None and peers.enough:
        text = "it took as long as its peers do"
        return Why(Cause.NORMAL, None, "isolated", NORMAL_SURE, None, text)
    if leading is None:
        text = "no stage can be held against enough peers"
        return Why(Cause.UNDETERMINED, None, "undetermined", 0.0, None, text)
    if leading.stage == "prefill" and _missed(request, cached):
        component = f"prompt_version={request.prompt_version}" if request.prompt_version else None
        text = f"it found {request.cached_tokens:,} tokens in the cache, its peers {cached:,.0f} (median)"
        return Why(Cause.PREFIX_CACHE_BROKEN, component, "isolated", LOST_SURE, None, text)
    cause = ALONE[leading.stage]
    text = f"{MEANING[leading.stage]} took longer than its peers', and nothing was going on around it"
    return Why(cause, None, "isolated", ALONE_SURE, None, text)


def _missed(request: RequestFact, cached: float | None) -> bool:
    return request.cached_tokens is not None and bool(cached) and request.cached_tokens < LOST * (cached or 0)


def _bears(
    request: RequestFact, leading: StageShare | None, incident: Mapping[str, Any], *, failed: bool
) -> bool:
    """Whether the incident could have done this to this request."""
    if not _own(request, incident) and _is_about(request, incident):
        return False
    cause = Cause(incident["cause"])
    if failed:
        return _fails(request, cause)
    if leading is None:
        # all who are like it may be in the same incident, and then it stands out against none of them
        return _own(request, incident) and cause in SELF_LIKE
    return leading.stage in SLOWS.get(cause, frozenset())


def _fails(request: RequestFact, cause: Cause) -> bool:
    if OF_FAILURE.get(request.error_kind or "") is cause:
        return True
    server = (request.http_status or 0) >= 500  # noqa: PLR2004 - the server's errors
    return server and cause in {Cause.REPLICA_DOWN, Cause.ENGINE_STALL, Cause.OOM}


def _is_about(request: RequestFact, incident: Mapping[str, Any]) -> bool:
    """Whether the incident names a version or adapter, and the request one as well."""
    column = str(incident["component"] or "").partition("=")[0]
    known = {"prompt_version": request.prompt_version, "adapter": request.adapter}
    # what loses its prefix or runs away takes memory and time from all others as well
    return bool(known.get(column)) and not incident["consequences"]


def _own(request: RequestFact, incident: Mapping[str, Any]) -> bool:
    """Whether the request has the incident's own component."""
    column, _, value = str(incident["component"] or "").partition("=")
    known = {"prompt_version": request.prompt_version, "adapter": request.adapter, "replica": request.replica}
    return column in known and known[column] == value
