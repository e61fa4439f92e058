"""Alert rules as data: read from YAML, every mistake at once, and scaled for drills."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from collectors.signals.readings import READINGS, Quantile, Reading
from collectors.validation import ConfigError, Duration, Strict, parse_yaml, validate

ZERO = timedelta()


class Baseline(Strict):
    """A threshold taken from the group's own past: `factor` times its usual value over `window`."""

    factor: float = Field(gt=0)
    window: Duration


class Rule(Strict):
    """One alert rule. `also_window` asks for the condition over a second window as well."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    summary: str
    reading: str
    op: Literal["<", "<=", ">", ">="]
    threshold: float | None = None
    baseline: Baseline | None = None
    window: Duration
    also_window: Duration | None = None
    for_: Duration = Field(alias="for")
    keep_firing_for: Duration = ZERO
    min_traffic: float = Field(default=0, ge=0)
    severity: Literal["critical", "warning", "info"]
    runbook: str

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if (self.threshold is None) == (self.baseline is None):
            raise ValueError("give either threshold or baseline, and only one of them")
        if self.window <= ZERO:
            raise ValueError("window has to be longer than 0s")
        return self

    @property
    def source(self) -> Reading:
        """The reading that it judges."""
        return READINGS[self.reading]


class _File(Strict):
    rules: tuple[Rule, ...]


def parse_rules(text: str, file: str, runbooks: Collection[str] | None = None) -> tuple[Rule, ...]:
    """Rules from YAML. Raises ConfigError with all mistakes; `runbooks` are the pages that exist."""
    rules = validate(_File, parse_yaml(text, file), file).rules
    mistakes = [m for rule in rules for m in _mistakes(rule, runbooks)] + _doubled([r.name for r in rules])
    if mistakes:
        raise ConfigError(file, mistakes)
    return rules


def scaled(rule: Rule, clock_scale: float) -> Rule:
    """The rule with every window and `for` divided by the clock's scale."""
    if clock_scale == 1:
        return rule
    base = rule.baseline
    return rule.model_copy(
        update={
            "window": rule.window / clock_scale,
            "also_window": rule.also_window and rule.also_window / clock_scale,
            "for_": rule.for_ / clock_scale,
            "keep_firing_for": rule.keep_firing_for / clock_scale,
            "baseline": base and base.model_copy(update={"window": base.window / clock_scale}),
        }
    )


def _mistakes(rule: Rule, runbooks: Collection[str] | None) -> list[str]:
    where, found = f"rules.{rule.name}", []
    if rule.reading not in READINGS:
        found.append(f"{where}.reading: no reading is called {rule.reading!r}. `mangaops readings` lists them")
    elif rule.baseline and not rule.source.by:
        found.append(f"{where}.baseline: {rule.reading} has no groups. Choose a reading by adapter")
    elif (edge := _off_bucket(rule)) is not None:
        found.append(f"{where}.threshold: {edge}")
    if runbooks is not None and rule.runbook not in runbooks:
        found.append(f"{where}.runbook: no page runbooks/{rule.runbook}.md. Write it or name another")
    return found


def _off_bucket(rule: Rule) -> str | None:
    """A histogram can only decide a threshold that is one of its bucket bounds."""
    kind = rule.source.computation
    if not isinstance(kind, Quantile) or rule.threshold is None:
        return None
    bounds = BUCKETS_S.get(kind.metric)
    if bounds is None or rule.threshold / kind.scale in bounds:
        return None
    near = ", ".join(f"{b * kind.scale:g}" for b in bounds)
    return f"{rule.threshold:g} is no bucket bound of {kind.metric}, so it would be guessed. Choose one of {near}"


def _doubled(names: list[str]) -> list[str]:
    return [f"rules.{n}: is there twice. Rename one" for n in sorted({n for n in names if names.count(n) > 1})]


# vLLM's own bucket bounds, in seconds (vllm/v1/metrics/loggers.py).
_LATENCY_S = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_TTFT_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0)
BUCKETS_S: dict[str, tuple[float, ...]] = {
    "ttft_s": _TTFT_S,
    **dict.fromkeys(("e2e_s", "queue_s", "prefill_s", "decode_s", "inference_s"), _LATENCY_S),
}
