"""SLOs: each a share of good requests with a target and a rolling window, so one piece of maths serves all.

The verdict compares the target with an interval of the share (Wilson, 95 %): `met` where all of it is at or
above the target, `missed` where all is below, `undetermined` where the target lies inside.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from collectors.judge.rules import known_runbook
from collectors.model import Kind
from collectors.signals.metrics import BY_NAME
from collectors.signals.points import Point, wilson
from collectors.signals.predicates import Operator, Value, Where
from collectors.signals.readings import HistogramShare, Reading, RequestShare
from collectors.validation import Length, Strict, doubled, parse_yaml, validate

Verdict = Literal["met", "missed", "undetermined", "no_data"]
Basis = Literal["requests", "histogram", "none"]

# Under this share of the requests that the engine itself counted, the rows are no fair sample of them.
ENOUGH_COVERAGE = 0.95


class Condition(Strict):
    """A condition on one request column."""

    op: Operator
    column: str
    value: Value | None = Field(default=None, validate_default=True)

    @field_validator("column")
    @classmethod
    def _known_column(cls, column: str, info: ValidationInfo) -> str:
        columns = (info.context or {}).get("columns")
        if columns is not None and column not in columns and info.data.get("op") != "always":
            raise ValueError("requests have no such column. Name one they have")
        return column

    @field_validator("value")
    @classmethod
    def _something_to_compare_with(cls, value: Value | None, info: ValidationInfo) -> Value | None:
        if value is None and info.data.get("op", "always") not in {"present", "always"}:
            raise ValueError(f"{info.data['op']} needs a value. Add it")
        return value

    def where(self) -> Where:
        """The same as a predicate."""
        return Where(self.column, self.op, self.value)


class Histogram(Strict):
    """Where the engine counts the same: a histogram and a threshold in its unit."""

    metric: str
    below: float = Field(gt=0)

    @field_validator("metric")
    @classmethod
    def _known_histogram(cls, metric: str) -> str:
        if metric not in BY_NAME or BY_NAME[metric].kind is not Kind.HISTOGRAM:
            names = ", ".join(m.name for m in BY_NAME.values() if m.kind is Kind.HISTOGRAM)
            raise ValueError(f"no histogram is called that. Choose one of {names}")
        return metric


class Slo(Strict):
    """One objective: at least `target` of the requests in `of` are `good`, over a rolling `window`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    good: Condition
    of: Condition
    histogram: Histogram | None = None
    target: float = Field(gt=0, lt=1)
    window: Length
    runbook: str

    @field_validator("runbook")
    @classmethod
    def _written_runbook(cls, runbook: str, info: ValidationInfo) -> str:
        return known_runbook(runbook, info)


class _File(Strict):
    slos: tuple[Slo, ...]


@dataclass(frozen=True, slots=True)
class SloVerdict:
    """A verdict and all it rests on. Shares lie in [0, 1]; `bad` and `count` are requests."""

    slo: Slo
    at: object
    verdict: Verdict
    basis: Basis
    share: float | None
    low: float | None
    high: float | None
    bad: float | None
    count: float
    budget_left: float | None
    coverage: float | None
    missing: str | None


def parse_slos(
    text: str, file: str, columns: Collection[str], runbooks: Collection[str] | None = None
) -> tuple[Slo, ...]:
    """SLOs from YAML. Raises ConfigError with all mistakes; `columns` are the request columns."""
    data = parse_yaml(text, file)
    context = {"columns": columns, "runbooks": runbooks}
    return validate(_File, data, file, context, doubled(data, "slos")).slos


def request_reading(slo: Slo) -> Reading:
    """The share of good requests, as a reading."""
    share = RequestShare(slo.good.where(), slo.of.where())
    return Reading(f"slo_{slo.name}", "ratio", share, slo.title, slo.window)


def histogram_reading(slo: Slo) -> Reading | None:
    """The same share from the engine's histogram; None where the SLO names none."""
    if slo.histogram is None:
        return None
    share = HistogramShare(slo.histogram.metric, slo.histogram.below)
    return Reading(f"slo_{slo.name}_histogram", "ratio", share, slo.title, slo.window)


def verdict(slo: Slo, requests: Point, histogram: Point | None = None) -> SloVerdict:
    """The verdict at one instant: from requests where their coverage suffices, else from the histogram."""
    coverage = _coverage(requests, histogram)
    if (
        histogram is not None
        and histogram.value is not None
        and coverage is not None
        and coverage < ENOUGH_COVERAGE
    ):
        return _from(slo, histogram, "histogram", _widened(histogram), coverage)
    if requests.value is None:
        return SloVerdict(
            slo, requests.at, "no_data", "none", None, None, None, None, 0.0, None, coverage, requests.missing
        )
    return _from(slo, requests, "requests", (requests.low, requests.high), coverage)


def _from(
    slo: Slo, p: Point, basis: Basis, bounds: tuple[float | None, float | None], coverage: float | None
) -> SloVerdict:
    low, high = bounds
    bad = None if p.value is None else (1 - p.value) * p.count
    left = None if bad is None else 1 - bad / ((1 - slo.target) * p.count)
    return SloVerdict(
        slo, p.at, _word(slo.target, low, high), basis, p.value, low, high, bad, p.count, left, coverage, None
    )


def _word(target: float, low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "no_data"
    if low >= target:
        return "met"
    return "missed" if high < target else "undetermined"


def _coverage(requests: Point, histogram: Point | None) -> float | None:
    if histogram is None or not histogram.count:
        return None
    return requests.count / histogram.count


def _widened(p: Point) -> tuple[float | None, float | None]:
    """Bucket bounds and sampling together: Wilson's interval of each bound, the outer ends."""
    if p.low is None or p.high is None:
        return None, None
    return wilson(p.low * p.count, p.count)[0], wilson(p.high * p.count, p.count)[1]
