"""A drill's process, known by its folder, so that a console that was started again finds it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

PID, ASKED, LOG = "drill.pid", "drill.stop", "logs/drill.log"


def launch(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start it, detached: it outlives this console. What it prints is kept in the folder, which must be new.

    Raises OSError, FileExistsError among them.
    """
    folder.mkdir(parents=True)
    (folder / LOG).parent.mkdir()
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command, built in start.py
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            start_new_session=True,
        )
    (folder / PID).write_text(f"{process.pid} {_born(process.pid)}\n", encoding="ascii")
    # a child that nobody waits for stays in the process table
    threading.Thread(target=process.wait, name=folder.name, daemon=True).start()


def was_launched(folder: Path) -> bool:
    """Whether a console started it, not a terminal."""
    return (folder / PID).is_file()


def pid(folder: Path) -> int | None:
    """The process, if it still runs. Another one that was given its number since is not it."""
    try:
        number, born = (folder / PID).read_text(encoding="ascii").split()
        return int(number) if _born(int(number)) == born else None
    except (OSError, ValueError):
        return None


def ask_to_stop(folder: Path) -> bool:
    """Ask it to stop its parts and end, which takes up to a minute; False if it has ended. Raises OSError."""
    number = pid(folder)
    if number is None:
        return False
    try:
        # it alone, not its group: it ends the load first, then the parts in their order
        os.kill(number, signal.SIGTERM)
    except ProcessLookupError:
        return False
    (folder / ASKED).touch()
    return True


def was_asked_to_stop(folder: Path) -> bool:
    """Whether somebody pressed Stop, from whichever browser."""
    return (folder / ASKED).exists()


def _born(number: int) -> str:
    """When it began, in clock ticks since boot; empty where it has ended. See proc(5), field 22."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # a name may hold blanks and brackets
    return "" if fields[0] in "ZX" else fields[19]
