"""What it takes to start a drill: its command, its environment, and nobody else starting one meanwhile."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from collectors.settings import PREFIX

LONGEST_URL = 200
JUDGED = ("RULES", "SLOS")
LINE = "300"  # columns, so that a line of the log is one line, however long


def command(name: str, folder: Path, engine: str) -> list[str]:
    """The drill of that name, kept in the folder; `engine` is empty where it starts one of its own."""
    given = ["--engine", engine] if engine else []
    run = ["-m", "collectors.cli", "drill", "run", name, "--out", str(folder), *given]
    return [sys.executable, *run]


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Ours, without this console's settings but for rules and SLOs.

    A drill judges by what judges production. Its store, ports, receivers and clock are its own.
    """
    kept = {PREFIX + name for name in JUDGED}
    given = {k: v for k, v in ours.items() if not k.startswith(PREFIX) or k in kept}
    return {**given, "COLUMNS": LINE}


def folder_of(drills: Path, name: str, at: datetime) -> Path:
    """Where a drill that is started at an instant is kept."""
    return drills.resolve() / f"{name}-{at:%Y%m%d-%H%M%S}"


def fault_of(engine: str) -> str | None:
    """What is wrong with this address of an engine; None where nothing is, or where it is empty."""
    try:
        url = urlsplit(engine)
        host, _ = url.hostname, url.port
    except ValueError as error:
        return f"is none ({error})"
    faults = {
        f"is longer than {LONGEST_URL} characters": len(engine) > LONGEST_URL,
        "holds blanks or characters that no URL has": " " in engine or not _plain(engine),
        "is neither http:// nor https:// with a host": url.scheme not in {"http", "https"} or not host,
        "holds a user or password, which everybody here would see": "@" in url.netloc,
        "holds a query or fragment": bool({"?", "#"} & set(engine)),
    }
    return next((fault for fault, found in faults.items() if found), None) if engine else None


@contextmanager
def alone(drills: Path) -> Iterator[None]:
    """One start at a time, whichever console on this folder makes it. Raises OSError."""
    drills.mkdir(parents=True, exist_ok=True)
    number = os.open(drills, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
