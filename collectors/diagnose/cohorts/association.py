"""How strongly a group and the rest differ, when only requests of one stratum are compared with each other.

Counts: the test and the risk ratio of Mantel and Haenszel (1959). Times: the mean difference of ln(ms) with
Cochran's weights (1954), so its exponential is a ratio of geometric means. Arrays are stratum × group.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, inf, sqrt

import numpy as np

from collectors.diagnose.cohorts.cells import Cells, Codes, Floats, Mask, summed
from collectors.signals.points import Z_95


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """By stratum and group: requests, marked ones, sums of ln(ms)."""

    count: Floats
    marked: Floats
    total: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """By stratum, none of them empty: the same of all requests, and the sums of the squares of ln(ms)."""

    count: Floats
    marked: Floats
    total: Floats
    squares: Floats

    @property
    def deviation(self) -> float:
        """The standard deviation of ln(ms) within strata: one for all groups, which makes them comparable."""
        within = float((self.squares - self.total * self.total / self.count).sum())
        return sqrt(max(within, 0.0) / max(float(self.count.sum()) - self.count.size, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """By group, over the strata that hold it and others: the numbers of `Effect`, without intervals."""

    count: Floats
    marked: Floats
    z_risk: Floats
    z_ratio: Floats
    risk: Floats
    ratio: Floats


@dataclass(frozen=True, slots=True)
class Effect:
    """One group against the rest; `low` and `high` are 95 % intervals.

    `risk`: how many times as often marked. `ratio`: how many times as long. `z_risk` and `z_ratio`: how far
    that is beyond chance, in standard deviations; negative where it is less. `count` and `marked` are what
    could be compared.
    """

    count: int
    marked: int
    z_risk: float
    z_ratio: float
    risk: float
    risk_low: float
    risk_high: float
    ratio: float
    ratio_low: float
    ratio_high: float


def contrast(group: Counts, whole: Whole) -> Contrast:
    """Every group against the rest of its strata. A stratum that is all of one side tells nothing."""
    count, marked, expected, variance = _told(group, whole)
    top, bottom = _risk(group, whole)
    weight = _weight(group, whole)
    # the weighted differences of the means, n1 n0 / n (t1 / n1 - t0 / n0), are t1 - t n1 / n
    longer = _over(group.total.sum(0) - (whole.total / whole.count) @ group.count, weight)
    return Contrast(
        count=count,
        marked=marked,
        z_risk=_beyond_chance(marked, expected, variance),
        z_ratio=longer * np.sqrt(weight) / (whole.deviation or inf),
        risk=_over(top, bottom),
        ratio=np.exp(longer),
    )


def effect(cells: Cells, strata: Codes, inside: Mask) -> Effect | None:
    """The cells inside against the rest; None where no stratum holds both, or nothing there is marked."""
    whole = wholes(cells, strata)
    sums = (cells.count, cells.marked, cells.total)
    group = Counts(*(summed(strata[inside], x[inside], whole.count.size)[:, None] for x in sums))
    found = contrast(group, whole)
    top, bottom = (float(x[0]) for x in _risk(group, whole))
    if not found.count[0] or (not top and not bottom):
        return None
    risk, ratio = float(found.risk[0]), float(found.ratio[0])
    often = exp(Z_95 * _risk_error(group, whole))
    long = exp(Z_95 * whole.deviation / sqrt(float(_weight(group, whole)[0])))
    figures = int(found.count[0]), int(found.marked[0]), float(found.z_risk[0]), float(found.z_ratio[0])
    return Effect(*figures, risk, risk / often, risk * often, ratio, ratio / long, ratio * long)


def wholes(cells: Cells, strata: Codes) -> Whole:
    """All cells by stratum; strata are numbered without gaps."""
    sums = (cells.count, cells.marked, cells.total, cells.squares)
    return Whole(*(summed(strata, x, int(strata.max(initial=-1)) + 1) for x in sums))


def p_value(z: float) -> float:
    """The probability of so much or more by chance: one-sided."""
    return erfc(z / sqrt(2)) / 2


def _over(top: Floats, bottom: Floats) -> Floats:
    """The quotient, and 0 where there is nothing to divide by."""
    return np.asarray(np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0))


def _told(group: Counts, whole: Whole) -> tuple[Floats, Floats, Floats, Floats]:
    """Over the strata that hold both sides: requests, marked ones, and of these their mean and variance."""
    n, m = whole.count, whole.marked
    alone = (group.count == n[:, None]).astype(float)
    share = m / n
    spread = _over(share * (n - m), n * (n - 1))
    return (
        group.count.sum(0) - n @ alone,
        group.marked.sum(0) - m @ alone,
        share @ group.count - m @ alone,
        spread @ (group.count * (n[:, None] - group.count)),
    )


def _risk(group: Counts, whole: Whole) -> tuple[Floats, Floats]:
    """Numerator and denominator. Where just one is 0, it is what half a marked request would give."""
    n, m = whole.count[:, None], whole.marked[:, None]
    top = (1 / whole.count) @ (group.marked * (n - group.count))
    bottom = (1 / whole.count) @ ((m - group.marked) * group.count)
    share = _over(group.count.sum(0), np.full_like(top, whole.count.sum()))
    half = 0.5 * ((top > 0) | (bottom > 0))
    return np.where(top > 0, top, half * (1 - share)), np.where(bottom > 0, bottom, half * share)


def _weight(group: Counts, whole: Whole) -> Floats:
    """The sum over strata of n1 n0 / n."""
    own = group.count.sum(0) - (1 / whole.count) @ (group.count * group.count)
    return np.asarray(np.maximum(own, 0.0))


def _beyond_chance(marked: Floats, expected: Floats, variance: Floats) -> Floats:
    """The smaller of two approximations to the exact test: normal, and a binomial's signed root of deviance.

    The normal one calls 5 of 20 where 1 is expected a chance of 1 in 6,000; it is 1 in 450. A binomial with
    the same mean and variance says so, but is too sure where counts are large and groups are equal.
    """
    seen = np.maximum(marked - 0.5, 0.0)  # counts are whole, the curve is not
    trials = _over(expected, np.clip(1 - _over(variance, expected), 1e-9, 1.0))
    deviance = _term(seen, expected) + _term(np.maximum(trials - seen, 0.0), trials - expected)
    root = np.sign(seen - expected) * np.sqrt(2 * np.maximum(deviance, 0.0))
    normal = _over(seen - expected, np.sqrt(variance))
    return np.where(variance > 0, np.minimum(root, normal), 0.0)


def _term(seen: Floats, expected: Floats) -> Floats:
    """Half of a deviance, s ln(s / e) - (s - e): with the difference inside, large counts do not cancel."""
    part = np.maximum(_over(seen, expected), 1e-300)
    return seen * np.log(part) - (seen - expected)


def _risk_error(group: Counts, whole: Whole) -> float:
    """The standard error of ln(risk ratio), after Greenland and Robins (1985)."""
    top, bottom = (float(x[0]) for x in _risk(group, whole))
    n, m, n1, m1 = whole.count, whole.marked, group.count[:, 0], group.marked[:, 0]
    spread = float(((m * n1 * (n - n1) - m1 * (m - m1) * n) / (n * n)).sum())
    return sqrt(max(spread, 0.0) / (top * bottom))
