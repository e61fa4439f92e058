"""The key figures: what each tile says, and why it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectors.judge.rules import Rule
from console.views import words
from console.views.evidence import ENGINE_INSTEAD
from console.views.facts import Told

# title, reading, the rule or page that its runbook link leads to
FIGURES: tuple[tuple[str, str, str], ...] = (
    ("TTFT P50", "request_ttft_p50_ms", "high_ttft"),
    ("TTFT P95", "request_ttft_p95_ms", "high_ttft"),
    ("Queue depth", "queue_depth", "queue_buildup"),
    ("KV cache in use", "kv_usage_ratio", "gpu_memory_pressure"),
    ("Prefix-cache hit rate", "prefix_hit_ratio", "prefix_cache_degradation"),
    ("Running", "running", "engine_stall"),
    ("Generated", "generation_tokens_per_s", "engine_stall"),
    ("Errors", "error_ratio", "error_budget_burn"),
)
# The engine's histogram says the same, in buckets, where no request rows come in.
COUNTED = {"high_ttft": ("ttft_p95_ms",)}
PER = {"tokens/s": "tok/s", "requests": ""}


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: `why` stands in place of the value where there is none."""

    title: str
    value: str
    unit: str
    why: str
    tone: str
    reading: str
    window: str
    count: str
    runbook: str
    spark: tuple[float | None, ...]
    limit: float | None = None


def tiles(told: Sequence[Told], rules: Sequence[Rule], scale: float) -> list[Tile]:
    """A tile a figure, in the order of FIGURES."""
    by_reading = {t.reading.name: t for t in told}
    found = []
    for title, name, page in FIGURES:
        spoken = by_reading.get(name) or by_reading.get(ENGINE_INSTEAD.get(name, name))
        if spoken is not None:
            found.append(_tile(title, spoken, page, rules, scale))
    return found


def _tile(title: str, told: Told, page: str, rules: Sequence[Rule], scale: float) -> Tile:
    last, rule = told.last, _rule(told.reading.name, rules)
    value = last.value if last else None
    figure, unit = split(value, told.reading.unit)
    limit = rule.threshold if rule else None
    return Tile(
        title,
        figure,
        unit,
        (last.missing if last else None) or "",
        _tone(value, rule),
        told.reading.name,
        words.window(told.reading.window, scale),
        counted(told),
        page,
        tuple(p.value for p in told.points),
        limit,
    )


def split(value: float | None, unit: str) -> tuple[str, str]:
    """A value as its figure and its unit, which is set smaller."""
    if value is None:
        return words.NO_DATA, ""
    text = words.amount(value, unit)
    figure, _, rest = text.partition(" ")
    return figure, PER.get(rest, rest)


def counted(told: Told) -> str:
    """What the value rests on."""
    n = told.last.count if told.last else 0
    what = "requests" if told.reading.table == "requests" else _COUNTS.get(told.reading.name, "series")
    return f"{n:,.0f} {what[:-1] if n == 1 and what != 'series' else what}"


_COUNTS = {
    "prefix_hit_ratio": "tokens looked up",
    "generation_tokens_per_s": "tokens",
    "ttft_p95_ms": "requests",
    "ttft_p50_ms": "requests",
}


def _rule(reading: str, rules: Sequence[Rule]) -> Rule | None:
    judged = ENGINE_INSTEAD.get(reading, reading)
    return next((r for r in rules if r.reading == judged and r.threshold is not None), None)


def _tone(value: float | None, rule: Rule | None) -> str:
    if value is None:
        return "none"
    if rule is None or rule.threshold is None:
        return ""
    beyond = value > rule.threshold if rule.op.startswith(">") else value < rule.threshold
    return "bad" if beyond else ""
