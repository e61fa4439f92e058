"""Cohorts in populations whose truth is known: what is found, what is not named, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from collectors.diagnose.cohorts.answer import Kind, Scope
from collectors.diagnose.cohorts.cells import LENGTHS, OTHERS, Attribute, Cells
from collectors.diagnose.cohorts.measures import MEASURES, Selection
from collectors.diagnose.cohorts.scope import scope
from collectors.diagnose.cohorts.selection import Limits
from collectors.diagnose.cohorts.telling import sentence
from tests.diagnose import planted
from tests.diagnose.planted import CASES, Tally, population, ranked, score

N = 6000
SLOW_MS = 1300.0
SEEDS = 12  # of each case; `python -m tests.diagnose.planted` takes two hundred
LEAST_PRECISION, LEAST_RECALL = 0.95, 0.9


# -------------------------------------------------------------------------------- planted causes
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_planted_causes_are_found_and_hardly_anything_else(case: str) -> None:
    found = score(case, SEEDS)
    assert found.precision >= LEAST_PRECISION, found
    assert found.recall >= LEAST_RECALL, found
    assert found.misled <= 0.05 * SEEDS, found


def test_an_exact_twin_is_named_beside_its_cause() -> None:
    first = ranked(population("a value with an exact twin", 3)).ranking[0]
    names = [dict(first.attributes), *map(dict, first.twins)]
    assert {"adapter": "jp_style_v1"} in names
    assert {"locale": "ja-JP"} in names


def test_a_tally_adds_up_and_knows_its_shares() -> None:
    found = Tally(planted=2, found=1, named=4, right=3, misled=1) + Tally(planted=2, found=2)
    assert (found.planted, found.precision, found.recall) == (4, 0.75, 0.75)
    assert (Tally().precision, Tally().recall) == (1.0, 1.0)


# ------------------------------------------------------------------------------------ single cases
def traffic(seed: int = 1, *, usual_ms: float = 800.0, **columns: Any) -> Cells:
    """Requests of three adapters on two replicas, all alike but for what is given."""
    rng = np.random.default_rng(seed)
    codes = {"adapter": rng.integers(1, 4, N), "replica": rng.integers(1, 3, N)}
    output = columns.get("output", np.full(N, 9))
    ms = columns.get("factor", 1.0) * usual_ms * rng.lognormal(0, 0.25, N)
    ln = np.log(ms)
    return Cells(
        (Attribute("adapter", (None, "v3", "jp", OTHERS)), Attribute("replica", (None, "e0", "e1"))),
        np.array([columns.get(name, own) for name, own in codes.items()]),
        np.array([np.full(N, 8), output]),
        np.ones(N),
        (ms > SLOW_MS).astype(float),
        ln,
        ln * ln,
    )


def column(seed: int, values: int) -> Any:
    return np.random.default_rng(seed).integers(1, values + 1, N)


ADAPTER, REPLICA = column(7, 3), column(8, 2)
SLOW_JP = np.where(ADAPTER == 2, 2.5, 1.0)
SLOW_PAIR = np.where((ADAPTER == 2) & (REPLICA == 1), 2.5, 1.0)
JP_ONLY: list[Mapping[str, str]] = [{"adapter": "jp"}]
SOME = np.where(np.arange(N) % 200 == 0, 5.0, 1.0)
SCOPES: dict[str, tuple[Cells, Cells | None, Kind, list[Mapping[str, str]]]] = {
    "one adapter is slow": (
        traffic(adapter=ADAPTER, factor=SLOW_JP),
        traffic(2),
        Kind.COHORT,
        JP_ONLY,
    ),
    "one adapter is slow, and nothing is known of the past": (
        traffic(adapter=ADAPTER, factor=SLOW_JP),
        None,
        Kind.COHORT,
        JP_ONLY,
    ),
    "an adapter on one replica": (
        traffic(adapter=ADAPTER, replica=REPLICA, factor=SLOW_PAIR),
        traffic(2),
        Kind.COHORT,
        [{"adapter": "jp", "replica": "e0"}],
    ),
    "the values of no name are accused of nothing": (
        traffic(adapter=ADAPTER, factor=np.where(ADAPTER == 3, 2.5, 1.0)),
        traffic(2),
        Kind.SYSTEMIC,
        [],
    ),
    "all are slow": (traffic(factor=2.5), traffic(2), Kind.SYSTEMIC, []),
    "all are slow, and nothing is known of the past": (traffic(factor=3.0), None, Kind.SYSTEMIC, []),
    "all are slow, one adapter even more": (
        traffic(adapter=ADAPTER, factor=2.0 * SLOW_JP),
        traffic(2),
        Kind.SYSTEMIC,
        JP_ONLY,
    ),
    "single requests": (traffic(factor=SOME), traffic(2, factor=SOME), Kind.ISOLATED, []),
    "single requests, and nothing is known of the past": (traffic(factor=SOME), None, Kind.ISOLATED, []),
    "an adapter that always was slow": (
        traffic(adapter=ADAPTER, factor=SLOW_JP),
        traffic(2, adapter=ADAPTER, factor=SLOW_JP),
        Kind.ISOLATED,
        [],
    ),
    "too few are slow": (traffic(usual_ms=300.0), traffic(2), Kind.UNDETERMINED, []),
    "a baseline without requests is none": (
        traffic(factor=3.0),
        traffic().only(np.zeros(N, dtype=np.bool_)),
        Kind.SYSTEMIC,
        [],
    ),
    "nobody asked": (traffic().only(np.zeros(N, dtype=np.bool_)), None, Kind.UNDETERMINED, []),
}


def check(now: Cells, usual: Cells | None, kind: Kind, cohorts: list[Mapping[str, str]]) -> Scope:
    found = scope(now, usual, LENGTHS)
    assert (found.kind, [dict(c.attributes) for c in found.ranking]) == (kind, cohorts)
    return found


@pytest.mark.parametrize(("now", "usual", "kind", "cohorts"), SCOPES.values(), ids=SCOPES)
def test_a_scope_is_told(
    now: Cells, usual: Cells | None, kind: Kind, cohorts: list[Mapping[str, str]]
) -> None:
    check(now, usual, kind, cohorts)


def test_the_effect_is_what_was_planted_and_lies_in_its_interval() -> None:
    now = traffic(adapter=ADAPTER, factor=SLOW_JP)
    (cohort,) = scope(now, traffic(2), LENGTHS).ranking
    assert cohort.effect is not None
    assert cohort.effect.ratio_low < 2.5 < cohort.effect.ratio_high
    assert cohort.effect.risk_low < cohort.effect.risk < cohort.effect.risk_high
    assert (cohort.count, cohort.marked) == ((ADAPTER == 2).sum(), now.marked[ADAPTER == 2].sum())
    assert cohort.share > 0.95
    assert cohort.p < 1e-6
    assert cohort.usual is not None
    assert 0.9 < cohort.usual.ratio < 1.1


def test_what_always_was_slow_is_named_as_that() -> None:
    now, usual = traffic(adapter=ADAPTER, factor=SLOW_JP), traffic(2, adapter=ADAPTER, factor=SLOW_JP)
    assert [dict(c.attributes) for c in scope(now, usual, LENGTHS).as_usual] == JP_ONLY


def test_longer_answers_are_told_apart_from_slowness() -> None:
    longer = np.where(ADAPTER == 2, 12, column(9, 2) + 8)
    now = traffic(adapter=ADAPTER, output=longer, factor=np.sqrt(2.0) ** (longer - 9))
    found = scope(now, traffic(2), LENGTHS)
    assert (found.kind, found.ranking) == (Kind.COHORT, ())
    (cohort,) = found.workload
    assert (dict(cohort.attributes), cohort.through) == ({"adapter": "jp"}, ("output_tokens",))
    assert cohort.effect is None  # nobody else writes such answers
    told = sentence(found, MEASURES["e2e_ms"], Selection(above=SLOW_MS))
    assert told.endswith("as often as the rest because of longer answers.")


def test_longer_answers_with_others_as_long_have_no_effect_left() -> None:
    longer = np.where(np.random.default_rng(3).random(N) < np.where(ADAPTER == 2, 0.8, 0.05), 12, 9)
    now = traffic(adapter=ADAPTER, output=longer, factor=np.sqrt(2.0) ** (longer - 9))
    (cohort,) = scope(now, traffic(2), LENGTHS).workload
    assert cohort.effect is not None
    assert cohort.whatever_lengths is not None
    assert cohort.effect.ratio_low < 1.02
    assert cohort.whatever_lengths.ratio_low > 1.5


def test_what_came_with_a_fault_that_hit_all_is_named() -> None:
    old, new = traffic(2, adapter=np.full(N, 1)), traffic(adapter=np.full(N, 2), factor=2.5)
    found = check(new, old, Kind.SYSTEMIC, [])
    assert [(dict(c.attributes), c.share) for c in found.came] == [({"adapter": "jp"}, 1.0)]


def test_a_selection_that_is_quicker_than_the_rest_is_ranked_as_well() -> None:
    quick = traffic(adapter=ADAPTER, factor=np.where(ADAPTER == 2, 0.4, 1.0))
    boxed = replace(quick, marked=(np.exp(quick.total) < 400).astype(float))
    found = scope(boxed, None, LENGTHS, Limits(slower=False))
    assert [dict(c.attributes) for c in found.ranking] == JP_ONLY
    assert scope(boxed, None, LENGTHS).ranking == ()


def test_cells_that_are_summed_give_the_same_answer() -> None:
    now = traffic(adapter=ADAPTER, factor=SLOW_JP)
    twice = replace(now, **{name: 2 * getattr(now, name) for name in ("count", "marked", "total", "squares")})
    halves = Cells(
        now.attributes,
        np.hstack([now.codes, now.codes]),
        np.hstack([now.lengths, now.lengths]),
        *(np.hstack([x, x]) for x in (now.count, now.marked, now.total, now.squares)),
    )
    (one,), (other,) = (scope(cells, None, LENGTHS).ranking for cells in (twice, halves))
    assert (one.attributes, one.count, one.marked) == (other.attributes, other.count, other.marked)
    assert one.effect is not None
    assert other.effect is not None
    assert one.effect.ratio_low == pytest.approx(other.effect.ratio_low)


def test_the_generator_draws_the_same_population_again() -> None:
    once, again = (population("a pair", 5) for _ in range(2))
    assert once.causes == again.causes
    assert (once.e2e_ms == again.e2e_ms).all()
    assert not population("nothing", 5).causes
    assert set(planted.VALUES) >= {name for cause in once.causes for name, _ in cause}
