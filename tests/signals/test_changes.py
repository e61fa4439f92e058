"""Changes are first sights: what was there when we began to look is none, and each is told once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.model import RequestFact
from collectors.signals.changes import (
    FIRST_SEEN,
    PRESENT_AT_START,
    RETURNED,
    Seen,
    changes,
    family,
    predecessor,
    release,
)

T = datetime(2026, 11, 1, tzinfo=UTC)


def request(second: float, **columns: Any) -> RequestFact:
    return RequestFact(T + timedelta(seconds=second), f"r{second}", "gateway", **columns)


def check(requests: list[RequestFact], expected: list[tuple[float, str, str, str | None]]) -> Seen:
    """The events as (second, kind, subject, before), and what is remembered after them."""
    seen, events = changes(Seen(), requests)
    assert [((e.at - T).total_seconds(), e.kind, e.subject, e.before) for e in events] == expected
    return seen


def test_what_appears_while_settling_was_there_before() -> None:
    check(
        [request(0, adapter="a_v1"), request(59, adapter="b_v1"), request(60, adapter="c_v1")],
        [
            (0, PRESENT_AT_START, "adapter=a_v1", None),
            (59, PRESENT_AT_START, "adapter=b_v1", None),
            (60, FIRST_SEEN, "adapter=c_v1", None),
        ],
    )


def test_a_version_is_told_once_with_the_one_before_it() -> None:
    versions = ("v1", "v1", "v2", "v1", "v3", "v2")
    check(
        [request(100 * k, prompt_version=v) for k, v in enumerate(versions)],
        [
            (0, PRESENT_AT_START, "prompt_version=v1", None),
            (200, FIRST_SEEN, "prompt_version=v2", "v1"),
            (400, FIRST_SEEN, "prompt_version=v3", "v1"),
        ],
    )


def test_a_version_that_comes_back_after_another_took_its_place_is_a_change() -> None:
    sights = ((0, "v1"), (100, "v2"), (2000, "v1"), (2001, "v2"), (2002, "v1"))
    check(
        [request(second, prompt_version=v) for second, v in sights],
        [
            (0, PRESENT_AT_START, "prompt_version=v1", None),
            (100, FIRST_SEEN, "prompt_version=v2", "v1"),
            (2000, RETURNED, "prompt_version=v1", "v2"),
            (2001, RETURNED, "prompt_version=v2", "v1"),
        ],
    )


def test_a_quiet_night_is_no_change() -> None:
    check(
        [request(second, prompt_version="v1") for second in (0, 40_000)],
        [(0, PRESENT_AT_START, "prompt_version=v1", None)],
    )


def test_each_column_has_its_own_first_sights() -> None:
    both = {"adapter": "x_v2", "backend_version": "x_v2", "prompt_version": None}
    check(
        [request(0, adapter="x_v1"), request(100, **both)],
        [
            (0, PRESENT_AT_START, "adapter=x_v1", None),
            (100, FIRST_SEEN, "adapter=x_v2", "x_v1"),
            (100, FIRST_SEEN, "backend_version=x_v2", None),
        ],
    )


def test_a_change_happened_when_its_first_request_began() -> None:
    slow, quick = request(200, adapter="a_v2", e2e_ms=90_000.0), request(150, adapter="a_v2", e2e_ms=10.0)
    check([request(0), slow, quick], [(110, FIRST_SEEN, "adapter=a_v2", None)])


def test_nothing_is_told_of_what_is_not_known() -> None:
    seen = check([request(0), request(100)], [])
    assert seen == Seen(T, {})


Requests = st.lists(
    st.builds(
        request,
        st.integers(min_value=0, max_value=500),
        adapter=st.sampled_from(["a_v1", "a_v2", "b", None]),
        prompt_version=st.sampled_from(["v1", "v2", None]),
    ),
    max_size=12,
)


@given(Requests, st.integers(min_value=0, max_value=12))
def test_what_was_seen_in_pieces_is_what_was_seen_at_once(requests: list[RequestFact], cut: int) -> None:
    in_order = sorted(requests, key=lambda r: r.at)
    seen, events = changes(Seen(), in_order)
    between, first = changes(Seen(), in_order[:cut])
    after, rest = changes(between, in_order[cut:])
    assert (after, first + rest) == (seen, events)
    subjects = [e.subject for e in events]
    assert len(subjects) == len(set(subjects))
    assert all(e.before != e.after for e in events)


# ------------------------------------------------------------------------------------------ names
NAMES = {
    "manga_domain_v4": ("manga_domain", (4,)),
    "manga_domain-v4": ("manga_domain", (4,)),
    "manga_domain_v10": ("manga_domain", (10,)),
    "v43": ("", (43,)),
    "prompt.12": ("prompt", (12,)),
    "vllm-0.24.1": ("vllm", (0, 24, 1)),
    "0.9.2": ("", (0, 9, 2)),
    "manga_domain": ("manga_domain", ()),
    "v4_beta": ("v4_beta", ()),
    "": ("", ()),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_a_family_and_a_release(name: str) -> None:
    assert (family(name), release(name)) == NAMES[name]


# what was seen and how many minutes ago -> the predecessor of manga_v4
PREDECESSORS: dict[str, tuple[dict[tuple[str, str], int], str | None]] = {
    "none where nothing was seen": ({}, None),
    "none of another family": ({("adapter", "anime_v3"): 0}, None),
    "none of another column": ({("prompt_version", "manga_v3"): 0}, None),
    "not itself": ({("adapter", "manga_v4"): 0}, None),
    "the one seen last": ({("adapter", "manga_v3"): 9, ("adapter", "manga_v2"): 1}, "manga_v2"),
    "of two seen last, the newer release": (
        {("adapter", "manga_v9"): 1, ("adapter", "manga_v10"): 1},
        "manga_v10",
    ),
}


@pytest.mark.parametrize(("ago", "expected"), PREDECESSORS.values(), ids=PREDECESSORS)
def test_the_predecessor_is_the_version_seen_last(
    ago: dict[tuple[str, str], int], expected: str | None
) -> None:
    last = {key: T - timedelta(minutes=minutes) for key, minutes in ago.items()}
    assert predecessor("adapter", "manga_v4", last) == expected
