"""The answer to "whose requests are slow": all, a cohort, single ones, or it cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from collectors.diagnose.cohorts.answer import Came, Cohort, Kind, Scope
from collectors.diagnose.cohorts.association import Effect, effect
from collectors.diagnose.cohorts.cells import OTHERS, Cells, Member
from collectors.diagnose.cohorts.selection import SLOWER, Limits, Picked, select

ENOUGH_REQUESTS, ENOUGH_MARKED = 100, 10  # below these no share and no cohort can be told from chance
MOST_OF_ALL = 0.5  # without anything to compare with, all are slow where most are
CAME_SHARE, KNOWN_SHARE = 0.5, 0.01  # of the requests, now and before: from which a value came anew
CLEARLY = 3.0  # standard deviations: one comparison, of all now with all before
TIMES = ("hour",)  # another window has other hours
LIMITS = Limits()


def scope(cells: Cells, usual: Cells | None, lengths: Sequence[str], limits: Limits = LIMITS) -> Scope:
    """Rank the cohorts of a population at the same `lengths`, beside a baseline where there is one."""
    count, marked = int(cells.count.sum()), int(cells.marked.sum())
    usual = usual if usual is not None and usual.count.sum() >= ENOUGH_REQUESTS else None
    found = Scope(Kind.UNDETERMINED, count, marked, _share(usual), tuple(lengths))
    if count < ENOUGH_REQUESTS or marked < ENOUGH_MARKED:
        return found
    compared = _Compared(cells, usual, tuple(lengths), limits)
    at_lengths, by_lengths = _cohorts(compared)
    new = [c for c in (*at_lengths, *by_lengths) if not _as_usual(c, limits)]
    return replace(
        found,
        kind=_kind(compared, [c.attributes for c in new]),
        ranking=tuple(c for c in new if not c.through),
        workload=tuple(c for c in new if c.through),
        as_usual=tuple(c for c in (*at_lengths, *by_lengths) if c not in new),
        came=tuple(_came(cells, usual)),
        raised=_raised(cells, usual, ()),
        raised_at_lengths=_raised(cells, usual, lengths),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    cells: Cells
    usual: Cells | None
    lengths: tuple[str, ...]
    limits: Limits

    def usually(self, member: Member, lengths: Sequence[str], held: Sequence[Member]) -> Effect | None:
        """The effect in the baseline; what is held constant and was not there is left out."""
        if self.usual is None:
            return None
        own = self.usual.member(self.cells.named(member))
        others = [m for h in held if (m := self.usual.member(self.cells.named(h))) is not None]
        return None if own is None else _effect(self.usual, own, lengths, others)


def _cohorts(c: _Compared) -> tuple[list[Cohort], list[Cohort]]:
    """Those that are slow at the same lengths, and those that are slow because of their lengths."""
    picked = select(c.cells, c.lengths, c.limits)
    held = [p.member for p in picked]
    longer = select(c.cells, (), replace(c.limits, values=1), held) if c.lengths else ()
    return [_slow(c, p, held) for p in picked], [_long(c, p, held) for p in longer]


def _slow(c: _Compared, p: Picked, held: Sequence[Member]) -> Cohort:
    others = [m for m in held if m != p.member]
    whatever = _effect(c.cells, p.member, (), others)
    return _cohort(c, p, p.effect, whatever, c.usually(p.member, c.lengths, others))


def _long(c: _Compared, p: Picked, held: Sequence[Member]) -> Cohort:
    at_lengths = _effect(c.cells, p.member, c.lengths, held)
    found = _cohort(c, p, at_lengths, p.effect, c.usually(p.member, (), held))
    return replace(found, through=_through(c, p, held))


def _cohort(
    c: _Compared, p: Picked, at_lengths: Effect | None, whatever: Effect | None, usual: Effect | None
) -> Cohort:
    inside, cells = c.cells.inside(p.member), c.cells
    count, marked = int(cells.count[inside].sum()), int(cells.marked[inside].sum())
    return Cohort(
        attributes=cells.named(p.member),
        count=count,
        marked=marked,
        share=marked / float(cells.marked.sum()),
        effect=at_lengths,
        whatever_lengths=whatever,
        usual=usual,
        p=p.p,
        twins=tuple(cells.named(twin) for twin in p.twins),
    )


def _through(c: _Compared, p: Picked, held: Sequence[Member]) -> tuple[str, ...]:
    """The lengths each of which takes half of the effect away; if none does alone, all of them together."""
    alone = {name: _effect(c.cells, p.member, (name,), held) for name in c.lengths}
    half = 1 + (p.effect.ratio - 1) / 2
    return tuple(name for name, found in alone.items() if found is None or found.ratio < half) or c.lengths


def _as_usual(cohort: Cohort, limits: Limits) -> bool:
    """Whether it is not clearly slower than in the baseline: what is slow by nature explains no incident."""
    now, before = cohort.whatever_lengths if cohort.through else cohort.effect, cohort.usual
    if now is None or before is None or before.risk < limits.effect:
        return False
    often = now.risk_low < limits.effect * before.risk_high
    return often and now.ratio_low < sqrt(limits.effect) * before.ratio_high


def _kind(c: _Compared, explaining: Sequence[Mapping[str, str | None]]) -> Kind:
    members = [m for named in explaining if (m := c.cells.member(named)) is not None]
    inside = [c.cells.inside(member) for member in members]
    rest, base = c.cells.only(~np.logical_or.reduce(inside)) if inside else c.cells, _share(c.usual) or 0.0
    if 2 * _excess(rest, base) >= _excess(c.cells, base) and _is_raised(rest, c.usual, c.limits):
        return Kind.SYSTEMIC
    return Kind.COHORT if members else Kind.ISOLATED


def _is_raised(rest: Cells, usual: Cells | None, limits: Limits) -> bool:
    if usual is None:
        return float(rest.marked.sum()) >= MOST_OF_ALL * float(rest.count.sum())
    found = _raised(rest, usual, ())
    slower = found is not None and (found.ratio >= SLOWER or not limits.slower)
    return found is not None and slower and found.z_risk >= CLEARLY and found.risk >= limits.effect


def _excess(cells: Cells, base: float) -> float:
    return float(cells.marked.sum()) - base * float(cells.count.sum())


def _raised(cells: Cells, usual: Cells | None, lengths: Sequence[str]) -> Effect | None:
    """All requests now against all of the baseline."""
    if usual is None:
        return None
    both = cells.beside(usual)
    now = np.arange(both.count.size) < cells.count.size
    return effect(both, both.strata(lengths), now)


def _came(cells: Cells, usual: Cells | None) -> Iterator[Came]:
    for a, attribute in enumerate(cells.attributes if usual else ()):
        for code, value in enumerate(attribute.values):
            share = _part(cells, ((a, code),))
            before = usual.member({attribute.name: value}) if usual else None
            if value != OTHERS and share >= CAME_SHARE and attribute.name not in TIMES:
                known = _part(usual, before) if usual and before else 0.0
                if known <= KNOWN_SHARE:
                    yield Came({attribute.name: value}, share)


def _part(cells: Cells, member: Member) -> float:
    whole = float(cells.count.sum())
    return float(cells.count[cells.inside(member)].sum()) / whole if whole else 0.0


def _effect(cells: Cells, member: Member, lengths: Sequence[str], held: Sequence[Member]) -> Effect | None:
    return effect(cells, cells.strata(lengths, held), cells.inside(member))


def _share(cells: Cells | None) -> float | None:
    """The share of requests that are marked; None without a population."""
    if cells is None or not cells.count.any():
        return None
    return float(cells.marked.sum() / cells.count.sum())
