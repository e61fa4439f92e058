"""Shifts: their significance is scipy.stats' own, and their change-points are where they were planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from collectors.diagnose import shifts


@pytest.mark.parametrize("seed", range(8))
def test_values_are_tested_as_scipy_tests_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    now, usual = (rng.integers(0, top, n).astype(float) for top, n in ((30, 60), (18, 90)))
    expected = stats.mannwhitneyu(now, usual, alternative="greater", method="asymptotic").pvalue
    assert shifts.larger(now, usual).p == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_shares_are_tested_as_scipy_tests_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    now, usual = rng.random(40) < 0.5, rng.random(90) < 0.2
    table = [[now.sum(), (~now).sum()], [usual.sum(), (~usual).sum()]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert shifts.more_often(now, usual).p == pytest.approx(expected, rel=1e-6)


def test_rates_are_tested_by_the_binomial() -> None:
    found = shifts.faster(120, 10.0, 600, 100.0)
    share = 10.0 / 110.0
    assert found.ratio == pytest.approx(2.0)
    assert found.p == pytest.approx(stats.binom.sf(59, 360, share), rel=1e-6)


@pytest.mark.parametrize(
    ("now", "usual"),
    [([], []), ([np.nan] * 20, [1.0] * 20), ([1.0] * 7, [0.5] * 20), ([0.0] * 20, [0.0] * 20)],
    ids=["nothing", "nothing known", "too few", "all the same"],
)
def test_little_to_go_by_is_no_shift(now: list[float], usual: list[float]) -> None:
    assert not shifts.larger(np.array(now), np.array(usual)).grew(1.0)


def test_out_of_nothing_is_beyond_any_factor() -> None:
    found = shifts.larger(np.full(20, 3.0), np.zeros(40))
    assert found.ratio == np.inf
    assert found.grew(100)


@pytest.mark.parametrize("seed", range(5))
def test_a_change_is_found_where_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.sort(rng.uniform(0, 100, 300))
    values = np.where(at < 60, 1.0, 2.0) + rng.normal(0, 0.3, 300)
    assert shifts.onset(at, values) == pytest.approx(60, abs=2)


def test_of_too_little_no_change_is_told() -> None:
    assert shifts.onset(np.arange(5.0), np.arange(5.0)) is None
