"""How traffic rises and falls inside a phase, and when sessions arrive under it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from collectors.validation import Strict

RELEASE_RAMP_S = 900.0  # a release reaches its peak 15 minutes after the books go on sale


class Shape(Strict):
    """A phase's rate over time, as a multiple of its `sessions_per_s`.

    - `steady`: 1 throughout.
    - `release`: from 1 to `factor` (3.5) in `ramp_s` (900 s), then holds.
    - `step`: `steps` (4) equal stairs from 1 to `factor` (4): to find the knee. One step is a plain jump.
    - `night`: down to `factor` (0.1) in the middle and back, without a corner.

    `ramp_s` counts the plan's own seconds, before any time scale.
    """

    kind: Literal["steady", "release", "step", "night"] = "steady"
    factor: float | None = Field(default=None, gt=0, le=100)
    ramp_s: float = Field(default=RELEASE_RAMP_S, gt=0)
    steps: int = Field(default=4, ge=1, le=100)


def named(value: object) -> object:
    """A bare name such as `release` is that shape with its defaults."""
    return {"kind": value} if isinstance(value, str) else value


AnyShape = Annotated[Shape, BeforeValidator(named)]
FACTORS: Mapping[str, float] = {"steady": 1.0, "release": 3.5, "step": 4.0, "night": 0.1}


def multiple(shape: Shape, at_s: float, length_s: float) -> float:
    """The shape's rate, as a multiple, `at_s` seconds into a phase of `length_s`."""
    factor = FACTORS[shape.kind] if shape.factor is None else shape.factor
    return 1 + (factor - 1) * _risen(shape, at_s, length_s)


def peak(shape: Shape) -> float:
    """The largest multiple that the shape can reach."""
    return max(1.0, FACTORS[shape.kind] if shape.factor is None else shape.factor)


def arrivals(rate: Callable[[float], float], most: float, length_s: float, rng: Random) -> Iterator[float]:
    """Arrival times in [0, length_s) of a Poisson process with `rate` per second, never above `most`.

    Open loop: nobody waits for an answer before they come. By thinning (Lewis and Shedler, 1979).
    """
    at_s = rng.expovariate(most) if most > 0 else math.inf
    while at_s < length_s:
        if rng.random() * most < rate(at_s):
            yield at_s
        at_s += rng.expovariate(most)


def _risen(shape: Shape, at_s: float, length_s: float) -> float:
    """How far a shape has gone from 1 (0) to its factor (1)."""
    match shape.kind:
        case "release":
            return min(1.0, at_s / shape.ramp_s)
        case "step":
            stair = min(shape.steps - 1, int(at_s / length_s * shape.steps))
            return stair / (shape.steps - 1) if shape.steps > 1 else 1.0
        case "night":
            return (1 - math.cos(math.tau * at_s / length_s)) / 2
        case "steady":
            return 0.0
