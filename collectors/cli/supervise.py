"""Keeps child processes running: one that dies is started again, and all stop together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collectors.cli.output import err

BACKOFF_S = (2.0, 5.0, 15.0, 30.0)  # waits before the next starts; the last one repeats
LOOK_S = 0.5
STEADY_S = 60.0  # a child that ran this long starts again at the shortest wait
STOP_S = 15.0  # longer than a last commit takes; then it is killed


@dataclass(slots=True)
class Child:
    """A process to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0


def supervise(children: Sequence[Child]) -> None:
    """Start all and keep them running until Ctrl-C, SIGTERM, or the terminal is closed."""
    stop = threading.Event()
    # a flag, not an exception: raised while a child is being started, it would leave that child behind
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        for child in children:
            _start(child)
        while not stop.wait(LOOK_S):
            for child in children:
                _look_after(child)
        err.print("stopping")
    finally:
        _stop(children)


def _start(child: Child) -> None:
    child.started = time.monotonic()
    # a session of its own: Ctrl-C reaches us first, and we let each child finish its last commit
    child.process = subprocess.Popen(  # noqa: S603 - our own modules
        list(child.command), env=dict(child.environment), start_new_session=True
    )


def _look_after(child: Child) -> None:
    now = time.monotonic()
    if child.process is None:
        if now >= child.due:
            _start(child)
        return
    code = child.process.poll()
    if code is None:
        return
    child.deaths = 0 if now - child.started > STEADY_S else child.deaths + 1
    wait = BACKOFF_S[min(child.deaths, len(BACKOFF_S) - 1)]
    err.print(f"[bold red]{child.name} ended with code {code}[/]; it is started again in {wait:g} s")
    child.process, child.due = None, now + wait


def _stop(children: Sequence[Child]) -> None:
    running = [c.process for c in children if c.process and c.process.poll() is None]
    for process in running:
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
