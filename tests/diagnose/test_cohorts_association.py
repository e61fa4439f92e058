"""The statistics of one comparison agree with their formulas, written out in plain Python."""

from __future__ import annotations

from math import exp, inf, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.diagnose.cohorts.association import Effect, effect, p_value
from collectors.diagnose.cohorts.cells import Cells

# for each stratum: ours slow, ours in all, theirs slow, theirs in all
Table = tuple[int, int, int, int]
Tables = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 30), st.integers(0, 8), st.integers(0, 30)).map(
        lambda t: (min(t[0], t[1]), t[1], min(t[2], t[3]), t[3])
    ),
    min_size=1,
    max_size=5,
)


def asked(tables: list[Table]) -> Effect | None:
    """Each request a cell; slow ones take 20 ms, others 10."""
    rows = [
        (stratum, ours, slow)
        for stratum, (a, n1, b, n0) in enumerate(tables)
        for ours, marked, count in ((True, a, n1), (False, b, n0))
        for slow in [1.0] * marked + [0.0] * (count - marked)
    ]
    strata, ours, slow = (np.array(x) for x in zip(*rows, strict=True))
    _, strata = np.unique(strata, return_inverse=True)
    ln = np.log(10 * (1 + slow))
    none = np.zeros((0, slow.size), dtype=np.int64)
    return effect(Cells((), none, none, np.ones(slow.size), slow, ln, ln * ln), strata, ours.astype(bool))


@given(Tables)
def test_counts_agree_with_mantel_and_haenszel(tables: list[Table]) -> None:
    both = [(a, n1, b, n0) for a, n1, b, n0 in tables if n1 and n0]
    if not both or not any(a + b for a, _, b, _ in both):
        return
    found = asked(tables)
    assert found is not None
    top = sum(a * n0 / (n1 + n0) for a, n1, _, n0 in both)
    bottom = sum(b * n1 / (n1 + n0) for _, n1, b, n0 in both)
    if top and bottom:
        assert found.risk == pytest.approx(top / bottom)
        assert found.risk_low <= found.risk <= found.risk_high
    assert 0 < found.risk < inf
    assert (found.count, found.marked) == (sum(t[1] for t in both), sum(t[0] for t in both))
    means = [(a / n1 - b / n0) * log(2) for a, n1, b, n0 in both]
    weights = [n1 * n0 / (n1 + n0) for _, n1, _, n0 in both]
    mean = sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights)
    assert found.ratio == pytest.approx(exp(mean), abs=1e-9)
    assert found.ratio_low <= found.ratio <= found.ratio_high


@pytest.mark.parametrize(
    ("tables", "z"),
    [
        pytest.param([(600, 1000, 500, 1000)], 4.45, id="large counts: as the exact test"),
        pytest.param([(5, 20, 45, 980)], 2.84, id="small counts: as the exact test, not 3.6 as the normal"),
        pytest.param([(50, 100, 50, 100)], 0.0, id="no difference"),
        pytest.param([(500, 1000, 600, 1000)], -4.49, id="less often"),
        pytest.param([(900, 1000, 90, 100), (10, 100, 100, 1000)], 0.0, id="strata differ, not groups"),
    ],
)
def test_chance_is_told_for_small_and_large_counts(tables: list[Table], z: float) -> None:
    found = asked(tables)
    assert found is not None
    assert found.z_risk == pytest.approx(z, abs=0.2)


@pytest.mark.parametrize(
    "tables",
    [
        pytest.param([(5, 10, 0, 0)], id="nobody to compare with"),
        pytest.param([(5, 10, 0, 0), (0, 0, 5, 10)], id="nobody of the same lengths"),
        pytest.param([(0, 10, 0, 10)], id="nothing is marked"),
    ],
)
def test_without_a_comparison_there_is_no_effect(tables: list[Table]) -> None:
    assert asked(tables) is None


def test_a_p_value_is_the_normal_tail() -> None:
    assert p_value(0.0) == 0.5
    assert p_value(1.6448536) == pytest.approx(0.05, abs=1e-6)
    assert 0 < p_value(30.0) < 1e-190
    assert sqrt(p_value(-40.0)) == 1.0
