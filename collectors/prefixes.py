"""The prefix doctor's answers out of the store: what a prompt version lost, and how two requests differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from collectors.diagnose.prefix.cost import Cohort, cost, lost_tokens, ms_per_token
from collectors.diagnose.prefix.divergence import BLOCK_TOKENS
from collectors.diagnose.prefix.loss import Loss, Presence
from collectors.diagnose.prefix.reasons import Reason, Seen, reasons
from collectors.model import RequestFact
from collectors.signals.fingerprints import apart, read, segment_at
from collectors.store.lookup import find_requests
from collectors.store.prefixes import (
    BESIDE,
    Alike,
    Prefixes,
    alike,
    block_tokens,
    engines,
    prefill,
    prefixes,
    presences,
)
from collectors.store.reader import Reader

__all__ = ["Loss", "Pair", "find_requests", "loss", "pair"]
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two requests by their fingerprints. `same` is None where one of them has none.

    They share `shared_blocks` and have parted within `within_blocks`, both of 64 characters.
    """

    one: RequestFact
    other: RequestFact
    same: bool | None
    shared_blocks: int | None
    within_blocks: int | None
    segment: str | None
    parted_as: tuple[str | None, str | None]
    reasons: tuple[Reason, ...]


def loss(reader: Reader, version: str) -> Loss | None:
    """What a prompt version lost; None where it has no request with known tokens. Raises StoreError."""
    with reader.snapshot():
        own = next((p for p in presences(reader) if p.version == version), None)
        if own is None:
            return None
        around = presences(reader, own.since - BESIDE, own.until + BESIDE)
        reference = next((p for p in around if p.version != version), None)
        return _loss(reader, own, reference)


def pair(reader: Reader, one: RequestFact, other: RequestFact) -> Pair:
    """How two requests' prefixes differ, as far as their fingerprints tell. Raises StoreError."""
    a, b = read(one.prefix_fingerprint), read(other.prefix_fingerprint)
    parted = apart(a, b) if a and b else None
    known = bool(a and b and a.marks and b.marks)
    between = engines(reader, min(one.at, other.at), max(one.at, other.at))
    seen = Seen(
        adapters=(one.adapter, other.adapter),
        restarts=between.restarts if one.replica == other.replica else None,
        replicas_first_seen=1 if one.replica != other.replica else None,
        block_tokens=block_tokens(reader, min(one.at, other.at), max(one.at, other.at)),
        prefix_tokens=parted[1] * BLOCK_TOKENS - 1 if parted and known else None,
        estimated=True,
    )
    return Pair(
        one,
        other,
        parted is None if a and b else None,
        parted[0] if parted and known else None,
        parted[1] if parted and known else None,
        segment_at(a, parted[0]) if a and parted and known else None,
        (a.divergence or None if a else None, b.divergence or None if b else None),
        reasons(seen),
    )


def _loss(reader: Reader, own: Presence, reference: Presence | None) -> Loss:
    mine = alike(reader, own, own.version)
    theirs = alike(reader, own, reference.version) if reference else []
    both = _paired(mine, theirs)
    lost = lost_tokens([Cohort(a.requests, a.cached_tokens, b.cached_tokens) for a, b in both])
    versions = [own.version, *([reference.version] if reference else [])]
    each = ms_per_token(prefill(reader, own, versions))
    told = prefixes(reader, own)
    parted = _parted_as(told)
    found, of_reference = _mean([a for a, _ in both]), _mean([b for _, b in both])
    per_h = own.requests / max((own.until - own.since) / _HOUR, 1 / 3600)
    return Loss(
        version=own,
        reference=reference,
        found_tokens=found,
        reference_found_tokens=of_reference,
        ttft_ms=_mean([a for a, _ in both], ttft=True),
        reference_ttft_ms=_mean([b for _, b in both], ttft=True),
        compared=sum(a.requests for a, _ in both),
        cost=None if lost is None else cost(max(lost, 0.0), each, per_h),
        ms_per_token=each,
        parted_as=parted,
        distinct_prefixes=told.distinct if told.told else None,
        reasons=_reasons(reader, own, told, parted, found_elsewhere=of_reference)
        if lost is not None and lost >= BLOCK_TOKENS
        else (),
    )


def _reasons(
    reader: Reader, own: Presence, told: Prefixes, parted: str | None, *, found_elsewhere: float | None
) -> tuple[Reason, ...]:
    meanwhile = engines(reader, own.since, own.until)
    return reasons(
        Seen(
            requests=told.told or None,
            distinct_prefixes=told.distinct if told.told else None,
            parted_as=parted,
            cache_queries=meanwhile.cache_queries,
            cache_hits=meanwhile.cache_hits,
            cached_elsewhere=None if found_elsewhere is None else found_elsewhere >= BLOCK_TOKENS,
            restarts=meanwhile.restarts,
            replicas_first_seen=meanwhile.starts,
            kv_usage_ratio=meanwhile.kv_usage_ratio,
        )
    )


def _paired(mine: Sequence[Alike], theirs: Sequence[Alike]) -> list[tuple[Alike, Alike]]:
    """Requests of like length of both."""
    by_length = {a.length: a for a in theirs}
    return [(a, by_length[a.length]) for a in mine if a.length in by_length]


def _mean(found: Sequence[Alike], *, ttft: bool = False) -> float | None:
    """The medians of the lengths, weighed by their requests; None where there is none."""
    values = [(a.requests, a.ttft_ms if ttft else a.cached_tokens) for a in found]
    known = [(n, value) for n, value in values if value is not None]
    return sum(n * value for n, value in known) / sum(n for n, _ in known) if known else None


def _parted_as(told: Prefixes) -> str | None:
    """The class and block that most of the version's prefixes were told to part with."""
    known = [f.divergence for text in told.examples if (f := read(text)) and f.divergence]
    return Counter(known).most_common(1)[0][0] if known else None
