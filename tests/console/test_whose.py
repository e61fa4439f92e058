"""Whose requests are slow, on the console: the box, the chart's points, and the ranking on the screen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from collectors.diagnose.cohorts.measures import Selection
from collectors.scoping import Scoped
from collectors.store.delta import DeltaWriter
from console import diagnosis
from console.views import whose
from console.views.frame import Frame
from tests.console.conftest import EVIL, NOW, _draw, desk_on, fill, requests

Corners = tuple[str, str, float, float]
STRETCH = (NOW - timedelta(minutes=15), NOW)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One adapter of two, with a name that is no markup, waits ten times as long for its first token."""
    fill(tmp_path / "metrics", trouble=False)
    made = [
        replace(r, request_id=f"other-{k}", adapter=f"slow{EVIL}", ttft_ms=3000.0 + k, e2e_ms=4000.0)
        if k % 2
        else replace(r, request_id=f"other-{k}", ttft_ms=60.0 + k % 7)
        for k, r in enumerate(requests(trouble=False))
    ]
    root = tmp_path / "store"
    fill(root, trouble=False)
    DeltaWriter(str(root)).append("requests", made)
    return root


@pytest.mark.parametrize(
    ("picked", "zone", "expected"),
    [
        ({}, "UTC", None),
        ({"box": []}, "UTC", None),
        (
            {"box": [{"x": ["2026-11-21 07:29:00", "2026-11-21 07:20:00.500"], "y": [900, 100.5]}]},
            "UTC",
            ("07:20:00.500", "07:29:00", 100.5, 900.0),
        ),
        (
            {"box": [{"x": ["2026-11-21 16:20:00", "2026-11-21 16:29:00"], "y": [1, 2]}]},
            "Asia/Tokyo",
            ("07:20:00", "07:29:00", 1.0, 2.0),
        ),
    ],
    ids=["nothing drawn", "cleared", "drawn from below", "in Tokyo's wall time"],
)
def test_a_box_is_times_and_latencies(
    picked: dict[str, Any], zone: str, expected: tuple[str, str, float, float] | None
) -> None:
    found = whose.box(picked, replace(Frame(NOW), zone=zone))
    if expected is None:
        assert found is None
        return
    since, until, low, high = expected
    assert found == Selection(low, high, at(since), at(until))


def at(time: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-21T{time}").replace(tzinfo=UTC)


def test_the_slowest_are_always_on_the_chart(root: Path) -> None:
    found = diagnosis.points(desk_on(root), *STRETCH, "ttft_ms")
    assert isinstance(found, list)
    assert max(ms for _, ms, _ in found) == 3000.0 + 599
    assert len({name for _, _, name in found}) == len(found) <= 2000


def test_a_cohort_is_named(root: Path) -> None:
    found = diagnosis.whose(desk_on(root), STRETCH, "ttft_ms", Selection(above=1000.0))
    assert isinstance(found, Scoped)
    [first, *_] = whose.rows(found.scope)
    assert first[0] == f"adapter=slow{EVIL}"
    assert first[2] == "100%"


def test_the_screen_ranks_only_when_asked(root: Path) -> None:
    kwargs = {"screen": "slow", "desk": desk_on(root), "frame": Frame(NOW, live=False)}
    test = AppTest.from_function(_draw, default_timeout=120, kwargs=kwargs).run()
    assert "Cohorts, strongest first" not in said(test)
    test.toggle(key="whose").set_value(True).run()
    assert "A cohort" in said(test)
    assert "Cohorts, strongest first" in said(test)
    assert EVIL not in said(test)


def said(test: AppTest) -> str:
    assert not test.exception, [e.message for e in test.exception]
    return "\n".join(e.proto.body for e in test.get("html"))
