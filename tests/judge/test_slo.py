"""An SLO's verdict from counts: met, missed, undetermined or no data, with its bounds and budget."""

from __future__ import annotations

from datetime import UTC, datetime
from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.judge.slo import (
    ENOUGH_COVERAGE,
    Slo,
    SloVerdict,
    histogram_reading,
    request_reading,
    verdict,
)
from collectors.signals.points import Z_95, Point, wilson
from collectors.signals.readings import HistogramShare, RequestShare

AT = datetime(2026, 11, 1, tzinfo=UTC)
ORDER = ("missed", "undetermined", "met")


def slo(target: float = 0.99, **changed: Any) -> Slo:
    plain = {
        "name": "ttft_p50",
        "title": "P50 TTFT < 200 ms",
        "good": {"column": "ttft_ms", "op": "<", "value": 200},
        "of": {"column": "ttft_ms", "op": "present"},
        "target": target,
        "window": "1h",
        "runbook": "high_ttft",
    }
    return Slo.model_validate({**plain, **changed})


def requests(bad: float, count: float) -> Point:
    """What the store gives for a share of requests."""
    share = 1 - bad / count
    return Point(AT, (), share, *wilson(share * count, count), count)


def histogram(low: float, value: float, high: float, count: float) -> Point:
    return Point(AT, (), value, low, high, count)


def check(found: SloVerdict, word: str, basis: str = "requests") -> None:
    assert (found.verdict, found.basis) == (word, basis)


NOTHING = Point(AT, missing="no requests in the window")

# bad, count, target, verdict: the interval of the share lies above the target, holds it, or lies below
VERDICTS = {
    "no bad one among very many": (0, 100_000, 0.999, "met"),
    "no bad one among too few to tell": (0, 1_000, 0.999, "undetermined"),
    "a single good request tells nothing": (0, 1, 0.5, "undetermined"),
    "twice the budget of many": (200, 100_000, 0.999, "missed"),
    "exactly the budget": (100, 100_000, 0.999, "undetermined"),
    "every one bad": (20, 20, 0.5, "missed"),
    "the median a little under": (4_000, 10_000, 0.5, "met"),
    "the median a little over": (6_000, 10_000, 0.5, "missed"),
}


@pytest.mark.parametrize(("bad", "count", "target", "word"), VERDICTS.values(), ids=VERDICTS)
def test_a_verdict_is_reached_from_counts(bad: int, count: int, target: float, word: str) -> None:
    check(verdict(slo(target), requests(bad, count)), word)


def test_without_requests_and_histogram_there_is_no_data_and_the_reason_is_kept() -> None:
    found = verdict(slo(), NOTHING)
    check(found, "no_data", "none")
    assert (found.share, found.low, found.high, found.bad, found.budget_left) == (None,) * 5
    assert (found.count, found.missing) == (0, "no requests in the window")


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        pytest.param(0.9, 1.0, "met", id="an interval that begins at the target is met"),
        pytest.param(0.8, 0.9, "undetermined", id="one that ends at it holds it"),
        pytest.param(0.8, 0.8999, "missed", id="one that ends before it does not"),
    ],
)
def test_the_target_itself_is_good_enough(low: float, high: float, word: str) -> None:
    check(verdict(slo(0.9), Point(AT, (), low, low, high, 100)), word)


# bad ones among 1,000 requests at a target of 99 %: what is left of the ten that may be bad
@pytest.mark.parametrize(("bad", "left"), [(0, 1.0), (5, 0.5), (10, 0.0), (25, -1.5)])
def test_the_budget_left_is_what_of_it_was_not_spent(bad: int, left: float) -> None:
    found = verdict(slo(0.99), requests(bad, 1_000))
    assert found.budget_left == pytest.approx(left, abs=1e-9)
    assert found.bad == pytest.approx(bad)


# ------------------------------------------------------------------------- requests or histogram
COVERED = {
    "all requests have their row": (1_000, "requests", 1.0),
    "just enough of them": (950, "requests", ENOUGH_COVERAGE),
    "too few of them": (949, "histogram", 0.949),
}


