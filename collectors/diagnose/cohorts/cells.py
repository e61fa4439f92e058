"""A population as exact counts: a cell for each combination of attributes and lengths that occurs in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Member = tuple[
    tuple[int, int], ...
]  # (attribute, code): one pair of numbers is a value, two a pair of values

LENGTHS = ("prompt_tokens", "output_tokens")
OTHERS = "(others)"  # the rarest values of an attribute that has very many; accused of nothing
ROOM = 1 << 16  # so many codes, and 8 a cell, are counted by index; beyond that sorting is quicker


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column by which requests are told apart; a code is the place of its value, None is "not known"."""

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Counts and sums by cell; two cells may be of the same combination.

    `codes` is attribute × cell, `lengths` LENGTHS × cell (numbers of buckets of tokens). `marked` counts
    the requests that are asked about, the slow ones mostly; `total` and `squares` add ln(ms) and its square.
    """

    attributes: tuple[Attribute, ...]
    codes: Codes
    lengths: Codes
    count: Floats
    marked: Floats
    total: Floats
    squares: Floats

    def inside(self, member: Member) -> Mask:
        """Which cells belong to a value or pair."""
        found = np.ones(self.count.size, dtype=np.bool_)
        for attribute, code in member:
            found &= self.codes[attribute] == code
        return found

    def only(self, chosen: Mask) -> Cells:
        """These cells alone."""
        sums = (each[chosen] for each in (self.count, self.marked, self.total, self.squares))
        return Cells(self.attributes, self.codes[:, chosen], self.lengths[:, chosen], *sums)

    def beside(self, other: Cells) -> Cells:
        """Both populations in one, told apart by lengths alone: their codes mean different values."""
        sums = zip(
            (self.count, self.marked, self.total, self.squares),
            (other.count, other.marked, other.total, other.squares),
            strict=True,
        )
        lengths = np.hstack([self.lengths, other.lengths])
        none = np.zeros((0, lengths.shape[1]), dtype=np.int64)
        return Cells((), none, lengths, *(np.concatenate(pair) for pair in sums))

    def strata(self, lengths: Sequence[str], held: Sequence[Member] = ()) -> Codes:
        """By cell: a number that is the same for equal lengths and equal membership in what is held."""
        parts = [self.lengths[LENGTHS.index(name)] for name in lengths]
        return merged([*parts, *(self.inside(member).astype(np.int64) for member in held)], self.count.size)

    def named(self, member: Member) -> dict[str, str | None]:
        """A value or pair in words: attribute to value."""
        return {self.attributes[a].name: self.attributes[a].values[code] for a, code in member}

    def member(self, named: Mapping[str, str | None]) -> Member | None:
        """The way back from words; None where a value does not occur here."""
        places = {each.name: k for k, each in enumerate(self.attributes)}
        known = {n: v for n, v in named.items() if n in places and v in self.attributes[places[n]].values}
        if len(known) < len(named):
            return None
        return tuple((places[n], self.attributes[places[n]].values.index(v)) for n, v in known.items())


def merged(parts: Sequence[Codes], size: int) -> Codes:
    """One code, from 0 without gaps, for every combination of these that occurs; without parts all are 0."""
    key = np.zeros(size, dtype=np.int64)
    for part in parts if size else ():
        width = int(part.max()) + 1
        if (int(key.max()) + 1) * width > ROOM + 8 * size:
            key = _without_gaps(key)
        key = key * width + part
    return _without_gaps(key)


def summed(key: Codes, values: Floats, size: int) -> Floats:
    """The sum of the values of each code below `size`."""
    return np.asarray(np.bincount(key, values, size), dtype=np.float64)


def _without_gaps(key: Codes) -> Codes:
    if not key.size:
        return key
    if int(key.max()) > ROOM + 8 * key.size:
        return np.asarray(np.unique(key, return_inverse=True)[1], dtype=np.int64)
    places = np.cumsum(np.bincount(key) > 0) - 1
    return np.asarray(places[key], dtype=np.int64)
