"""Prometheus's unit-test series notation: `0x10 100x20`, `1+2x3`, `_` for a missing sample.

Source: prometheus.io, "Unit testing for rules", and promql/parser/generated_parser.y. `axn` and `a+bxn` are
n + 1 samples (the first, then n more); `_xn` is n missing ones. `stale` is missing here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf|nan"
_MISSING = re.compile(r"_(?:x(?P<times>\d+))?|stale", re.IGNORECASE)
_SAMPLES = re.compile(
    rf"(?P<first>[+-]?(?:{_NUMBER}))(?:(?P<step>[+-](?:{_NUMBER}))?x(?P<times>\d+))?", re.IGNORECASE
)


def expand(notation: str) -> list[float | None]:
    """The samples, one an interval; None for a missing one. Raises ValueError."""
    return [sample for item in notation.split() for sample in _item(item)]


def _item(item: str) -> Iterator[float | None]:
    if missing := _MISSING.fullmatch(item):
        yield from [None] * int(missing["times"] or 1)
        return
    samples = _SAMPLES.fullmatch(item)
    if samples is None:
        raise ValueError(f"{item!r} is no series notation. Write 1, 1x5, 1+2x5, 1-2x5, _, _x5 or stale")
    for k in range(int(samples["times"] or 0) + 1):
        yield float(samples["first"]) + k * float(samples["step"] or 0)
