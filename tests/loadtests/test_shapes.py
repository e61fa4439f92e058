"""Rates rise and fall as the shapes say, and arrivals under them are Poisson's."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.shapes import Shape, arrivals, multiple, peak

STEADY, RELEASE = Shape(), Shape(kind="release")


@pytest.mark.parametrize(
    ("shape", "length_s", "at_and_multiple"),
    [
        pytest.param(STEADY, 60, {0: 1, 30: 1, 59: 1}, id="steady is always the same"),
        pytest.param(
            RELEASE, 1800, {0: 1, 450: 2.25, 900: 3.5, 1700: 3.5}, id="a release is at 3.5 in 15 minutes"
        ),
        pytest.param(
            Shape(kind="release", factor=2, ramp_s=10),
            60,
            {0: 1, 5: 1.5, 10: 2, 60: 2},
            id="a release of another size",
        ),
        pytest.param(
            Shape(kind="step", factor=4, steps=4),
            80,
            {0: 1, 19.9: 1, 20: 2, 40: 3, 60: 4, 80: 4},
            id="stairs of equal length and height",
        ),
        pytest.param(Shape(kind="step", steps=1, factor=3), 10, {0: 3, 9: 3}, id="one step is a jump"),
        pytest.param(
            Shape(kind="night"), 100, {0: 1, 25: 0.55, 50: 0.1, 100: 1}, id="night is deepest in the middle"
        ),
    ],
)
def test_a_shape_over_time(shape: Shape, length_s: float, at_and_multiple: dict[float, float]) -> None:
    found = {at_s: multiple(shape, at_s, length_s) for at_s in at_and_multiple}
    assert found == pytest.approx(at_and_multiple)


@given(
    st.sampled_from(["steady", "release", "step", "night"]),
    st.floats(0.05, 10),
    st.floats(0, 1),
)
def test_no_shape_exceeds_its_peak_or_falls_below_nothing(kind, factor: float, share: float) -> None:
    shape = Shape(kind=kind, factor=factor, ramp_s=40)
    assert 0 <= multiple(shape, share * 60, 60) <= peak(shape) + 1e-9


def counted(shape: Shape, rate: float, length_s: float, seed: int) -> list[int]:
    """Arrivals in each second."""
    came = [0] * math.ceil(length_s)
    times = arrivals(
        lambda at_s: rate * multiple(shape, at_s, length_s), rate * peak(shape), length_s, Random(seed)
    )
    for at_s in times:
        came[int(at_s)] += 1
    return came


def test_arrivals_scatter_as_poissons_do() -> None:
    """20 a second over 2,000 s: the mean's standard error is 0.1; a Poisson count's variance is its mean."""
    came = counted(STEADY, 20, 2000, seed=1)
    assert fmean(came) == pytest.approx(20, abs=0.4)
    assert pvariance(came) == pytest.approx(20, rel=0.15)
    gaps = [b - a for a, b in pairwise(came)]
    assert fmean(gaps) == pytest.approx(0, abs=0.1)


def test_a_release_brings_three_and_a_half_times_the_sessions() -> None:
    came = counted(RELEASE, 10, 1800, seed=2)
    assert fmean(came[:60]) == pytest.approx(10 * 1.083, abs=1.7)  # four standard errors
    assert fmean(came[900:]) == pytest.approx(35, abs=0.8)
    assert sum(came) == pytest.approx(900 * 22.5 + 900 * 35, rel=0.02)


def test_the_same_seed_brings_the_same_instants() -> None:
    first, again, other = (counted(RELEASE, 5, 1000, seed) for seed in (3, 3, 4))
    assert first == again != other


def test_nobody_comes_at_a_rate_of_nothing() -> None:
    assert counted(STEADY, 0, 100, seed=5) == [0] * 100
