"""What an engine's facts prove about a prefix that was not found again, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.diagnose.prefix.cost import Cohort, Sums, cost, lost_tokens, ms_per_token
from collectors.diagnose.prefix.reasons import Seen, Sure, reasons

CASES: dict[str, tuple[Seen, list[tuple[str, Sure]]]] = {
    "nothing is known": (Seen(), []),
    "a prefix in every request": (
        Seen(requests=50, distinct_prefixes=50, parted_as="timestamp@0"),
        [("prompt_changes", Sure.PROVEN)],
    ),
    "one prefix": (Seen(requests=50, distinct_prefixes=1), []),
    "a prefix within a block": (
        Seen(block_tokens=16, prefix_tokens=12),
        [("shorter_than_a_block", Sure.PROVEN)],
    ),
    "a prefix of a block": (Seen(block_tokens=16, prefix_tokens=16), []),
    "another adapter": (Seen(adapters=("manga_v3", "manga_v4")), [("other_adapter", Sure.PROVEN)]),
    "an adapter that is not known": (Seen(adapters=("manga_v3", None)), []),
    "another salt": (Seen(salts=(None, "tenant-7")), [("other_salt", Sure.PROVEN)]),
    "nothing is looked up": (Seen(cache_queries=0, cache_hits=0), [("caching_off", Sure.PROVEN)]),
    "nothing is ever found": (Seen(cache_queries=9000, cache_hits=0), [("caching_off", Sure.PROBABLE)]),
    "some is found": (Seen(cache_queries=9000, cache_hits=10), []),
    "a restart": (Seen(restarts=1), [("restart", Sure.PROVEN)]),
    "a new replica": (Seen(replicas_first_seen=2), [("cold_replica", Sure.PROBABLE)]),
    "a full cache": (Seen(kv_usage_ratio=1.0), [("evicted", Sure.PROBABLE)]),
    "a full cache that serves the others": (
        Seen(kv_usage_ratio=1.0, cached_elsewhere=True),
        [("prompt_changes", Sure.PROBABLE)],
    ),
    "a full cache and a restart": (
        Seen(kv_usage_ratio=1.0, restarts=1),
        [("restart", Sure.PROVEN), ("evicted", Sure.PROBABLE)],
    ),
    "a changing prompt beside others that are found": (
        Seen(requests=50, distinct_prefixes=50, cached_elsewhere=True),
        [("prompt_changes", Sure.PROVEN)],
    ),
}


def check(seen: Seen, expected: list[tuple[str, Sure]]) -> None:
    found = reasons(seen)
    assert [(r.name, r.sure) for r in found] == expected
    assert all(r.words for r in found)


@pytest.mark.parametrize("name", CASES)
def test_a_reason_is_proven_or_said_to_be_probable(name: str) -> None:
    check(*CASES[name])


def test_a_loss_is_told_per_request_and_per_hour() -> None:
    found = cost(900.0, 0.08, 60_000.0)
    assert [found.prefill_ms, found.ttft_ms] == pytest.approx([72.0, 72.0])
    assert [found.tokens_per_h, found.prefill_ms_per_h] == pytest.approx([54e6, 72.0 * 60_000])


def test_without_a_measured_prefill_times_are_unknown() -> None:
    found = cost(900.0, None, 10.0)
    assert (found.prefill_ms, found.ttft_ms, found.prefill_ms_per_h) == (None, None, None)
    assert found.tokens_per_h == 9000


def sums(points: list[tuple[float, float]]) -> Sums:
    return Sums(
        len(points),
        sum(x for x, _ in points),
        sum(y for _, y in points),
        sum(x * x for x, _ in points),
        sum(x * y for x, y in points),
    )


@given(st.floats(0.001, 10), st.floats(0, 100), st.lists(st.integers(0, 4000), min_size=20, unique=True))
def test_the_time_of_a_token_is_the_slope(slope: float, fixed: float, tokens: list[int]) -> None:
    found = ms_per_token(sums([(x, fixed + slope * x) for x in tokens]))
    assert found == pytest.approx(slope, rel=1e-3, abs=1e-3)


UNTOLD = {
    "too few": [(float(x), float(x)) for x in range(19)],
    "all alike": [(100.0, 8.0)] * 50,
    "less time for more tokens": [(float(x), 100.0 - x) for x in range(50)],
    "none": [],
}


@pytest.mark.parametrize("name", UNTOLD)
def test_requests_that_tell_nothing_give_no_time(name: str) -> None:
    assert ms_per_token(sums(UNTOLD[name])) is None


def test_a_loss_is_weighed_by_the_requests_of_each_length() -> None:
    assert lost_tokens([Cohort(30, 16, 944), Cohort(10, 16, 1936)]) == (30 * 928 + 10 * 1920) / 40
    assert lost_tokens([]) is None
