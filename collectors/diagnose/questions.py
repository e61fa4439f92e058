"""The five questions behind "the chatbot was slow", answered for one request, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collectors.diagnose.stages import MEANING, Peers, StageShare
from collectors.diagnose.why import Why
from collectors.model import EventFact, RequestFact

FULL, RISING = 0.95, 0.1  # of the KV cache: R6's limit, and what a minute may add unnoticed
VERSIONS = ("first_seen", "returned")

Answer = tuple[str, str]


def questions(
    request: RequestFact,
    why: Why,
    leading: StageShare | None,
    peers: Peers,
    meanwhile: Sequence[Mapping[str, Any]],
    events: Sequence[EventFact],
    kv: tuple[float | None, float | None],
) -> tuple[Answer, ...]:
    """Question and answer. `kv` is the KV cache's use a minute before, and its highest while it ran."""
    return (
        ("Queueing, prefill or decoding?", _stage(leading, peers)),
        ("Did the prefix cache miss, and why?", _prefix(request, peers, meanwhile)),
        ("Which adapter and model version?", _versions(request, events)),
        ("One slow request, or systemic?", _scope(why, meanwhile)),
        ("Is GPU memory pressure rising?", _memory(kv)),
    )


def _stage(leading: StageShare | None, peers: Peers) -> str:
    if leading is None:
        return "no stage stands out" if peers.enough else f"cannot be told: {peers.count} peers are too few"
    took = f"{leading.ms:,.0f} ms, usually {leading.peer_p50_ms:,.0f} ms"
    return f"{leading.stage} ({MEANING[leading.stage]}): {took}"


def _prefix(request: RequestFact, peers: Peers, meanwhile: Sequence[Mapping[str, Any]]) -> str:
    if request.cached_tokens is None or not request.prompt_tokens:
        return "not known: nobody told how many tokens were cached"
    share = request.cached_tokens / request.prompt_tokens
    usual = f"; its peers' median is {peers.cached_tokens:,.0f}" if peers.cached_tokens is not None else ""
    found = f"{request.cached_tokens:,} of {request.prompt_tokens:,} tokens found ({share:.0%}){usual}"
    broken = [i for i in meanwhile if i["cause"] == "prefix_cache_broken"]
    if broken and broken[-1]["changes"]:
        change = broken[-1]["changes"][0]
        return f"{found}. Broken since {change['subject']} came"
    return f"{found}. The prefix was broken for many" if broken else found


def _versions(request: RequestFact, events: Sequence[EventFact]) -> str:
    parts = (request.adapter, request.backend_version or request.model, request.prompt_version)
    told = ", ".join(p for p in parts if p) or "not known"
    new = [e for e in events if e.kind in VERSIONS and e.after in parts]
    if not new:
        return f"{told}; none of them new"
    ago_s = (request.at - new[0].at).total_seconds()
    return f"{told}; {new[0].subject} came {ago_s:,.0f} s before, in place of {new[0].before or 'nothing'}"


def _scope(why: Why, meanwhile: Sequence[Mapping[str, Any]]) -> str:
    mine = next((i for i in meanwhile if i["id"] == why.incident), None)
    if mine is None:
        others = f"; {len(meanwhile)} incident(s) were open, none explains it" if meanwhile else ""
        return f"{why.scope}{others}"
    harm = mine["harm"]
    return f"{why.scope}: {harm['requests_hurt']:,} of {harm['requests']:,} requests hurt ({mine['id']})"


def _memory(kv: tuple[float | None, float | None]) -> str:
    before, most = kv
    if most is None:
        return "not known: no scrape while it ran"
    told = f"KV cache at most {most:.0%} in use"
    if before is None:
        return told
    trend = "rising" if most - before > RISING else "falling" if before - most > RISING else "steady"
    return f"{told}, {trend} ({before:.0%} a minute before){'; it is full' if most > FULL else ''}"
