"""Every value and every pair of values against the rest, at once.

A pair of attributes is counted from the smallest population that still tells the two apart: the attribute of
most values goes first with each of the others, and is then summed away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from collectors.diagnose.cohorts.association import Contrast, Counts, contrast, wholes
from collectors.diagnose.cohorts.cells import OTHERS, Cells, Codes, Floats, Member, merged, summed


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value or pair and how it differs from the rest; see `association.Effect`."""

    member: Member
    z_risk: float
    z_ratio: float
    risk: float
    ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """What is left of a population once some attributes are summed away."""

    codes: dict[int, Codes]
    strata: Codes
    sums: tuple[Floats, Floats, Floats]

    def counts(self, *attributes: int) -> tuple[Counts, tuple[int, ...]]:
        """By stratum and value, or by stratum and pair of values; and how many values each has."""
        shape = (_width(self.strata), *(_width(self.codes[a]) for a in attributes))
        key = self.strata
        for a, width in zip(attributes, shape[1:], strict=True):
            key = key * width + self.codes[a]
        size = int(np.prod(shape))
        table = (summed(key, x, size).reshape(shape[0], -1) for x in self.sums)
        return Counts(*table), shape[1:]

    def without(self, attribute: int) -> _Frame:
        """The same population, which no longer knows this attribute."""
        kept = {a: codes for a, codes in self.codes.items() if a != attribute}
        key = merged([self.strata, *kept.values()], self.strata.size)
        first = np.zeros(_width(key), dtype=np.int64)
        first[key] = np.arange(key.size)
        sums = tuple(summed(key, x, first.size) for x in self.sums)
        codes = {a: c[first] for a, c in kept.items()}
        return _Frame(codes, self.strata[first], (sums[0], sums[1], sums[2]))


def candidates(
    cells: Cells, strata: Codes, support: tuple[int, int], least: float, values: int = 2
) -> tuple[int, list[Candidate]]:
    """How many could be compared, and those whose risk or ratio is at least so large.

    `support` is how many requests, and marked ones among them, a candidate has in strata that hold others
    too. `values` 1 leaves out the pairs.
    """
    tests, found = 0, []
    whole = wholes(cells, strata)
    for attributes, widths, table in _tables(cells, strata, values):
        numbers = contrast(table, whole)
        enough = (numbers.count >= support[0]) & (numbers.marked >= support[1])
        tests += int(enough.sum())
        large = np.flatnonzero(enough & ((numbers.risk >= least) | (numbers.ratio >= least)))
        codes = np.transpose(np.unravel_index(large, widths))
        members = [tuple(zip(attributes, map(int, at), strict=True)) for at in codes]
        found += [_candidate(m, numbers, int(k)) for m, k in zip(members, large, strict=True)]
    return tests, [c for c in found if not _rarest(cells, c.member)]


def _tables(
    cells: Cells, strata: Codes, values: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], Counts]]:
    varied = {a: codes for a, codes in enumerate(cells.codes) if codes.size and codes.min() < codes.max()}
    frame = _Frame(varied, strata, (cells.count, cells.marked, cells.total))
    for last in sorted(varied, key=lambda a: -_width(varied[a])):
        for others in [(), *((a,) for a in frame.codes if a != last and values > 1)]:
            table, widths = frame.counts(*others, last)
            yield (*others, last), widths, table
        frame = frame.without(last) if values > 1 else frame


def _candidate(member: Member, numbers: Contrast, k: int) -> Candidate:
    figures = (numbers.z_risk, numbers.z_ratio, numbers.risk, numbers.ratio)
    return Candidate(tuple(sorted(member)), *(float(x[k]) for x in figures))


def _rarest(cells: Cells, member: Member) -> bool:
    return any(cells.attributes[a].values[code] == OTHERS for a, code in member)


def _width(codes: Codes) -> int:
    return int(codes.max(initial=-1)) + 1
