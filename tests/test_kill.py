"""A replay that is killed twenty times loses nothing, doubles nothing and ends as one left alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.tables import TABLES
from tests.recordings import CLOCK_SCALE, ROOT, cut

SEED = 20261121
PATIENCE_S = 60.0
# When it is killed: anywhere in its first second, while it writes a file that no commit names yet, or just
# after a commit.
MOMENTS = ["starting"] * 6 + ["writing"] * 9 + ["committed"] * 5
A_CHUNK = 5  # commits; with no more than these to come it is killed at its start, so as not to end by itself

pytestmark = pytest.mark.slow


@contextmanager
def replaying(recording: Path, store: Path) -> Iterator[subprocess.Popen[str]]:
    """`mangaops replay`, running; killed at the latest when the test leaves."""
    scale = f"{CLOCK_SCALE:g}"
    command = ["replay", str(recording), "--store", str(store), "--clock-scale", scale, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "collectors.cli", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def completed(recording: Path, store: Path) -> list[dict[str, Any]]:
    """The timeline of a replay that is left alone."""
    with replaying(recording, store) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def killed(recording: Path, store: Path, moment: str, chance: random.Random) -> None:
    """Start the replay and kill it at a moment of this kind."""
    pattern = {"writing": "*/day=*/*.parquet", "committed": "*/_delta_log/*.json"}.get(moment)
    before = set(store.glob(pattern)) if pattern else set()
    with replaying(recording, store) as process:
        ends = time.monotonic() + (PATIENCE_S if pattern else chance.uniform(0.05, 1.2))
        while time.monotonic() < ends and process.poll() is None:
            if pattern and set(store.glob(pattern)) - before:
                time.sleep(chance.uniform(0, 0.005))
                break
            time.sleep(0.001)
        process.kill()
        _, err = process.communicate()
        assert (process.returncode, err) == (-9, ""), "it ended before it could be killed"


def rows(store: Path) -> dict[str, list[int]]:
    """Each table's rows, as checksums; every table opens."""
    reader = DuckReader(str(store))
    return {
        name: reader.query(f"SELECT hash(t) AS h FROM {{{name}}} AS t").column("h").to_pylist()
        for name in TABLES
    }


def commits(store: Path) -> int:
    return len(list(store.glob("*/_delta_log/*.json")))


def check(found: dict[str, list[int]], wanted: dict[str, list[int]]) -> None:
    """The same rows, each as often."""
    assert {name: len(each) for name, each in found.items()} == {
        name: len(each) for name, each in wanted.items()
    }
    assert {name: sorted(each) for name, each in found.items()} == {
        name: sorted(each) for name, each in wanted.items()
    }


def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    recording = cut(tmp_path / "drill", until_s=325, from_s=55)
    alone, store = tmp_path / "alone", tmp_path / "killed"
    timeline, whole, last = completed(recording, alone), rows(alone), commits(alone)
    assert all(whole.values())
    assert {change["state"] for change in timeline} >= {"inactive", "pending", "firing"}

    chance, seen, progress = random.Random(SEED), rows(store), 0
    for moment in chance.sample(MOMENTS, len(MOMENTS)):
        had = commits(store)
        killed(recording, store, moment if had < last - A_CHUNK else "starting", chance)
        now = rows(store)
        assert {name for name in TABLES if not set(seen[name]) <= set(now[name])} == set()
        assert {name for name in TABLES if not set(now[name]) <= set(whole[name])} == set()
        seen, progress = now, progress + (commits(store) > had)
    assert progress >= 4, "the kills were to come in between commits"
    assert commits(store) < last, "the replay was to be killed before its end"

    assert completed(recording, store) == timeline
    check(rows(store), whole)
    for name in TABLES:
        DeltaWriter(str(store)).keep_up(name, date(2020, 1, 1), datetime(2026, 11, 22, tzinfo=UTC))
    check(rows(store), whole)
