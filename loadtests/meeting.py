"""How the processes of a run find each other: small files in its folder, each written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

READY = "worker-{}.ready.json"
WORKER = "worker-{}.json"
STARTED = "start.json"
SUMMARY = "summary.json"


def write_whole(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(beside, file)  # noqa: PTH105 - says atomic where Path.replace is read as a copy
