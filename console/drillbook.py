"""The folders in which drills keep their results, read for the screen; nothing is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.views import drills
from console.views.drills import Drill

CERTIFICATE, PROGRESS, LOGS = "certificate.json", "progress.jsonl", "logs"
SHOWN = 50
LIVELY = timedelta(seconds=60)  # a running stack writes its logs every few seconds
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
    steps = drills.steps(_lines(folder / PROGRESS))
    began = steps[0].at if steps else None
    if not (folder / CERTIFICATE).is_file():
        return Drill(folder.name, "running" if _lively(folder, now) else "broken off", began, steps)
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


def _lively(folder: Path, now: datetime) -> bool:
    times = [f.stat().st_mtime for f in (folder / LOGS).glob("*.log")]
    return bool(times) and now - datetime.fromtimestamp(max(times), UTC) < LIVELY
