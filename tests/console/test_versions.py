"""Adapters and versions: each beside its predecessor, and what counts as worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.store.delta import DeltaWriter
from console import diagnosis
from console.views import versions
from console.views.frame import Frame
from console.views.versions import Version
from tests.console.conftest import EVIL, NOW, desk_on, requests

OLD = Version(
    "manga_v3", 500, NOW - timedelta(hours=1), NOW, 60.0, 90.0, 11.0, 1300.0, 4000.0, 130.0, 0.8, 0.0
)


@pytest.mark.parametrize(
    ("changed", "said", "tone"),
    [
        ({}, "as good as manga_v3", "ok"),
        (
            {"output_p50": 520.0, "e2e_p95_ms": 9000.0},
            "worse than manga_v3: total latency, longer answers",
            "bad",
        ),
        ({"cached": 0.01}, "worse than manga_v3: less cached", "bad"),
        ({"ttft_p50_ms": None}, "as good as manga_v3", "ok"),
        ({"count": 19, "output_p50": 520.0}, "not enough traffic beside manga_v3", "none"),
    ],
    ids=["the same", "longer answers", "a lost prefix", "an unknown figure", "too few requests"],
)
def test_a_version_is_held_against_the_one_before(changed: dict[str, Any], said: str, tone: str) -> None:
    new = replace(OLD, name="manga_v4", **changed)
    first, second = versions.rows([OLD, new])
    assert (first.version.name, second.version.name) == ("manga_v4", "manga_v3")
    assert versions.verdict(first) == (said, tone)
    assert versions.verdict(second) == ("no predecessor here", "none")


def test_v10_comes_after_v9_and_other_families_are_no_rivals() -> None:
    names = ["manga_v9", "manga_v10", "support_v2"]
    rows = {
        r.version.name: r.before and r.before.name
        for r in versions.rows([replace(OLD, name=n) for n in names])
    }
    assert rows == {"manga_v10": "manga_v9", "manga_v9": None, "support_v2": None}


def test_figures_are_those_of_the_span(tmp_path: Path) -> None:
    made = [replace(r, adapter=f"manga_v{3 + k % 2}") for k, r in enumerate(requests(trouble=False))]
    DeltaWriter(str(tmp_path)).append("requests", made)
    found = diagnosis.versions(desk_on(tmp_path), Frame(NOW, live=False), "adapter")
    assert isinstance(found, list)
    assert {v.name: v.count for v in found} == {"manga_v3": 300, "manga_v4": 300}
    assert all(v.cached == pytest.approx(0.75) and v.failed == 0 for v in found)


@pytest.mark.parametrize("state", ["healthy", "incident", "broken"])
def test_the_screen_is_drawn(look: Callable[..., tuple[str, object]], state: str) -> None:
    said, _ = look("versions", state)
    assert "Adapters &amp; versions" in said
    assert ("manga_domain_v3" in said) is (state != "broken")
    assert EVIL not in said