@pytest.mark.parametrize(("rows", "basis", "coverage"), COVERED.values(), ids=COVERED)
def test_the_histogram_speaks_where_too_few_requests_have_rows(
    rows: int, basis: str, coverage: float
) -> None:
    found = verdict(slo(0.5), requests(0, rows), histogram(0.1, 0.1, 0.1, 1_000))
    check(found, "met" if basis == "requests" else "missed", basis)
    assert found.coverage == pytest.approx(coverage)


def test_the_histogram_speaks_where_no_request_has_a_row() -> None:
    check(verdict(slo(0.5), NOTHING, histogram(0.9, 0.9, 0.9, 1_000)), "met", "histogram")


def test_a_histogram_without_observations_leaves_the_word_to_the_requests() -> None:
    silent = Point(AT, missing="no scrape in the window")
    check(verdict(slo(0.5), requests(0, 1_000), silent), "met")
    check(verdict(slo(0.5), NOTHING, silent), "no_data", "none")


def test_a_threshold_inside_a_bucket_is_undetermined_where_the_bucket_decides() -> None:
    # 0.2 s lies between vLLM's bounds of 0.1 and 0.25 s: 30 % are surely below, 80 % may be
    check(verdict(slo(0.5), NOTHING, histogram(0.3, 0.6, 0.8, 10_000)), "undetermined", "histogram")
    check(verdict(slo(0.2), NOTHING, histogram(0.3, 0.6, 0.8, 10_000)), "met", "histogram")
    check(verdict(slo(0.9), NOTHING, histogram(0.3, 0.6, 0.8, 10_000)), "missed", "histogram")


def test_the_bounds_of_a_bucket_are_widened_by_the_sampling() -> None:
    found = verdict(slo(0.5), NOTHING, histogram(0.3, 0.6, 0.8, 100))
    assert (found.low, found.high) == pytest.approx((bounds(30, 100)[0], bounds(80, 100)[1]))
    few, many = (verdict(slo(0.5), NOTHING, histogram(0.3, 0.6, 0.8, n)) for n in (10, 10_000))
    assert few.low is not None
    assert many.low is not None
    assert few.low < many.low < 0.3


def test_an_slo_is_two_readings_of_the_same_share() -> None:
    objective = slo(histogram={"metric": "ttft_s", "below": 0.2})
    share, engine = request_reading(objective), histogram_reading(objective)
    assert share.computation == RequestShare(objective.good.where(), objective.of.where())
    assert engine is not None
    assert engine.computation == HistogramShare("ttft_s", 0.2)
    assert share.window == engine.window == objective.window
    assert histogram_reading(slo()) is None


# ---------------------------------------------------------------------------------------- Wilson
# Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("good", "n", "low", "high"), PUBLISHED)
def test_wilsons_interval_is_the_published_one(good: int, n: int, low: float, high: float) -> None:
    assert wilson(good, n) == pytest.approx((low, high), abs=5e-5)


def bounds(good: float, n: float) -> tuple[float, float]:
    """From its definition: the shares p with |good/n - p| <= z sqrt(p (1 - p) / n), a quadratic in p."""
    a, b, c = n + Z_95**2, -(2 * good + Z_95**2), good**2 / n
    root = sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


Counts = st.integers(min_value=1, max_value=10**9)


@given(Counts, st.data())
def test_low_share_and_high_are_in_order_and_as_defined(n: int, data: st.DataObject) -> None:
    good = data.draw(st.integers(min_value=0, max_value=n))
    low, high = wilson(good, n)
    assert 0 <= low <= good / n <= high <= 1
    assert (low, high) == pytest.approx(bounds(good, n), abs=1e-7)


@given(st.integers(min_value=2, max_value=10**6), st.floats(min_value=0.01, max_value=0.9999), st.data())
def test_one_more_bad_event_never_improves_anything(n: int, target: float, data: st.DataObject) -> None:
    bad = data.draw(st.integers(min_value=0, max_value=n - 1))
    less, more = (verdict(slo(target), requests(b, n)) for b in (bad, bad + 1))
    assert ORDER.index(more.verdict) <= ORDER.index(less.verdict)
    for better, worse in zip(numbers(less), numbers(more), strict=True):
        assert worse <= better + 1e-12
    assert less.low is not None
    assert less.high is not None
    assert less.share is not None
    assert less.low <= less.share <= less.high


def numbers(found: SloVerdict) -> list[float]:
    return [n for n in (found.share, found.low, found.high, found.budget_left) if n is not None]
