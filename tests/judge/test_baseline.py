"""A group's threshold comes from its own past or its predecessor's, however its instant is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.judge.baseline import MIN_BINS, History, extended, missing_bins, thresholds
from collectors.judge.rules import Rule
from collectors.signals.points import Grid, Point, at_instant
from tests.judge.notation import expand

START = datetime(2026, 11, 1, tzinfo=UTC)  # a multiple of every window here
MINUTE = timedelta(minutes=1)
BIN = 5 * MINUTE
FACTOR = 2.0

Limits = dict[tuple[datetime, tuple[str, ...]], float | None]


def rule(window: str = "1h") -> Rule:
    """Twice the usual value of the last hour, a bin every five minutes."""
    return Rule.model_validate(
        {
            "name": "r",
            "title": "R",
            "summary": "",
            "reading": "adapter_e2e_p95_ms",
            "op": ">",
            "baseline": {"factor": FACTOR, "window": window},
            "window": "5m",
            "for": "10m",
            "min_traffic": 20,
            "severity": "warning",
            "runbook": "r",
        }
    )


class Facts:
    """What the store would give: a value for each group at each bin's end, held until the next."""

    def __init__(self, series: Mapping[str, str], count: float = 100) -> None:
        self.values = {name: expand(notation) for name, notation in series.items()}
        self.count = count

    def points(self, grid: Grid) -> list[Point]:
        return [
            Point(at, (g,), self._value(g, at), count=self.count)
            for at in grid.instants()
            for g in self.values
        ]

    def _value(self, group: str, at: datetime) -> float | None:
        k, values = (at - START) // BIN, self.values[group]
        return values[k] if 0 <= k < len(values) else None


def limits_of(judging: Rule, facts: Facts, grids: Sequence[Grid]) -> Limits:
    """Thresholds over consecutive grids, each going on from the history that the last one left."""
    history = History()
    found: Limits = {}
    for grid in grids:
        bins = missing_bins(judging, history, grid)
        history = extended(judging, history, bins, facts.points(bins)) if bins else history
        found |= thresholds(judging, history, facts.points(grid))
    return found


def check(
    series: Mapping[str, str], bin_number: int, expected: Mapping[str, float | None], window: str = "1h"
) -> None:
    """The usual values at the end of a bin: thresholds divided by the factor."""
    at = START + bin_number * BIN
    found = limits_of(rule(window), Facts(series), [at_instant(at)])
    usual = {g: None if (limit := found[at, (g,)]) is None else limit / FACTOR for g in expected}
    assert usual == pytest.approx(expected)


