"""Starts the parts, waits for each with progress, stops them all; what a part prints is kept in its log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loadtests.staging.parts import HOST, Part

LOOK_S = 0.25
ANSWER_S = 2.0
STOP_S = 20.0  # a collector's last commit and a gateway's drain end well within it
LOG_LINES = 15


class StackError(Exception):
    """A part that could not be started, with the end of its log."""


@dataclass(slots=True)
class Running:
    """A part and its process."""

    part: Part
    process: subprocess.Popen[bytes]
    log: Path
    began: float  # on the monotonic clock

    def send(self, number: signal.Signals) -> None:
        """A signal to the part and all that it started; nothing where it is gone."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self.process.poll()


@dataclass(slots=True)
class Stack:
    """The parts that run, by name."""

    root: Path
    running: dict[str, Running] = field(default_factory=dict)

    def start(self, part: Part) -> Running:
        """Start one part now, without waiting; its log goes on where an earlier run of it ended."""
        log = self.root / "logs" / f"{part.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = subprocess.Popen(  # noqa: S603 - our own table of commands
                part.command,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **part.environment},
                start_new_session=True,  # Ctrl-C reaches us, and we stop the parts in order
            )
        self.running[part.name] = Running(part, process, log, time.monotonic())
        return self.running[part.name]

    def stop(self) -> None:
        """Stop all, those first that still have something to tell the others. What does not end is killed."""
        while self.running:
            free = [r for r in self.running.values() if not self.running.keys() & set(r.part.outlives)]
            wave = free or list(self.running.values())  # a circle is nobody's order
            for running in wave:
                running.send(signal.SIGCONT)  # one that was stopped for a drill could not end otherwise
                running.send(signal.SIGTERM)
            deadline = time.monotonic() + STOP_S
            for running in wave:
                self._end(running, deadline)

    def _end(self, running: Running, deadline: float) -> None:
        try:
            running.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            running.send(signal.SIGKILL)
            running.process.wait()
        del self.running[running.part.name]

    def dead(self) -> list[Running]:
        """Parts that ended by themselves."""
        return [r for r in self.running.values() if r.code is not None]


@contextmanager
def started(
    parts: Sequence[Part],
    root: Path,
    told: Callable[[str], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Stack]:
    """All parts up and ready, or as many as were when it was cancelled; stopped at the end, whatever happens.

    `told` hears of each part that is ready. Raises StackError.
    """
    refuse_busy(parts)
    stack = Stack(root)
    try:
        _bring_up(stack, parts, told, cancelled)
        yield stack
    finally:
        with _undisturbed():
            stack.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Told to end while the parts are being stopped, it goes on: an exit half-way would leave the others."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def refuse_busy(parts: Sequence[Part]) -> None:
    """Nothing is started while another process has one of the ports. Raises StackError naming all of them."""
    busy = [f"{p.name}: {HOST}:{p.port} is taken" for p in parts if not _free(p.port)]
    if busy:
        raise StackError("\n".join([*busy, "Stop what listens there (ss -ltnp shows it), or use --ports N"]))


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """A free port of this machine for each name."""
    sockets = [socket.socket() for _ in names]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
    finally:
        for each in sockets:
            each.close()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _bring_up(
    stack: Stack, parts: Sequence[Part], told: Callable[[str], None], cancelled: Callable[[], bool]
) -> None:
    names, ready = {p.name for p in parts}, set[str]()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {p.name: progress.add_task(f"{p.name}: waiting", start=False) for p in parts}
        while len(ready) < len(parts) and not cancelled():
            for part in parts:
                if part.name in ready:
                    continue
                if part.name not in stack.running and ready >= names & set(part.after):
                    stack.start(part)
                    progress.start_task(tasks[part.name])
                    progress.update(tasks[part.name], description=f"{part.name}: starting")
                if part.name in stack.running and _is_ready(stack.running[part.name]):
                    ready.add(part.name)
                    progress.remove_task(tasks[part.name])
                    told(f"{part.name} is ready after {time.monotonic() - began:.0f} s")
            time.sleep(LOOK_S)


def _is_ready(running: Running) -> bool:
    """Whether it answers. Raises StackError where it ended or takes too long."""
    if running.code is not None:
        raise StackError(f"{running.part.name} ended with code {running.code}. {_last_words(running.log)}")
    if time.monotonic() - running.began > running.part.patience_s:
        waited = f"{running.part.name} is not ready after {running.part.patience_s:.0f} s"
        raise StackError(f"{waited}. {_last_words(running.log)}")
    return answers(running.part)


def answers(part: Part) -> bool:
    """Whether the part says that it is ready."""
    if not part.ready:
        with socket.socket() as probe:
            probe.settimeout(ANSWER_S)
            return probe.connect_ex((HOST, part.port)) == 0
    try:
        return httpx.get(f"http://{HOST}:{part.port}{part.ready}", timeout=ANSWER_S).is_success
    except httpx.HTTPError:
        return False


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in lines)])
