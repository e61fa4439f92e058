"""What the store knows of a prompt version's prefix: what its requests found cached, beside another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.diagnose.prefix.cost import Sums
from collectors.diagnose.prefix.loss import Presence
from collectors.signals.startup import ENGINE
from collectors.store.dialect import AT
from collectors.store.reader import Reader

BESIDE = timedelta(hours=1)  # before and after a version's requests: the same engines, about the same traffic
ENOUGH = 5  # requests of like length in either version: fewer support no comparison
SCRAPED_WITHIN = timedelta(minutes=1)  # before a request, its engine told of itself
MAX_PREFIXES = 20  # fingerprints that are shown of a version, the most frequent first
_COUNTED = "prompt_tokens > 0 AND cached_tokens IS NOT NULL"
_CACHE = ("prefix_cache_queries", "prefix_cache_hits", "kv_usage_ratio")


@dataclass(frozen=True, slots=True)
class Alike:
    """Requests of a version whose prompts are of like length; the medians of what they found and waited."""

    length: int
    requests: int
    cached_tokens: float
    ttft_ms: float | None
    prefill_ms: float | None


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The prefixes of a version: how many requests told theirs, how many differ, and the most frequent."""

    told: int
    distinct: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines meanwhile; None where no metric came in."""

    cache_queries: float | None
    cache_hits: float | None
    kv_usage_ratio: float | None
    restarts: int
    starts: int


def presences(reader: Reader, since: datetime | None = None, until: datetime | None = None) -> list[Presence]:
    """Every prompt version, the most frequent first. Raises StoreError."""
    d = reader.dialect
    within = [f"{AT} >= {d.instant(since)}"] if since else []
    within += [f"{AT} <= {d.instant(until)}"] if until else []
    found = reader.query(
        f"SELECT prompt_version AS version, count(*) AS requests, min({AT}) AS since, max({AT}) AS until "
        f"FROM {{requests}} WHERE {' AND '.join(['prompt_version IS NOT NULL', _COUNTED, *within])} "
        f"GROUP BY prompt_version ORDER BY count(*) DESC, prompt_version",
        since=since,
        until=until,
    )
    return [Presence(**row) for row in found.to_pylist()]


def alike(reader: Reader, of: Presence, version: str) -> list[Alike]:
    """A version's requests around another's presence, by the length of their prompts. Raises StoreError.

    A length is a quarter of an octave: a longer history has more of itself cached, so only like is compared.
    """
    d = reader.dialect
    medians = ", ".join(f"{d.quantiles(c, [0.5])} AS {c}" for c in ("cached_tokens", "ttft_ms", "prefill_ms"))
    found = reader.query(
        f"SELECT {d.integer.format('floor(4 * log2(prompt_tokens))')} AS length, count(*) AS requests, "
        f"{medians} FROM {{requests}} WHERE {_of(reader, of, (version,))} GROUP BY 1 "
        f"HAVING count(*) >= {ENOUGH} ORDER BY 1",
        since=of.since - BESIDE,
        until=of.until + BESIDE,
    )
    return [
        Alike(
            row["length"],
            row["requests"],
            row["cached_tokens"][0],
            _one(row["ttft_ms"]),
            _one(row["prefill_ms"]),
        )
        for row in found.to_pylist()
    ]


def prefill(reader: Reader, of: Presence, versions: Sequence[str]) -> Sums:
    """Prefill against tokens that were not cached, over the requests of versions. Raises StoreError."""
    x, y = "(prompt_tokens - cached_tokens)", "prefill_ms"
    row = reader.query(
        f"SELECT count(*) AS n, sum({x}) AS x, sum({y}) AS y, sum({x} * {x}) AS xx, sum({x} * {y}) AS xy "
        f"FROM {{requests}} WHERE prefill_ms IS NOT NULL AND {_of(reader, of, versions)}",
        since=of.since - BESIDE,
        until=of.until + BESIDE,
    ).to_pylist()[0]
    return Sums(*(float(row[name] or 0) for name in ("n", "x", "y", "xx", "xy")))


def prefixes(reader: Reader, of: Presence) -> Prefixes:
    """The fingerprints of a version's requests. Raises StoreError."""
    where = f"prefix_fingerprint IS NOT NULL AND {_of(reader, of, (of.version,))}"
    total = reader.query(
        f"SELECT count(*) AS told, count(DISTINCT prefix_fingerprint) AS n FROM {{requests}} WHERE {where}",
        since=of.since - BESIDE,
        until=of.until + BESIDE,
    ).to_pylist()[0]
    rows = reader.query(
        f"SELECT prefix_fingerprint AS f FROM {{requests}} WHERE {where} GROUP BY prefix_fingerprint "
        f"ORDER BY count(*) DESC, prefix_fingerprint LIMIT {MAX_PREFIXES}",
        since=of.since - BESIDE,
        until=of.until + BESIDE,
    ).to_pylist()
    return Prefixes(total["told"], total["n"], tuple(row["f"] for row in rows))


def engines(reader: Reader, since: datetime, until: datetime) -> Engines:
    """What engines told of their caches in a time, and how often they began anew. Raises StoreError."""
    d = reader.dialect
    within = f"{AT} >= {d.instant(since)} AND {AT} <= {d.instant(until)}"
    named = ", ".join(map(d.literal, _CACHE))
    told = {
        row["metric"]: row
        for row in reader.query(
            "SELECT metric, sum(value) AS total, max(value) AS most FROM {metrics} "
            f"WHERE metric IN ({named}) AND {within} GROUP BY metric",
            since=since,
            until=until,
        ).to_pylist()
    }
    events = reader.query(
        f"SELECT kind, count(*) AS n FROM {{events}} WHERE kind IN ('engine_restart', {d.literal(ENGINE)}) "
        f"AND {within} GROUP BY kind",
        since=since,
        until=until,
    )
    counts = {row["kind"]: row["n"] for row in events.to_pylist()}
    return Engines(
        _told(told, "prefix_cache_queries", "total"),
        _told(told, "prefix_cache_hits", "total"),
        _told(told, "kv_usage_ratio", "most"),
        counts.get("engine_restart", 0),
        counts.get(ENGINE, 0),
    )


def block_tokens(reader: Reader, since: datetime, until: datetime) -> int | None:
    """Tokens in a block of the KV cache; None where engines differ or none tells. Raises StoreError."""
    since -= SCRAPED_WITHIN
    within = f"{AT} >= {reader.dialect.instant(since)} AND {AT} <= {reader.dialect.instant(until)}"
    row = reader.query(
        "SELECT min(value) AS least, max(value) AS most FROM {metrics} "
        f"WHERE metric = 'kv_block_tokens' AND {within}",
        since=since,
        until=until,
    ).to_pylist()[0]
    return int(row["least"]) if row["least"] and row["least"] == row["most"] else None


def _of(reader: Reader, of: Presence, versions: Sequence[str]) -> str:
    """Requests of these versions around a presence that can be compared: answered, with tokens counted."""
    d = reader.dialect
    named = ", ".join(d.literal(version) for version in versions)
    since, until = d.instant(of.since - BESIDE), d.instant(of.until + BESIDE)
    within = f"{AT} >= {since} AND {AT} <= {until}"
    return f"{_COUNTED} AND prompt_version IN ({named}) AND {within}"


def _one(found: Sequence[float] | None) -> float | None:
    return found[0] if found else None


def _told(rows: Mapping[str, Mapping[str, float]], metric: str, figure: str) -> float | None:
    return rows[metric][figure] if metric in rows else None
