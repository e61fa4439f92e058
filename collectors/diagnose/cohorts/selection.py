"""Which cohorts remain when the others are held constant: forward, the strongest first, then backward.

What goes with a cause looks like one. So the strongest candidate is taken, and all others are compared anew
within strata that hold it constant; what only went with it loses its effect. A pair has to be stronger than
either of its values is without the other. What cannot be held apart from a taken cohort is named beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import hypot
from statistics import NormalDist

from collectors.diagnose.cohorts.association import Effect, effect, p_value
from collectors.diagnose.cohorts.candidates import Candidate, candidates
from collectors.diagnose.cohorts.cells import Cells, Member

MOST_COHORTS = 5  # more on one screen is no ranking; also bounds the work
MOST_TRIED = 30  # strongest candidates that are looked at closely in one step
TWIN_OVERLAP = 0.8  # of all in either of two groups, those in both, from which the two may be one
SELDOM = -3.0  # standard deviations: what is marked that much less often is not what was asked about
SLOWER = 1.1  # times as long; within one bucket of lengths the longer answers make less of a difference


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cohort has to be before it is named.

    `alpha` bounds the chance that anything at all is named where nothing is the matter (Holm 1979, with the
    divisor of his first step in all of them), not the share of wrong names (Benjamini and Hochberg 1995):
    people act on each name, and in populations of this size there is power to spare. `effect` is how many
    times as often marked, or as long, at least: what is smaller may be significant and is of no use.
    `slower`: marked means slow, so it has to take longer, too. `values` is how many attributes a cohort may
    name.
    """

    alpha: float = 0.001
    effect: float = 1.5
    least_count: int = 20
    least_marked: int = 5
    slower: bool = True
    values: int = 2


@dataclass(frozen=True, slots=True)
class Picked:
    """A cohort with its effect while all others are held constant, and p over all comparisons made.

    `twins` are cohorts that cannot be told apart from it.
    """

    member: Member
    effect: Effect
    p: float
    twins: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """One comparison's frame: the population, what is held constant, and how many comparisons are made."""

    cells: Cells
    lengths: Sequence[str]
    held: tuple[Member, ...]
    limits: Limits
    tests: int = 1

    def holding(self, *more: Member) -> _Asked:
        return replace(self, held=(*self.held, *more))

    def effect(self, member: Member) -> Effect | None:
        return effect(self.cells, self.cells.strata(self.lengths, self.held), self.cells.inside(member))

    def clear(self, found: Effect | Candidate | None) -> bool:
        """Marked more often, or taking longer, beyond chance and by enough to matter."""
        limits = self.limits
        if found is None or found.z_risk < SELDOM or (limits.slower and found.ratio < SLOWER):
            return False
        sure = NormalDist().inv_cdf(1 - limits.alpha / (2 * self.tests))
        often = found.z_risk >= sure and found.risk >= limits.effect
        return often or (limits.slower and found.z_ratio >= sure and found.ratio >= limits.effect)

    def strength(self, found: Effect | Candidate) -> float:
        """By which candidates are compared: what many requests confirm, in counts and, if asked, in times.

        A group that is wider or narrower than the cause has less of both.
        """
        return hypot(max(found.z_risk, 0.0), max(found.z_ratio, 0.0) if self.limits.slower else 0.0)

    def p(self, found: Effect) -> float:
        """Over all comparisons, each of them made in counts and in times."""
        best = max(found.z_risk, found.z_ratio if self.limits.slower else found.z_risk)
        return min(1.0, 2 * self.tests * p_value(best))


def select(
    cells: Cells, lengths: Sequence[str], limits: Limits, held: Sequence[Member] = ()
) -> tuple[Picked, ...]:
    """The cohorts that explain what is marked, strongest first.

    Requests are compared at equal `lengths`, and with `held` constant from the beginning.
    """
    asked = _Asked(cells, lengths, tuple(held), limits)
    taken: tuple[Member, ...] = ()
    rivals: dict[Member, Candidate] = {}
    while len(taken) < MOST_COHORTS:
        asked, strong = _strong(asked, taken)
        rivals = {c.member: c for c in strong} | rivals
        best = next((c.member for c in strong if _more_than_its_parts(asked.holding(*taken), c.member)), None)
        if best is None:
            break
        taken = (*taken, best)
    return tuple(sorted(_remaining(asked, taken, rivals), key=lambda p: -asked.strength(p.effect)))


def _strong(asked: _Asked, taken: tuple[Member, ...]) -> tuple[_Asked, list[Candidate]]:
    """The clear candidates while what is taken is constant, strongest first; and over how many tests."""
    limits, strata = asked.limits, asked.cells.strata(asked.lengths, [*asked.held, *taken])
    support = (limits.least_count, limits.least_marked)
    tests, found = candidates(asked.cells, strata, support, limits.effect, limits.values)
    asked = replace(asked, tests=max(asked.tests, tests))
    strong = [c for c in found if asked.clear(c)]
    return asked, sorted(strong, key=lambda c: -asked.strength(c))[:MOST_TRIED]


def _more_than_its_parts(asked: _Asked, member: Member) -> bool:
    """A single value always is; a pair only if each value matters where the other is given."""
    if len(member) == 1:
        return True
    return all(_matters(asked, given, other) for given, other in (member, member[::-1]))


def _matters(asked: _Asked, given: tuple[int, int], other: tuple[int, int]) -> bool:
    inside = asked.cells.only(asked.cells.inside((given,)))
    narrowed = replace(asked, cells=inside, tests=MOST_TRIED)
    return narrowed.clear(narrowed.effect((other,)))


def _remaining(asked: _Asked, taken: tuple[Member, ...], rivals: dict[Member, Candidate]) -> Iterator[Picked]:
    """What still has its effect when all other taken ones are constant; the last taken is asked first."""
    for member in reversed(taken):
        others = tuple(m for m in taken if m != member)
        given = asked.holding(*others)
        found = given.effect(member)
        if found is None or not given.clear(found):
            taken = others
    for member in taken:
        given = asked.holding(*(m for m in taken if m != member))
        if found := given.effect(member):
            yield Picked(member, found, given.p(found), tuple(_twins(given, member, rivals, taken)))


def _twins(
    asked: _Asked, member: Member, rivals: dict[Member, Candidate], taken: tuple[Member, ...]
) -> Iterator[Member]:
    """Clear by themselves, nearly the same requests, and neither has an effect while the other is held."""
    for other in rivals:
        if other in taken or len(other) > len(member) or set(other) & set(member):
            continue
        alike = _overlap(asked.cells, member, other) >= TWIN_OVERLAP
        if alike and not _survives(asked, member, other) and not _survives(asked, other, member):
            yield other


def _survives(asked: _Asked, member: Member, other: Member) -> bool:
    given = asked.holding(other)
    return given.clear(given.effect(member))


def _overlap(cells: Cells, one: Member, other: Member) -> float:
    a, b = cells.inside(one), cells.inside(other)
    either = float(cells.count[a | b].sum())
    return float(cells.count[a & b].sum()) / either if either else 0.0
