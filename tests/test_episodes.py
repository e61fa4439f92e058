"""Changes of state become episodes: pending since, firing since, ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.episodes import Episode, Transition, episodes

T = datetime(2026, 11, 1, tzinfo=UTC)


def at(minute: int) -> datetime:
    return T + timedelta(minutes=minute)


def changed(states: str, alert: str = "high_ttft", component: str = "") -> list[Transition]:
    """`0 pending, 5 firing`: the minute and the state of each change."""
    words = [change.split() for change in states.split(",") if change.strip()]
    return [Transition(alert, component, state, at(int(minute))) for minute, state in words]


def told(episode: Episode) -> tuple[int | None, ...]:
    """The minutes at which it began, was pending, fired and ended."""
    instants = (episode.began, episode.pending_at, episode.fired_at, episode.ended_at)
    return tuple(None if t is None else int((t - T).total_seconds() // 60) for t in instants)


def check(states: str, expected: list[tuple[int | None, ...]]) -> None:
    assert [told(e) for e in episodes(changed(states))] == expected


CASES: dict[str, tuple[str, list[tuple[int | None, ...]]]] = {
    "nothing": ("", []),
    "pending, firing, over": ("0 pending, 5 firing, 9 inactive", [(0, 0, 5, 9)]),
    "pending that never fires": ("0 pending, 3 inactive", [(0, 0, None, 3)]),
    "firing at once": ("0 firing, 2 inactive", [(0, None, 0, 2)]),
    "firing still": ("0 pending, 5 firing", [(0, 0, 5, None)]),
    "no data is an episode without a firing": ("0 no_data, 4 inactive", [(0, None, None, 4)]),
    "no data ends what fires": (
        "0 pending, 5 firing, 7 no_data, 9 inactive",
        [(0, 0, 5, 7), (7, None, None, 9)],
    ),
    "after no data all begins anew": (
        "0 no_data, 4 pending, 6 firing",
        [(0, None, None, 4), (4, 4, 6, None)],
    ),
    "no data and then firing at once": ("0 no_data, 4 firing", [(0, None, None, 4), (4, None, 4, None)]),
    "twice": ("0 firing, 2 inactive, 4 firing, 6 inactive", [(0, None, 0, 2), (4, None, 4, 6)]),
    "over before it began": ("0 inactive", []),
}


@pytest.mark.parametrize(("states", "expected"), CASES.values(), ids=CASES)
def test_changes_become_episodes(states: str, expected: list[tuple[int | None, ...]]) -> None:
    check(states, expected)


def test_alerts_and_components_are_kept_apart_and_stand_in_the_order_of_their_beginning() -> None:
    mixed = [
        *changed("0 pending, 5 firing", "kv", "replica=r2"),
        *changed("0 pending, 3 inactive", "kv", "replica=r1"),
        *changed("1 firing", "high_ttft"),
    ]
    found = episodes(sorted(mixed, key=lambda t: t.at))
    assert [(e.alert, e.component, *told(e)) for e in found] == [
        ("kv", "replica=r1", 0, 0, None, 3),
        ("kv", "replica=r2", 0, 0, 5, None),
        ("high_ttft", "", 1, None, 1, None),
    ]


def test_an_episode_lasts_until_its_end_or_until_now() -> None:
    over, lasting = episodes(changed("0 firing, 2 inactive, 4 firing"))
    assert (over.lasted_s(at(10)), lasting.lasted_s(at(10))) == (120, 360)


STATES = ("inactive", "pending", "firing", "no_data")


@given(st.lists(st.sampled_from(STATES), max_size=20))
def test_episodes_do_not_overlap_and_only_the_last_may_last(states: list[str]) -> None:
    changes = [s for k, s in enumerate(states) if s != (states[k - 1] if k else "inactive")]
    found = episodes(changed(", ".join(f"{k} {s}" for k, s in enumerate(changes))))
    assert all(e.ended_at is not None for e in found[:-1])
    for before, after in pairwise(found):
        assert before.ended_at is not None
        assert before.ended_at <= after.began
    lasting = bool(found) and found[-1].ended_at is None
    assert lasting == bool(changes and changes[-1] != "inactive")
