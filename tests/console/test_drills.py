"""The Drills screen: none yet, one running, one broken off, a certificate, two beside each other."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from console import drillbook
from console.desk import Desk
from console.views import drills
from loadtests import rendering
from tests.console.conftest import EVIL, NOW
from tests.loadtests.test_drill import certified, fired, measured

Look = Callable[..., tuple[str, AppTest]]


@pytest.fixture
def folder(tmp_path: Path, desks: dict[str, Desk]) -> Path:
    """Where the desk of the healthy store looks for drills."""
    desks["drills"] = replace(desks["healthy"], drills=tmp_path)
    return tmp_path


def kept(folder: Path, name: str, **more: object) -> Path:
    (folder / name).mkdir()
    rendering.write(replace(certified(measured(fired(70))), **more), folder / name)
    return folder / name / rendering.JSON


def stepped(folder: Path, name: str, age_s: float) -> None:
    logs = folder / name / "logs"
    logs.mkdir(parents=True)
    (logs / "engine.log").write_text("up")
    os.utime(logs / "engine.log", (time.time() - age_s,) * 2)
    lines = [
        {"at": NOW.isoformat(), "do": "phase", "phase": "stall", "what": "stall"},
        {"at": NOW.isoformat(), "do": "inject", "phase": "stall", "what": "engine_stall"},
    ]
    (folder / name / "progress.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines) + '{"at": "20')


def test_without_a_drill_it_says_how_to_run_one(look: Look, folder: Path) -> None:
    said, _ = look("drills", "drills")
    assert "No drill was run yet" in said
    assert "make drill" in said
    assert list(folder.iterdir()) == []


def test_a_certificate_is_shown_whole(look: Look, folder: Path) -> None:
    kept(folder, "tiny-1", title=f"Tiny {EVIL}")
    said, _ = look("drills", "drills")
    for text in (
        "pass",
        "tiny model on a CPU",
        "Engine stall",
        "5.0 s",
        "right, in time",
        "No alert fired in a control",
    ):
        assert text in said
    for text in (
        "Was the measurement sound",
        "100 %",
        "Manga domain v3",
        "Turn 1",
        "Held 1.0 requests a second",
    ):
        assert text in said
    assert EVIL not in said


def test_what_failed_says_why(look: Look, folder: Path) -> None:
    (folder / "tiny-1").mkdir()
    rendering.write(certified(measured(fired(20))), folder / "tiny-1")
    said, _ = look("drills", "drills")
    assert "engine_stall did not fire; it had 12 s" in said
    assert "False alerts in controls: Engine stall in Control" in said
    assert "wrong or late" in said


@pytest.mark.parametrize(("age_s", "state"), [(5.0, "running"), (500.0, "broken off")])
def test_a_drill_without_a_certificate_runs_or_was_broken_off(
    look: Look, folder: Path, age_s: float, state: str
) -> None:
    stepped(folder, "tiny-1", age_s)
    said, _ = look("drills", "drills")
    assert state in said
    assert "Engine stall begins" in said


@pytest.mark.parametrize("text", ["", "{", "[]", '{"verdict": "pass"}', '{"verdict": "splendid"}'])
def test_a_certificate_that_cannot_be_read_is_no_pass(folder: Path, text: str) -> None:
    kept(folder, "tiny-1").write_text(text)
    assert [d.state for d in drillbook.read(folder, NOW)] == ["unreadable"]


def test_two_drills_stand_beside_each_other(look: Look, folder: Path) -> None:
    for name, seed in (("tiny-1", 42), ("tiny-2", 7)):
        kept(folder, name, seed=seed)
    _, test = look("drills", "drills")
    chosen = test.selectbox(key="drill").placeholder
    assert test.selectbox(key="drill").value is None, "a default would be left out of the URL"
    other = "tiny-1" if chosen == "tiny-2" else "tiny-2"
    test.selectbox(key="against").select(other).run()
    assert not test.exception
    said = "\n".join(e.proto.body for e in test.get("html"))
    assert "Beside each other" in said
    assert "+0%" in said
    assert f"seed: {7 if chosen == 'tiny-2' else 42} here" in said


def test_a_change_is_against_the_other(folder: Path) -> None:
    one = json.loads(kept(folder, "a").read_text())
    other = json.loads(kept(folder, "b").read_text())
    other["phases"][0]["ttft_p50_ms"] = 200.0
    rows = {row[0]: row[1:] for row in drills.compared(one, other)}
    assert rows["Control: TTFT P50"] == ("100 ms", "200 ms", "-50%")
    other["phases"][0]["ttft_p50_ms"] = None
    assert drills.compared(one, other)[1][1:] == ("100 ms", "no data", "–")
    other["knee"]["held"] = 2.0
    assert drills.compared(one, other)[0] == ("Requests a second that were held", "1.0", "2.0", "-50%")
