"""Drills that were run here: list them, start one, stop it."""

from __future__ import annotations

import os
from datetime import datetime

from console import drillbook
from console.desk import Desk
from console.drilling import process, start
from console.views.drills import Drill
from console.views.facts import Failure
from console.views.offers import Catalogue


def drills(desk: Desk, now: datetime) -> list[Drill] | Failure:
    """Drills that were run here, and one that is running, the newest first."""
    try:
        return drillbook.read(desk.drills, now)
    except OSError as error:
        return Failure(f"{desk.drills} cannot be read: {error.strerror}", "Check its permissions")


def run_drill(desk: Desk, known: Catalogue, name: str, engine: str, now: datetime) -> str | Failure:
    """Start a drill of the catalogue; gives the name that its folder has. One drill at a time."""
    if not desk.drills_run or known.offer(name) is None:
        return Failure("this console does not run that drill", "Choose one of the list")
    if wrong := start.fault_of(engine):
        return Failure(f"the engine's URL {wrong}", "Write it like http://gpu:8000")
    try:
        with start.alone(desk.drills):
            if going := next((d.name for d in drillbook.read(desk.drills, now) if d.goes_on), None):
                return Failure(f"{going} runs already", "Wait until it has ended, or stop it")
            folder = start.folder_of(desk.drills, name, now)
            process.launch(folder, start.command(name, folder, engine), start.environment(os.environ))
    except OSError as error:
        return Failure(f"it could not be started: {error}", f"Check the permissions of {desk.drills}")
    return folder.name


def stop_drill(desk: Desk, name: str, now: datetime) -> Failure | None:
    """Ask a drill that a console started to stop."""
    try:
        running = {d.name for d in drillbook.read(desk.drills, now) if d.stoppable}
        if not desk.drills_run or name not in running or not process.ask_to_stop(desk.drills / name):
            return Failure(f"{name} does not run", "It may have ended just now")
    except OSError as error:
        return Failure(f"{name} could not be stopped: {error}", "Stop it as the user who started it")
    return None
