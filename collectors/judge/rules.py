"""Alert rules as data: read from YAML, every mistake at once, and scaled for drills."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from collectors.signals.readings import READINGS, Quantile, Reading
from collectors.validation import Duration, Length, Strict, doubled, parse_yaml, validate

ZERO = timedelta()


class Baseline(Strict):
    """A threshold taken from the group's own past: `factor` times its usual value over `window`."""

    factor: float = Field(gt=0)
    window: Length


class Rule(Strict):
    """One alert rule. `also_window` asks for the condition over a second window as well."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    summary: str
    reading: str
    op: Literal["<", "<=", ">", ">="]
    threshold: float | None = None
    baseline: Baseline | None = Field(default=None, validate_default=True)
    window: Length
    also_window: Length | None = None
    for_: Duration = Field(alias="for")
    keep_firing_for: Duration = ZERO
    min_traffic: float = Field(default=0, ge=0)
    severity: Literal["critical", "warning", "info"]
    runbook: str

    # One validator a field, so that a mistake in one hides none in another.
    @field_validator("reading")
    @classmethod
    def _known_reading(cls, reading: str) -> str:
        if reading not in READINGS:
            raise ValueError("no reading is called that. `mangaops readings` lists them")
        return reading

    @field_validator("threshold")
    @classmethod
    def _on_a_bucket_bound(cls, threshold: float | None, info: ValidationInfo) -> float | None:
        if threshold is not None and "reading" in info.data:
            _refuse_off_bucket(READINGS[info.data["reading"]], threshold)
        return threshold

    @field_validator("baseline")
    @classmethod
    def _one_threshold(cls, baseline: Baseline | None, info: ValidationInfo) -> Baseline | None:
        if "threshold" in info.data and (info.data["threshold"] is None) == (baseline is None):
            raise ValueError("give either threshold or baseline, and only one of them")
        if baseline and "reading" in info.data and not READINGS[info.data["reading"]].by:
            raise ValueError(f"{info.data['reading']} has no groups. Choose a reading by adapter")
        return baseline

    @field_validator("runbook")
    @classmethod
    def _written_runbook(cls, runbook: str, info: ValidationInfo) -> str:
        return known_runbook(runbook, info)

    @property
    def source(self) -> Reading:
        """The reading that it judges."""
        return READINGS[self.reading]


class _File(Strict):
    rules: tuple[Rule, ...]


def parse_rules(text: str, file: str, runbooks: Collection[str] | None = None) -> tuple[Rule, ...]:
    """Rules from YAML. Raises ConfigError with all mistakes; `runbooks` are the pages that exist."""
    data = parse_yaml(text, file)
    return validate(_File, data, file, {"runbooks": runbooks}, doubled(data, "rules")).rules


def known_runbook(runbook: str, info: ValidationInfo) -> str:
    """The name of a page that exists. Raises ValueError where the context's `runbooks` lack it."""
    pages = (info.context or {}).get("runbooks")
    if pages is not None and runbook not in pages:
        raise ValueError(f"no page runbooks/{runbook}.md. Write it or name another")
    return runbook


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


def _refuse_off_bucket(reading: Reading, threshold: float) -> None:
    """A histogram can only decide a threshold that is one of its bucket bounds."""
    kind = reading.computation
    bounds = BUCKETS_S.get(kind.metric) if isinstance(kind, Quantile) else None
    if not isinstance(kind, Quantile) or bounds is None or threshold / kind.scale in bounds:
        return
    near = ", ".join(f"{b * kind.scale:g}" for b in bounds)
    what = f"{threshold:g} is no bucket bound of {kind.metric}, so it would be guessed"
    raise ValueError(f"{what}. Choose one of {near}")


# vLLM's own bucket bounds, in seconds (vllm/v1/metrics/loggers.py).
_TO_A_MINUTE_S = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_LATENCY_S = (*_TO_A_MINUTE_S, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
_TTFT_BELOW_1_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75)
_TTFT_S = (*_TTFT_BELOW_1_S, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)
_TOKEN_BELOW_1_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75)
_TOKEN_S = (*_TOKEN_BELOW_1_S, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
BUCKETS_S: dict[str, tuple[float, ...]] = {
    "ttft_s": _TTFT_S,
    "inter_token_s": _TOKEN_S,
    **dict.fromkeys(("e2e_s", "queue_s", "prefill_s", "decode_s", "inference_s"), _LATENCY_S),
}
