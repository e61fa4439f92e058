"""The bundled drill, replayed: each fault raises its own alert in its own time, and nothing else does.

What is expected stands twice: to the second in the golden file, which `make golden` rewrites, and here in
windows that follow from what was recorded (the faults' times, and each rule's window and `for` ÷ 20).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.store.duckdb import DuckReader
from collectors.store.tables import TABLES
from tests.recordings import BUNDLED, CLOCK_SCALE, ROOT, T0_S, at_second, replayed

GOLDEN = Path(__file__).parent / "golden" / "replay" / f"{BUNDLED.name}.timeline.json"
Span = tuple[float, float]
Change = dict[str, Any]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replayed drill. Read-only."""
    return replayed(tmp_path_factory)


@pytest.fixture(scope="module")
def again(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Change]]:
    """The drill replayed a second time into a copy of its store, and what the command printed."""
    copy = tmp_path_factory.mktemp("again") / "store"
    shutil.copytree(store, copy)
    return copy, timeline_of(BUNDLED, copy)


def timeline_of(recording: Path, store: Path) -> list[Change]:
    """What `mangaops replay --json` prints of a recording."""
    scale = f"{CLOCK_SCALE:g}"
    command = ["replay", str(recording), "--store", str(store), "--clock-scale", scale, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "collectors.cli", *command],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[Change] = json.loads(done.stdout)
    return found


def rendered(timeline: Sequence[Change]) -> str:
    """A timeline as the golden file holds it: a change a line, in seconds from the drill's beginning."""
    offsets = [{**change, "at": round(offset_s(change), 2)} for change in timeline]
    lines = ",\n".join(f"  {json.dumps(change)}" for change in offsets)
    return f"[\n{lines}\n]\n"


def rewritten() -> str:
    """The golden file as the code would have it now."""
    with tempfile.TemporaryDirectory() as folder:
        return rendered(timeline_of(BUNDLED, Path(folder) / "store"))


def offset_s(change: Change) -> float:
    return datetime.fromisoformat(change["at"]).timestamp() - T0_S


def check(
    timeline: Sequence[Change], alert: str, state: str, expected: Sequence[Span], component: str = ""
) -> None:
    """The alert got to the state once in each of these spans, for this component, and never else."""
    found = [c for c in timeline if (c["alert"], c["state"]) == (alert, state)]
    assert {c["component"] for c in found} <= {component}
    offsets = [offset_s(c) for c in found]
    assert [[o for o in offsets if low <= o <= high] != [] for low, high in expected] == [True] * len(
        expected
    )
    assert len(offsets) == len(expected), offsets


# -------------------------------------------------------------------------------------- the timeline
def test_the_timeline_is_as_it_was(again: tuple[Path, list[Change]]) -> None:
    assert rendered(again[1]) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("alert", "expected", "component"),
    [
        pytest.param(
            "prefix_cache_degradation", [(70, 140)], "", id="the deploy at 70 s breaks the prefix cache"
        ),
        pytest.param(
            "high_ttft", [(146, 152), (200, 206)], "", id="the full KV cache, then the burst, slow TTFT"
        ),
        pytest.param("queue_buildup", [(175, 210)], "", id="the burst from 175 to 200 s fills the queue"),
        pytest.param("preemptions", [(134, 155)], "", id="the full KV cache preempts"),
        pytest.param(
            "adapter_latency_regression",
            [(380, 405)],
            "adapter=manga_domain_v4",
            id="the adapter of 350 s answers at twice the length, and no other adapter is blamed",
        ),
        pytest.param(
            "engine_stall", [(440, 449)], "replica=engine-0", id="the engine stands still from 440 s on"
        ),
        pytest.param(
            "error_budget_burn", [(473, 500)], "", id="prompts beyond the context window from 473 s on"
        ),
        pytest.param("gpu_memory_pressure", [], "", id="the KV cache is never full for long enough"),
        pytest.param("oom_rate", [], "", id="no request runs out of memory"),
        pytest.param("rejections", [], "", id="no request is turned away"),
        pytest.param("replica_down", [], "", id="every scrape is answered"),
        pytest.param("telemetry_gap", [], "", id="no scrape is missed"),
    ],
)
def test_an_alert_fires_when_its_fault_is_there(
    alert: str, expected: list[Span], component: str, again: tuple[Path, list[Change]]
) -> None:
    check(again[1], alert, "firing", expected, component)


