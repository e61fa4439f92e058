"""A drill's requests as the load generator saw them, each from the instant it was meant to start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

from loadtests.sent import Sent, sent


@dataclass(frozen=True, slots=True)
class Record:
    """One request. Latencies count from `intended_at`: what a customer waited, whoever was late."""

    request_id: str
    session_id: str
    turn: int
    phase: str
    intent: str
    locale: str
    intended_at: datetime
    ended_at: datetime
    ttft_ms: float | None
    e2e_ms: float
    lag_ms: float
    pool_wait_ms: float
    status: int | None
    error: str | None
    adapter: str | None
    prompt_version: str | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None

    @property
    def failed(self) -> bool:
        """Whether it got no whole answer."""
        return self.error is not None

    def good(self, ttft_ms: float) -> bool:
        """Whether it got a whole answer, and its first token within a limit."""
        return not self.failed and self.ttft_ms is not None and self.ttft_ms <= ttft_ms

    def known_bad_at(self, ttft_ms: float) -> datetime:
        """When a bad request had turned out so: its failure, or the limit that passed without a token."""
        due = self.intended_at + timedelta(milliseconds=ttft_ms)
        late = self.ttft_ms is None or self.ttft_ms > ttft_ms
        return min(due, self.ended_at) if late else self.ended_at


def read(folder: Path) -> list[Record]:
    """All records of a run, in the order in which they ended."""
    return [_record(each) for each in sent(folder)]


def quantile(values: Iterable[float], q: float) -> float | None:
    """The value at rank ceil(q n) of n, counted from 1; None without values."""
    ordered = sorted(values)
    return ordered[max(0, ceil(q * len(ordered)) - 1)] if ordered else None


def hit_ratio(records: Sequence[Record]) -> float | None:
    """Cached of all prompt tokens, over the requests that say both; None where none does."""
    said = [
        (r.cached_tokens, r.prompt_tokens) for r in records if r.prompt_tokens and r.cached_tokens is not None
    ]
    total = sum(prompt for _, prompt in said)
    return sum(cached for cached, _ in said) / total if total else None


def _record(s: Sent) -> Record:
    return Record(
        request_id=s.answered_request_id or s.request_id,
        session_id=s.session_id,
        turn=s.turn,
        phase=s.phase,
        intent=s.intent,
        locale=s.locale,
        intended_at=datetime.fromtimestamp(s.intended_at, UTC),
        ended_at=datetime.fromtimestamp(s.ended_at, UTC),
        ttft_ms=s.ttft_ms,
        e2e_ms=s.e2e_ms,
        lag_ms=s.schedule_lag_ms,
        pool_wait_ms=s.pool_wait_ms,
        status=s.status,
        error=s.error,
        adapter=s.adapter,
        prompt_version=s.prompt_version,
        prompt_tokens=s.prompt_tokens,
        cached_tokens=s.cached_tokens,
        output_tokens=s.output_tokens,
    )
