"""What the ranking answers: a scope with its cohorts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from collectors.diagnose.cohorts.association import Effect


class Kind(StrEnum):
    """How far slowness reaches."""

    ISOLATED = "isolated"  # single requests; no attribute explains them, and others are as quick as usual
    COHORT = "cohort"  # the requests of a value or a pair of values
    SYSTEMIC = "systemic"  # all kinds of requests; what is ranked explains less than half of it
    UNDETERMINED = "undetermined"  # too few requests


@dataclass(frozen=True, slots=True)
class Cohort:
    """The requests of one value, or of a pair of values, that are marked (slow) more often than the rest.

    `effect` is at the same lengths and with the other cohorts held constant; None where nobody else has such
    lengths. `whatever_lengths` is without regard to lengths; `usual` is `effect` in the baseline, None where
    the cohort was not there. `p` is over all comparisons. `share` is of all marked requests.
    `through` names the lengths that explain the whole effect, `twins` cohorts that cannot be told apart.
    """

    attributes: Mapping[str, str | None]
    count: int
    marked: int
    share: float
    effect: Effect | None
    whatever_lengths: Effect | None
    usual: Effect | None
    p: float
    through: tuple[str, ...] = ()
    twins: tuple[Mapping[str, str | None], ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Came:
    """A value that hardly was there in the baseline, and now has this share of the requests."""

    attributes: Mapping[str, str | None]
    share: float


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose requests are slow.

    `ranking` is at the same lengths, strongest first; `workload` are cohorts that are slow only because their
    prompts or answers are longer; `as_usual` are cohorts that were as slow in the baseline. `raised` compares
    with the baseline, and `raised_at_lengths` does so at the same lengths: None without a baseline.
    """

    kind: Kind
    count: int
    marked: int
    usual_share: float | None
    lengths: tuple[str, ...]
    ranking: tuple[Cohort, ...] = ()
    workload: tuple[Cohort, ...] = ()
    as_usual: tuple[Cohort, ...] = ()
    came: tuple[Came, ...] = ()
    raised: Effect | None = None
    raised_at_lengths: Effect | None = None
    examples: tuple[str, ...] = ()