def test_before_the_first_fault_nothing_is_even_pending(again: tuple[Path, list[Change]]) -> None:
    early = [c for c in again[1] if offset_s(c) < 70 and c["state"] in {"pending", "firing"}]
    assert early == []


def test_memory_pressure_gets_to_pending(again: tuple[Path, list[Change]]) -> None:
    pending = [c for c in again[1] if (c["alert"], c["state"]) == ("gpu_memory_pressure", "pending")]
    assert pending
    assert all(70 <= offset_s(c) <= 160 for c in pending)


def test_the_stall_delays_answers_for_too_short_a_time_to_fire_for_ttft(
    again: tuple[Path, list[Change]],
) -> None:
    late = [c for c in again[1] if c["alert"] == "high_ttft" and 440 <= offset_s(c) <= 470]
    assert "firing" not in {c["state"] for c in late}


def test_without_look_ups_the_hit_rate_is_no_data_and_not_zero(store: Path) -> None:
    rows = DuckReader(str(store)).query(
        "SELECT \"at\", state, value, missing FROM {judgements} WHERE name = 'prefix_cache_degradation'"
        ' AND "at" BETWEEN $1 AND $2',
        [at_second(440), at_second(448)],
    )
    silent = [row for row in rows.to_pylist() if row["state"] == "no_data"]
    assert len(silent) >= 3  # judged every second
    assert all(row["value"] is None and row["missing"] for row in silent)


def test_each_change_is_printed_once_in_the_order_of_time(again: tuple[Path, list[Change]]) -> None:
    timeline = again[1]
    assert {tuple(change) for change in timeline} == {("alert", "component", "state", "at")}
    assert {change["state"] for change in timeline} <= {"inactive", "pending", "firing", "no_data"}
    assert [offset_s(c) for c in timeline] == sorted(offset_s(c) for c in timeline)
    states: dict[tuple[str, str], str] = {}
    for change in timeline:
        key = (change["alert"], change["component"])
        assert states.get(key) != change["state"]
        states[key] = change["state"]


# ---------------------------------------------------------------------------------------- the store
def test_replaying_again_changes_nothing(store: Path, again: tuple[Path, list[Change]]) -> None:
    assert contents(again[0]) == contents(store)


def contents(store: Path) -> dict[str, tuple[int, int]]:
    """Each table's rows, as a count and a checksum."""
    reader = DuckReader(str(store))
    sql = "SELECT count(*) AS n, sum(hash(t)) AS checksum FROM {} AS t"
    found = {name: reader.query(sql.format(f"{{{name}}}")).to_pylist()[0] for name in TABLES}
    return {name: (row["n"], row["checksum"]) for name, row in found.items()}


def test_every_fact_is_stored_and_every_second_is_judged(store: Path) -> None:
    reader = DuckReader(str(store))
    counts = {name: n for name, (n, _) in contents(store).items()}
    assert (counts["requests"], counts["metrics"]) == (10_037, 21_809)
    judged = reader.query(
        'SELECT name, count(*) AS n, count(DISTINCT "at") AS instants FROM {judgements}'
        " WHERE subject = 'rule' AND component IN ('', 'replica=engine-0') GROUP BY name"
    ).to_pylist()
    assert {row["n"] - row["instants"] for row in judged} == {0}
    assert {row["instants"] for row in judged} <= {519, 520, 521}
    assert len(judged) == 11


@pytest.mark.parametrize(
    ("subject", "span", "before"),
    [
        pytest.param("prompt_version=v43", (70, 72), "v42", id="the prompt that broke the cache"),
        pytest.param(
            "adapter=manga_domain_v4", (350, 353), "manga_domain_v3", id="the adapter that ran away"
        ),
    ],
)
def test_a_deploy_is_an_event_at_its_first_sight(subject: str, span: Span, before: str, store: Path) -> None:
    rows = (
        DuckReader(str(store))
        .query('SELECT "at", before, kind FROM {events} WHERE subject = $1', [subject])
        .to_pylist()
    )
    assert [(row["kind"], row["before"]) for row in rows] == [("first_seen", before)]
    assert span[0] <= rows[0]["at"].timestamp() - T0_S <= span[1]
