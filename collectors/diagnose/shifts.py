"""Is what we see now different from what was usual: effect sizes with their significance.

Every detector asks many times an hour, so p alone would find something every week: a shift also has to be
large, and a finding to hold for its time.

scipy.special and not scipy.stats, which the collector would pay for in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import bdtrc, gammaln, ndtr

from collectors.diagnose.columns import Flags, Numbers

P_SHIFT = 1e-4
MATTERS = 1.2  # a smaller ratio matters to nobody, so it is not tested
FEWEST = 8  # values on either side: fewer can reach no such p
MOST = 1000  # values on either side: more change nothing, and the test has to be cheap


@dataclass(frozen=True, slots=True)
class Shift:
    """A quantity now against usual: medians (or means, or shares), their ratio, how sure, from how many."""

    now: float
    usual: float
    p: float
    count: int
    usual_count: int

    @property
    def ratio(self) -> float:
        """How many times as large as usual; inf where usual is nothing."""
        return self.now / self.usual if self.usual > 0 else np.inf if self.now > 0 else 1.0

    def grew(self, factor: float, p: float = P_SHIFT) -> bool:
        """Whether it is at least `factor` times as large, and that is no chance."""
        return self.ratio >= factor and self.p < p


NOTHING = Shift(np.nan, np.nan, 1.0, 0, 0)


def larger(now: Numbers, usual: Numbers, *, mean: bool = False) -> Shift:
    """Whether values are larger than usual: Mann-Whitney's one-sided test, with medians as the effect.

    With `mean`, means are the effect: of quantities that add up, such as tokens.
    """
    a, b = known(now), known(usual)
    if len(a) < FEWEST or len(b) < FEWEST:
        return NOTHING
    middle = np.mean if mean else np.median
    effect = float(middle(a)), float(middle(b))
    if effect[0] < MATTERS * effect[1] or effect[0] <= 0:
        return Shift(*effect, 1.0, len(a), len(b))
    return Shift(*effect, _mann_whitney(_thinned(a), _thinned(b)), len(a), len(b))


def more_often(now: Flags, usual: Flags) -> Shift:
    """Whether a share is larger than usual: Fisher's exact test, one-sided."""
    n, m = len(now), len(usual)
    if not n or not m:
        return NOTHING
    hits, usual_hits = int(now.sum()), int(usual.sum())
    effect = hits / n, usual_hits / m
    if effect[0] <= effect[1]:
        return Shift(*effect, 1.0, n, m)
    return Shift(*effect, _hypergeometric(hits, n, usual_hits, m), n, m)


def faster(count: int, seconds: float, usual_count: int, usual_s: float) -> Shift:
    """Whether events come at a higher rate: the conditional (binomial) test of two Poisson rates.

    Przyborowski & Wilenski, Biometrika 31 (1940). A session brings several requests, so the counts vary
    more than Poisson's; OVERDISPERSION divides them.
    """
    if seconds <= 0 or usual_s <= 0 or count + usual_count == 0:
        return NOTHING
    effect = count / seconds, usual_count / usual_s
    if effect[0] <= effect[1]:
        return Shift(*effect, 1.0, count, usual_count)
    own, others = round(count / OVERDISPERSION), round(usual_count / OVERDISPERSION)
    p = float(bdtrc(own - 1, own + others, seconds / (seconds + usual_s))) if own else 1.0
    return Shift(*effect, p, count, usual_count)


OVERDISPERSION = 2.0


def onset(times: Numbers, values: Numbers) -> float | None:
    """When a series changed most: the point before which its cumulative sum about the mean turns (CUSUM).

    Page, Biometrika 41 (1954). None where there are too few values to say.
    """
    kept = np.isfinite(values)
    if kept.sum() < FEWEST:
        return None
    order = np.argsort(times[kept], kind="stable")
    at, x = times[kept][order], values[kept][order]
    walk = np.cumsum(x - x.mean())
    turn = int(np.argmax(np.abs(walk[:-1]))) if len(walk) > 1 else 0
    return float(at[turn + 1])


def known(values: Numbers) -> Numbers:
    """Those that are there."""
    return values[np.isfinite(values)]


def _mann_whitney(a: Numbers, b: Numbers) -> float:
    """P of a's ranks being so high by chance, by the normal approximation with ties corrected."""
    n, m = len(a), len(b)
    _, place, counts = np.unique(np.concatenate([a, b]), return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(counts) - (counts - 1) / 2
    u = middle_rank[place[:n]].sum() - n * (n + 1) / 2
    ties = float((counts.astype(float) ** 3 - counts).sum())
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    return float(ndtr((n * m / 2 + 0.5 - u) / sqrt(variance))) if variance > 0 else 1.0


def _hypergeometric(hits: int, n: int, usual_hits: int, m: int) -> float:
    """P of at least so many of all hits lying among these n."""
    all_hits = hits + usual_hits
    k = np.arange(hits, min(n, all_hits) + 1, dtype=float)
    ways = _log_choose(n, k) + _log_choose(m, all_hits - k) - _log_choose(n + m, np.array(float(all_hits)))
    return float(min(1.0, np.exp(ways).sum()))


def _log_choose(n: int, k: Numbers) -> Numbers:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _thinned(values: Numbers) -> Numbers:
    return values if len(values) <= MOST else values[:: -(-len(values) // MOST)]
