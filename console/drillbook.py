"""The folders in which drills keep their results, read for the screen; nothing is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.drilling import process
from console.views import drills
from console.views.drills import Drill

CERTIFICATE, PROGRESS, LOGS = "certificate.json", "progress.jsonl", "logs"
SHOWN = 50
LIVELY = timedelta(seconds=60)  # a running stack writes its logs every few seconds
LAST_BYTES = 16_384  # of what a drill printed
NEEDED = (
    "title",
    "face",
    "verdict",
    "reasons",
    "detections",
    "checks",
    "phases",
    "adapters",
    "turns",
    "knee",
)


def read(folder: Path, now: datetime) -> list[Drill]:
    """The newest drills first. A certificate that cannot be read is shown as such. Raises OSError."""
    if not folder.is_dir():
        return []
    found = [d for d in folder.iterdir() if d.is_dir()]
    newest = sorted(found, key=lambda d: d.stat().st_mtime, reverse=True)[:SHOWN]
    return [_drill(d, now) for d in newest]


def _drill(folder: Path, now: datetime) -> Drill:
    # in this order: a drill writes its certificate before it ends
    runs = process.pid(folder) is not None
    steps = drills.steps(_lines(folder / PROGRESS))
    began = steps[0].at if steps else None
    if not (folder / CERTIFICATE).is_file():
        state = drills.unfinished(
            runs=runs or (not process.was_launched(folder) and _lively(folder, now)),
            asked=process.was_asked_to_stop(folder),
            begun=bool(steps) or not process.was_launched(folder),
        )
        said = drills.last_words(_end(folder / process.LOG))
        return Drill(folder.name, state, began, steps, said=said, stoppable=runs)
    data = _certificate(folder / CERTIFICATE)
    if data is None:
        return Drill(folder.name, "unreadable", began, steps)
    return Drill(folder.name, str(data["verdict"]), began, steps, data)


def _certificate(file: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(data, dict) and all(key in data for key in NEEDED) and data["verdict"] in drills.TONES
    return data if whole else None


def _lines(file: Path) -> list[dict[str, Any]]:
    """Whole lines only: the last one may still be being written."""
    if not file.is_file():
        return []
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict) and {"at", "do", "what"} <= data.keys():
            found.append(data)
    return found


def _end(file: Path) -> str:
    """The end of a text; nothing where there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - LAST_BYTES))
            return log.read(LAST_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _lively(folder: Path, now: datetime) -> bool:
    times = [f.stat().st_mtime for f in (folder / LOGS).glob("*.log")]
    return bool(times) and now - datetime.fromtimestamp(max(times), UTC) < LIVELY
