"""Series notation means what it means in `promtool test rules`."""

from __future__ import annotations

import pytest

from tests.judge.notation import expand

# The examples of prometheus.io, "Unit testing for rules", and what they leave open.
EXAMPLES = {
    "a step up": ("-2+4x3", [-2, 2, 6, 10]),
    "a step down": (" 1-2x4", [1, -1, -3, -5, -7]),
    "the same again": (" 1x4", [1, 1, 1, 1, 1]),
    "missing ones, then a stale one": (" 1 _x3 stale", [1, None, None, None, None]),
    "one missing": ("1 _ 2", [1, None, 2]),
    "zero times ten is eleven zeros, not sixteen": ("0x10", [0] * 11),
    "fractions and exponents": ("0.5 .25 1e2 1.5e-1+0.5x1", [0.5, 0.25, 100, 0.15, 0.65]),
    "a negative step of a negative start": ("-1-.5x2", [-1, -1.5, -2]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("notation", "samples"), EXAMPLES.values(), ids=EXAMPLES)
def test_a_notation_expands_to_its_samples(notation: str, samples: list[float | None]) -> None:
    assert expand(notation) == pytest.approx(samples)


@pytest.mark.parametrize("notation", ["x5", "1x", "1+x5", "1*2x3", "1 abc", "_x", "1_000", "0x1f"])
def test_anything_else_is_refused_with_what_may_be_written(notation: str) -> None:
    with pytest.raises(ValueError, match=r"is no series notation. Write 1, 1x5"):
        expand(notation)
