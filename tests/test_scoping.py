"""Whose requests were slow in the bundled drill, phase by phase."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.diagnose.cohorts.answer import Kind
from collectors.diagnose.cohorts.measures import Selection
from collectors.diagnose.cohorts.telling import sentence
from collectors.scoping import EXAMPLES, MEASURES, Scoped, scope_of
from collectors.store.duckdb import DuckReader
from tests.recordings import at_second, replayed

BASELINE = (at_second(0), at_second(70))
RUNAWAY, PREFIX, OVERSIZE = (350, 405), (70, 140), (405, 510)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> DuckReader:
    return DuckReader(str(replayed(tmp_path_factory)))


def asked(
    reader: DuckReader, phase: tuple[int, int], measure: str, chosen: Selection | None = None
) -> Scoped:
    span = (at_second(phase[0]), at_second(phase[1]))
    return scope_of(reader, span, BASELINE, MEASURES[measure], chosen)


def check(found: Scoped, kind: Kind, ranking: list[dict[str, str]], workload: list[dict[str, str]]) -> None:
    """Kind and cohorts, each with requests to open."""
    s = found.scope
    assert s.kind is kind
    assert [c.attributes for c in s.ranking] == ranking
    assert [c.attributes for c in s.workload] == workload
    assert all(len(c.examples) == EXAMPLES for c in (*s.ranking, *s.workload))


def test_a_runaway_adapter_is_slow_because_its_answers_are_longer(reader: DuckReader) -> None:
    found = asked(reader, RUNAWAY, "e2e_ms")
    check(found, Kind.COHORT, [], [{"adapter": "manga_domain_v4"}])
    (cohort,) = found.scope.workload
    assert cohort.through == ("output_tokens",)
    assert cohort.usual is None  # it was not there
    assert cohort.effect is not None
    assert cohort.whatever_lengths is not None
    assert cohort.effect.ratio < 1.1
    assert cohort.whatever_lengths.ratio > 3
    assert sentence(found.scope, found.measure, found.chosen).startswith("A cohort: ")


def test_it_writes_no_slower_than_others(reader: DuckReader) -> None:
    found = asked(reader, RUNAWAY, "tpot_ms").scope
    assert {"adapter": "manga_domain_v4"} not in [c.attributes for c in (*found.ranking, *found.workload)]


def test_a_prompt_version_that_broke_the_prefix_cache_is_found(reader: DuckReader) -> None:
    found = asked(reader, PREFIX, "ttft_ms")
    check(found, Kind.COHORT, [{"prompt_version": "v43"}], [])
    assert [c.attributes for c in found.scope.came] == [{"prompt_version": "v43"}]


def test_prompts_beyond_the_window_fail_for_all(reader: DuckReader) -> None:
    found = asked(reader, OVERSIZE, "failed")
    assert found.chosen == Selection(above=0.0)
    assert (found.scope.kind, found.scope.marked > 40) == (Kind.SYSTEMIC, True)


def test_without_a_baseline_slow_is_what_one_in_twenty_was(reader: DuckReader) -> None:
    found = scope_of(reader, (at_second(0), at_second(510)), None, MEASURES["e2e_ms"])
    assert found.scope.usual_share is None
    assert found.scope.marked == pytest.approx(0.05 * found.scope.count, rel=0.01)


def test_a_box_on_a_chart_is_compared_with_the_rest(reader: DuckReader) -> None:
    # the runaway adapter's answers, drawn around by hand
    box = Selection(6000.0, 20_000.0, at_second(360), at_second(400))
    found = asked(reader, (0, 510), "e2e_ms", box).scope
    cohorts = [c.attributes for c in (*found.ranking, *found.workload)]
    assert {"adapter": "manga_domain_v4"} in cohorts


def test_a_span_without_requests_is_undetermined(reader: DuckReader) -> None:
    span = (at_second(-7200), at_second(-3600))
    found = scope_of(reader, span, (span[0] - timedelta(hours=1), span[0]), MEASURES["ttft_ms"])
    assert (found.scope.kind, found.scope.count, found.chosen) == (Kind.UNDETERMINED, 0, None)
    assert "too few" in sentence(found.scope, found.measure, found.chosen)
