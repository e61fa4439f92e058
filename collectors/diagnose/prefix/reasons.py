"""Why an engine did not find a prefix again, from what was seen of it: in order, each proven or probable.

What vLLM keeps: whole blocks, each under a hash of its parent, its tokens, its adapter and a salt; in one
process's memory, until it is taken for other requests. https://docs.vllm.ai/en/latest/design/prefix_caching/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FULL = 0.99  # of the KV cache: beyond it, blocks that nobody uses at the moment are taken
FEW = 3  # requests of one prefix: the first of them has nothing to find on each replica


class Sure(StrEnum):
    """How far a reason is known."""

    PROVEN = "proven"
    PROBABLE = "probable"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known; None is not known. Counts and shares are of the time in question.

    `prefix_tokens` are what the prompts share (`estimated`: from characters), `distinct_prefixes` how many
    prefixes `requests` had. `cached_elsewhere` says that others found their prefixes in the same engine at
    the same time.
    """

    block_tokens: int | None = None
    prefix_tokens: int | None = None
    estimated: bool = False
    requests: int | None = None
    distinct_prefixes: int | None = None
    parted_as: str | None = None
    adapters: tuple[str | None, str | None] = (None, None)
    salts: tuple[str | None, str | None] = (None, None)
    cache_queries: float | None = None
    cache_hits: float | None = None
    cached_elsewhere: bool | None = None
    restarts: int | None = None
    replicas_first_seen: int | None = None
    kv_usage_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; `name` is API, `words` are for people."""

    name: str
    sure: Sure
    words: str


def reasons(seen: Seen) -> tuple[Reason, ...]:
    """The reasons that apply, the proven ones first; none where nothing that was seen explains it."""
    found = [reason for look in _LOOKS if (reason := look(seen))]
    return tuple(sorted(found, key=lambda r: r.sure is not Sure.PROVEN))


def _changing(seen: Seen) -> Reason | None:
    if seen.requests is None or seen.distinct_prefixes is None or seen.requests < FEW:
        return None
    if seen.distinct_prefixes * 2 <= seen.requests:
        return None
    of = f" ({seen.parted_as})" if seen.parted_as else ""
    words = f"{seen.requests:,} requests sent {seen.distinct_prefixes:,} different prefixes{of}"
    return Reason("prompt_changes", Sure.PROVEN, words)


def _short(seen: Seen) -> Reason | None:
    if seen.prefix_tokens is None or seen.block_tokens is None or seen.prefix_tokens >= seen.block_tokens:
        return None
    about, sure = ("about ", Sure.PROBABLE) if seen.estimated else ("", Sure.PROVEN)
    words = f"the prompts share {about}{seen.prefix_tokens} tokens, less than a block of {seen.block_tokens}"
    return Reason("shorter_than_a_block", sure, words)


def _adapter(seen: Seen) -> Reason | None:
    one, other = seen.adapters
    if one == other or None in seen.adapters:
        return None
    return Reason("other_adapter", Sure.PROVEN, f"adapters {one} and {other} never share a block")


def _salt(seen: Seen) -> Reason | None:
    if seen.salts[0] == seen.salts[1]:
        return None
    return Reason("other_salt", Sure.PROVEN, "requests with different cache_salt never share a block")


def _off(seen: Seen) -> Reason | None:
    if seen.cache_queries == 0:
        return Reason("caching_off", Sure.PROVEN, "the engine looked nothing up: prefix caching is off")
    if seen.cache_queries and seen.cache_hits == 0:
        words = "the engine found nothing for anybody: prefix caching is off, or no two prompts agree"
        return Reason("caching_off", Sure.PROBABLE, words)
    return None


def _restart(seen: Seen) -> Reason | None:
    if not seen.restarts:
        return None
    return Reason("restart", Sure.PROVEN, f"{_times(seen.restarts, 'restart')} emptied an engine's cache")


def _cold(seen: Seen) -> Reason | None:
    if not seen.replicas_first_seen:
        return None
    words = f"{_times(seen.replicas_first_seen, 'replica')} came up with an empty cache"
    return Reason("cold_replica", Sure.PROBABLE, words)


def _evicted(seen: Seen) -> Reason | None:
    if seen.kv_usage_ratio is None or seen.kv_usage_ratio < FULL or seen.cached_elsewhere:
        return None
    words = f"the KV cache was {seen.kv_usage_ratio:.0%} full, so blocks that nobody used were taken"
    return Reason("evicted", Sure.PROBABLE, words)


def _prompt(seen: Seen) -> Reason | None:
    """What is left: others found theirs in the same engine, so it lies in this prompt."""
    if not seen.cached_elsewhere or _changing(seen):
        return None
    words = "the same engines found other prompts again about that time, so it lies in this one"
    return Reason("prompt_changes", Sure.PROBABLE, words)


_LOOKS: tuple[Callable[[Seen], Reason | None], ...] = (
    *(_changing, _short, _adapter, _salt, _off, _restart, _prompt, _cold, _evicted),
)


def _times(count: int, what: str) -> str:
    return f"a {what}" if count == 1 else f"{count} {what}s"
