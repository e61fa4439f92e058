"""Incidents on the console: the list, one opened, what people say of it, its postmortem's draft."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from collectors.diagnose.postmortem import draft
from collectors.model import EventFact
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.incidents import NOTE, incidents, notes
from console import diagnosis
from console.views import incidents as views
from console.views.frame import Frame
from tests.console.conftest import EVIL, NOW, desk_on, fill

START = NOW - timedelta(minutes=6)


def incident(name: str = "inc-1", **changed: Any) -> dict[str, Any]:
    harm = {"requests": 500, "requests_hurt": 321, "requests_failed": 4, "user_seconds": 1234.5}
    told = {
        "id": name,
        "start": START.timestamp(),
        "end": None,
        "detected": START.timestamp() + 40,
        "cause": "prefix_cache_broken",
        "component": f"prompt_version=v43{EVIL}",
        "scope": "systemic",
        "severity": "warning",
        "confidence": 0.95,
        "sentence": f"The prompt prefix is no longer found in the cache (v43{EVIL}).",
        "harm": harm,
        "alerts": [{"rule": "high_ttft", "component": "", "fired": START.timestamp() + 60}],
        "evidence": [{"what": f"prefill{EVIL}", "value": 88.2, "usual": 37.9, "unit": "ms", "count": 140}],
        "consequences": ["capacity_short"],
        "alternatives": [{"cause": "decode_slow", "component": None, "score": 0.55}],
        "changes": [
            {"at": START.timestamp(), "kind": "first_seen", "subject": "prompt_version=v43", "lag_s": 0.0}
        ],
        "runbook": "prefix_cache_broken",
    }
    return told | changed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store in trouble, with one incident that lasts and one that is over."""
    fill(tmp_path / "store", trouble=True)
    over = incident("inc-0", cause="engine_stall", component="replica=engine-0", severity="critical")
    over |= {"start": START.timestamp() - 120, "end": START.timestamp() - 60, "changes": [], "alerts": []}
    tell(tmp_path / "store", over, incident())
    return tmp_path / "store"


def tell(root: Path, *told: dict[str, Any]) -> None:
    events = [EventFact(START, "incident", t["id"], "diagnose", "open", json.dumps(t)) for t in told]
    DeltaWriter(str(root)).append("events", events)


def _draw(desk, frame):  # no annotations: only its text is run, without this module
    from console.screens import now

    now.show(desk, lambda: frame)


def look(root: Path, name: str = "") -> tuple[str, AppTest]:
    """The first screen, with an incident opened where one is named."""
    desk, frame = desk_on(root), Frame(NOW, live=False)
    test = AppTest.from_function(_draw, default_timeout=60, kwargs={"desk": desk, "frame": frame})
    if name:
        test.query_params["incident"] = name
    test.run()
    assert not test.exception, [e.message for e in test.exception]
    return "\n".join(e.proto.body for e in test.get("html")), test


def test_the_first_screen_lists_them_the_lasting_one_first(root: Path) -> None:
    said, _ = look(root)
    assert "321 of 500 requests hurt, 4 failed" in said
    assert said.index("Prefix cache broken · prompt v43") < said.index("Engine stall · replica engine-0")
    assert "incident=inc-1" in said
    assert EVIL not in said


def test_one_is_opened_by_its_link(root: Path) -> None:
    said, test = look(root, "inc-1")
    for words in ("88 ms", "38 ms", "95%", "at its start", "Capacity short", "Decode slow (55%)"):
        assert words in said
    assert EVIL not in said
    assert test.get("download_button")


def test_an_unknown_id_is_said(root: Path) -> None:
    assert "There is no incident inc-9" in look(root, "inc-9")[0]


def test_what_a_person_says_is_kept_and_shown(root: Path) -> None:
    desk = desk_on(root)
    assert diagnosis.note_incident(desk, "inc-1", "acknowledged", f" on it {EVIL}", NOW) is None
    [note] = notes(DuckReader(str(root)))
    assert (note.kind, note.subject, note.before, note.after) == (
        NOTE,
        "inc-1",
        "acknowledged",
        f"on it {EVIL}",
    )
    said, _ = look(root, "inc-1")
    assert "on it" in said
    assert EVIL not in said
    assert "acknowledged" in look(root)[0]


def test_without_any_it_says_so(tmp_path: Path) -> None:
    fill(tmp_path / "store", trouble=False)
    assert "None in this range." in look(tmp_path / "store")[0]


def test_the_newest_telling_counts(root: Path) -> None:
    later = [
        EventFact(NOW, "incident", "inc-1", "diagnose", "ended", json.dumps(incident(end=NOW.timestamp())))
    ]
    DeltaWriter(str(root)).append("events", later)
    found = {i["id"]: i["end"] for i in incidents(DuckReader(str(root)))}
    assert found == {"inc-0": START.timestamp() - 60, "inc-1": NOW.timestamp()}


def test_the_span_decides_which_are_shown() -> None:
    frame = Frame(NOW, live=False)
    old = incident("old", end=(frame.since - timedelta(seconds=1)).timestamp(), start=0.0)
    future = incident("future", start=(NOW + timedelta(seconds=1)).timestamp())
    assert [i["id"] for i in views.seen([old, incident(), future], frame)] == ["inc-1"]


def test_a_draft_has_its_timeline_in_order() -> None:
    told = incident(end=START.timestamp() + 300, component="prompt_version=v43")
    text = draft(told, [(START + timedelta(seconds=90), "acknowledged", "rolling back")])
    lines = [line for line in text.splitlines() if line.startswith("- 2026")]
    assert [line.split(": ", 1)[1] for line in lines] == [
        "first_seen: prompt_version=v43",
        "it began",
        "it was detected",
        "alert high_ttft fired",
        "acknowledged: rolling back",
        "it was over",
    ]
    assert "- prefill" in text
    assert "usually 37.9" in text
