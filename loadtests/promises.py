"""SLOs over a drill's own requests, on intended time: by phase, by adapter, by turn."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

from collectors.judge.slo import Slo, SloVerdict, verdict
from collectors.signals.points import Point, wilson
from collectors.signals.predicates import Where
from loadtests.records import Record, quantile

Row = Mapping[str, Any]
OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
PROMPTS: Mapping[str, float] = {
    **{f"up to {tokens:,} tokens": tokens for tokens in (64, 512, 2048)},
    "above 2,048 tokens": inf,
}
LONG_SESSION = 8  # turns; 12 % of production's sessions are longer


@dataclass(frozen=True, slots=True)
class Kept:
    """How one group of requests did. Latencies in milliseconds; `goodput` is the share of good ones."""

    group: str
    offered: int
    failed: int
    goodput: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    ttft_p99_ms: float | None
    e2e_p99_ms: float | None
    slos: tuple[SloVerdict, ...]


def kept(
    group: str,
    records: Sequence[Record],
    queue_ms: Mapping[str, float],
    slos: Sequence[Slo],
    ttft_ms: float,
    at: datetime,
) -> Kept:
    """One group's line. `queue_ms` is what the engine said of a request's wait, by request id."""
    answered = [r for r in records if not r.failed]
    firsts = [r.ttft_ms for r in answered if r.ttft_ms is not None]
    return Kept(
        group,
        offered=len(records),
        failed=len(records) - len(answered),
        goodput=sum(r.good(ttft_ms) for r in records) / len(records) if records else None,
        ttft_p50_ms=quantile(firsts, 0.5),
        ttft_p95_ms=quantile(firsts, 0.95),
        ttft_p99_ms=quantile(firsts, 0.99),
        e2e_p99_ms=quantile([r.e2e_ms for r in answered], 0.99),
        slos=tuple(_judged(slo, [_row(r, queue_ms) for r in records], at) for slo in slos),
    )


def by_adapter(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Requests by the adapter that answered; those that none answered are left out."""
    return _grouped(records, lambda r: r.adapter)


def by_turn(records: Iterable[Record]) -> dict[str, list[Record]]:
    """First turns, later ones, and those of long sessions."""
    return _grouped(records, lambda r: _turn(r.turn))


def by_prompt(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Requests by the length of their prompt, as engines are compared; unknown lengths are left out."""
    found = _grouped(records, lambda r: _length(r.prompt_tokens))
    return {name: found[name] for name in PROMPTS if name in found}


def _length(tokens: int | None) -> str | None:
    return next((name for name, limit in PROMPTS.items() if tokens is not None and tokens <= limit), None)


def _turn(turn: int) -> str:
    if turn <= 1:
        return "turn 1"
    return f"turns 2 to {LONG_SESSION}" if turn <= LONG_SESSION else f"turns above {LONG_SESSION}"


def _grouped(records: Iterable[Record], key: Callable[[Record], str | None]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        name = key(record)
        if name is not None:
            found.setdefault(name, []).append(record)
    return dict(sorted(found.items()))


def _row(r: Record, queue_ms: Mapping[str, float]) -> Row:
    """As a request's columns. A request without an answer was not there for its user: it counts as 503."""
    status = r.status if r.status is not None and not (r.error and r.status < 400) else 503  # noqa: PLR2004 - HTTP
    return {
        "http_status": status,
        "ttft_ms": r.ttft_ms,
        "e2e_ms": None if r.failed else r.e2e_ms,
        "queue_ms": queue_ms.get(r.request_id),
    }


def _judged(slo: Slo, rows: Sequence[Row], at: datetime) -> SloVerdict:
    counted = [row for row in rows if _meets(slo.of.where(), row)]
    if not counted:
        return verdict(slo, Point(at, missing="no request of the kind"))
    good = sum(_meets(slo.good.where(), row) for row in counted)
    low, high = wilson(good, len(counted))
    return verdict(slo, Point(at, (), good / len(counted), low, high, len(counted)))


def _meets(where: Where, row: Row) -> bool:
    value = row.get(where.column)
    if where.op in {"always", "present"}:
        return where.op == "always" or value is not None
    return value is not None and OPERATORS[where.op](value, where.value)
