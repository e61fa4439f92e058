"""Recordings for tests: the bundled drill, shorter pieces of it, and its replay, made once for all tests.

Seconds count from T0_S, the drill's beginning.
"""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from collectors.sources.tape import GPU, METRICS, REQUESTS, SPANS

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "loadtests" / "recordings" / "h200_release_drill"
T0_S = 1795245679.54
CLOCK_SCALE = 20.0


def at_second(offset_s: float) -> datetime:
    """The instant so many seconds after the drill's beginning."""
    return datetime.fromtimestamp(T0_S, UTC) + timedelta(seconds=offset_s)


def cut(target: Path, until_s: float, from_s: float = -3.0) -> Path:
    """The piece of the bundled drill between two offsets, as a recording of its own."""
    target.mkdir(parents=True)
    low, high = T0_S + from_s, T0_S + until_s
    requests = [row for row in rows(REQUESTS) if low <= row["start_unix_s"] < high]
    wanted = {row["trace_id"] for row in requests}
    write_rows(target / REQUESTS, requests)
    write_rows(target / SPANS, (row for row in rows(SPANS) if row["trace_id"] in wanted))
    write_rows(target / GPU, (row for row in rows(GPU) if low <= row["t"] < high))
    write_scrapes(target / METRICS, ((at, text) for at, text in scrapes() if low <= at < high))
    return target


def rows(file: str, directory: Path = BUNDLED) -> Iterator[dict[str, Any]]:
    """The records of a recording's file."""
    with gzip.open(directory / file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_rows(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """A recording's file of these records."""
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)


def scrapes(directory: Path = BUNDLED) -> Iterator[tuple[float, str]]:
    """The metrics texts of a recording with their Unix time."""
    with lzma.open(directory / METRICS, "rt", encoding="utf-8") as file:
        _, *found = file.read().split("# scrape ")
    for scrape in found:
        at, _, text = scrape.partition("\n")
        yield float(at), text


def write_scrapes(path: Path, found: Iterable[tuple[float, str]]) -> None:
    """A recording's file of these metrics texts."""
    with lzma.open(path, "wt", encoding="utf-8", preset=0) as file:
        file.writelines(f"# scrape {at:.3f}\n{text}" for at, text in found)


def metrics_text(offset_s: float) -> str:
    """What the engine's /metrics said at an offset."""
    return next(text for at, text in scrapes() if at >= T0_S + offset_s)


def replayed(places: pytest.TempPathFactory) -> Path:
    """A store with the whole bundled drill, judged at CLOCK_SCALE. Read-only: every test shares it."""
    return _replayed(places.getbasetemp() / "replayed")


@cache
def _replayed(store: Path) -> Path:
    command = ["replay", str(BUNDLED), "--store", str(store), "--clock-scale", f"{CLOCK_SCALE:g}", "--json"]
    subprocess.run(
        [sys.executable, "-m", "collectors.cli", *command], cwd=ROOT, check=True, capture_output=True
    )
    return store