CASES: dict[str, tuple[dict[str, str], int, dict[str, float | None]]] = {
    "the lower quartile of its own past": ({"a": "100 200 300 400 500"}, 5, {"a": 200}),
    "trouble that lasts less than three quarters of the time does not count": (
        {"a": "100x3 900x7"},
        10,
        {"a": 100},
    ),
    "the bin that is being judged is not its own past": ({"a": "100x4 999"}, 4, {"a": 100}),
    "no baseline before MIN_BINS": ({"a": f"100x{MIN_BINS - 1}"}, MIN_BINS - 1, {"a": None}),
    "a baseline from MIN_BINS on": ({"a": f"100x{MIN_BINS}"}, MIN_BINS, {"a": 100}),
    "bins without a value are no bins": ({"a": "100 _ 100 _ 100 100"}, 5, {"a": 100}),
    "what is older than the window is forgotten": ({"a": "900x11 100x13"}, 24, {"a": 100}),
    "a new version takes its predecessor's": ({"a_v1": "100x20", "a_v2": "_x15 300x5"}, 20, {"a_v2": 100}),
    "a new version without a bin yet takes its predecessor's": (
        {"a_v1": "100x20", "a_v2": "_x20 300"},
        20,
        {"a_v2": 100},
    ),
    "a version of another family is no predecessor": (
        {"b_v1": "100x20", "a_v2": "_x18 300x5"},
        20,
        {"a_v2": None},
    ),
    "a predecessor without a past gives none": ({"a_v1": "_x19 100", "a_v2": "_x20 300"}, 20, {"a_v2": None}),
    "a predecessor without a past is no better than one's own": (
        {"a_v1": "_x12 100x1", "a_v2": "_x15 300x5"},
        20,
        {"a_v2": 300},
    ),
    "the newest predecessor counts": (
        {"a_v1": "500x20", "a_v2": "_x8 100x12", "a_v3": "_x18 300x2"},
        20,
        {"a_v3": 100},
    ),
    "ten comes after nine": (
        {"a_v9": "500x40", "a_v10": "_x20 100x20", "a_v11": "_x38 300x2"},
        40,
        {"a_v11": 100},
    ),
    "a version stands on its own feet once a window has passed": (
        {"a_v1": "100x40", "a_v2": "_x15 300x25"},
        40,
        {"a_v2": 300},
    ),
    "a slow-down that all share raises the threshold": (
        {"a": "100x9 300", "b": "50x9 150", "c": "10x9 30"},
        10,
        {"a": 300, "b": 150, "c": 30},
    ),
    "one slow neighbour raises nobody's threshold": (
        {"a": "100x9 300", "b": "50x10", "c": "10x10"},
        10,
        {"a": 100},
    ),
    "a speed-up that all share lowers no threshold": ({"a": "100x10", "b": "50x9 10"}, 10, {"a": 100}),
    "one's own family is no neighbour": (
        {"a_v1": "100x9 300", "a_v2": "100x9 300"},
        10,
        {"a_v1": 100, "a_v2": 100},
    ),
}


@pytest.mark.parametrize(("series", "bin_number", "expected"), CASES.values(), ids=CASES)
def test_the_usual_value_of_a_group(
    series: dict[str, str], bin_number: int, expected: dict[str, float | None]
) -> None:
    check(series, bin_number, expected)


def test_bins_of_too_little_traffic_are_no_past() -> None:
    at = START + 10 * BIN
    assert limits_of(rule(), Facts({"a": "100x10"}, count=19), [at_instant(at)]) == {(at, ("a",)): None}


def test_a_rule_without_a_baseline_needs_no_history() -> None:
    fixed = Rule.model_validate({**rule().model_dump(by_alias=True), "baseline": None, "threshold": 1})
    assert missing_bins(fixed, History(), at_instant(START)) is None
    assert thresholds(fixed, History(), [Point(START, ("a",), 1.0)]) == {}


# ------------------------------------------------------------------- however an instant is reached
Notation = st.lists(st.sampled_from(["_x3", "100x2", "300x5", "200x9", "_x9"]), max_size=6)
Names = st.sampled_from(["a_v1", "a_v2", "a_v3", "b_v1", "b_v2", "c"])


@given(
    st.dictionaries(Names, Notation.map(" ".join), min_size=1, max_size=4),
    st.lists(st.integers(min_value=1, max_value=200), max_size=5),
    st.integers(min_value=0, max_value=40),
)
@settings(max_examples=60)
def test_thresholds_are_the_same_in_one_grid_and_in_many(
    series: dict[str, str], cuts: list[int], first: int
) -> None:
    facts, judging = Facts(series), rule("15m")
    edges = sorted({0, 200, *cuts})
    whole = Grid(START + first * MINUTE, MINUTE, 200)
    pieces = [Grid(whole.start + a * MINUTE, MINUTE, b - a) for a, b in pairwise(edges)]
    assert limits_of(judging, facts, pieces) == limits_of(judging, facts, [whole])
    # and after a restart, when all that is known comes from the store
    last = pieces[-1]
    begun_anew = limits_of(judging, facts, [last])
    assert begun_anew == {k: v for k, v in limits_of(judging, facts, [whole]).items() if k in begun_anew}
