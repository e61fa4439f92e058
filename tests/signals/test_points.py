"""Grids of instants, conditions in words, and Wilson's interval at its ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.signals.points import Grid, at_instant, component, wilson
from collectors.signals.predicates import Where, always, equals, present

T = datetime(2026, 11, 1, tzinfo=UTC)


def check(grid: Grid, seconds: list[float]) -> None:
    assert [(at - T).total_seconds() for at in grid.instants()] == seconds
    assert grid.end == grid.instants()[-1]


@pytest.mark.parametrize(
    ("grid", "seconds"),
    [
        pytest.param(at_instant(T), [0], id="one instant"),
        pytest.param(Grid(T, timedelta(seconds=30), 3), [0, 30, 60], id="several, oldest first"),
        pytest.param(Grid(T, timedelta(milliseconds=1500), 3), [0, 1.5, 3], id="a step of parts of a second"),
    ],
)
def test_a_grid_is_its_instants(grid: Grid, seconds: list[float]) -> None:
    check(grid, seconds)


def test_a_group_in_words() -> None:
    assert component((), ()) == ""
    assert component(("adapter",), ("manga_v4",)) == "adapter=manga_v4"
    assert component(("replica", "engine"), ("r1", "")) == "replica=r1, engine="


def test_a_group_of_another_length_is_a_fault() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        component(("adapter",), ())


def test_a_condition_in_words() -> None:
    conditions = (Where("ttft_ms", "<", 200), equals("oom_caught", True), present("http_status"), always)
    assert [str(c) for c in conditions] == [
        "ttft_ms < 200",
        "oom_caught == True",
        "http_status present",
        "always",
    ]


@given(st.integers(min_value=1, max_value=10**6))
def test_wilsons_interval_reaches_its_ends_and_only_there(n: int) -> None:
    (none_low, none_high), (all_low, all_high) = wilson(0, n), wilson(n, n)
    assert (none_low, all_high) == (0, 1)
    assert 0 < none_high < 1
    assert all_low == pytest.approx(1 - none_high)


@given(st.integers(min_value=1, max_value=1000), st.integers(min_value=2, max_value=100))
def test_more_of_the_same_narrows_the_interval(n: int, times: int) -> None:
    few, many = wilson(n // 2, n), wilson(n // 2 * times, n * times)
    assert many[1] - many[0] < few[1] - few[0]
