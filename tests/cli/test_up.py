"""`mangaops up` for real: both halves run, a dead one is started again, and nothing is left when it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from collectors.store.duckdb import DuckReader
from collectors.store.errors import StoreError
from tests.recordings import ROOT

READY_S, PATIENCE_S = 60.0, 40.0

pytestmark = pytest.mark.slow


@contextmanager
def started(*command: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A command of this project in a folder of its own; it and all that it started are gone at the end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MANGAOPS_")} | {
        "PYTHONPATH": str(ROOT)
    }
    with (cwd / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=cwd, env=environment, stdout=log, stderr=log, text=True
        )
    family = {process.pid}
    try:
        yield process
        family |= below(process.pid)
    finally:
        family |= below(process.pid)
        process.kill()
        process.wait()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def below(pid: int) -> set[int]:
    """All that a process started, and what these started."""
    found = set[int]()
    for each in [child for child, parent in parents().items() if parent == pid]:
        found |= {each} | below(each)
    return found


def parents() -> dict[int, int]:
    """Every living process's parent; one that only waits to be buried lives no more."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(path.parent.name)] = int(parent)
    return found


def running(pid: int, word: str) -> list[int]:
    """The processes below one whose command line holds a word."""
    found = []
    for each in below(pid):
        with suppress(OSError):
            if word in Path(f"/proc/{each}/cmdline").read_bytes().decode().split("\0"):
                found.append(each)
    return found


def until(
    condition: Callable[[], object], within_s: float, process: subprocess.Popen[str], log: Path
) -> None:
    ends = time.monotonic() + within_s
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.2)


def check(process: subprocess.Popen[str], family: set[int], stop: signal.Signals) -> None:
    """The signal ends it in good order, and of its family nobody lives on."""
    process.send_signal(stop)
    assert process.wait(PATIENCE_S) == 0
    assert family & parents().keys() == set()


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def judged(store: Path) -> int:
    with suppress(StoreError):
        found: int = (
            DuckReader(str(store)).query("SELECT count(*) AS n FROM {judgements}").to_pylist()[0]["n"]
        )
        return found
    return 0


def test_up_with_nothing_configured(tmp_path: Path, free_port: int) -> None:
    log, store = tmp_path / "log", tmp_path / ".mangaops" / "demo"
    with started("-m", "collectors.cli", "up", "--port", str(free_port), cwd=tmp_path) as up:
        until(lambda: healthy(free_port), READY_S, up, log)
        until(lambda: judged(store) > 1000, READY_S, up, log)
        assert f"http://127.0.0.1:{free_port}" in log.read_text()

        [collector] = running(up.pid, "collect")
        os.kill(collector, signal.SIGKILL)
        until(lambda: running(up.pid, "collect") not in ([], [collector]), PATIENCE_S, up, log)
        before = judged(store)
        until(lambda: judged(store) > before, PATIENCE_S, up, log)
        assert "collector ended with code -9" in log.read_text()
        assert healthy(free_port)

        family = below(up.pid)
        assert len(family) >= 2
        check(up, family, signal.SIGTERM)
        assert not healthy(free_port)
    assert "Traceback" not in log.read_text()


# --------------------------------------------------------------------------------------- any children
TWO = """
import os, sys
from collectors.cli.supervise import Child, supervise
sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
supervise([Child(name, sleeper, os.environ) for name in ("a", "b")])
"""


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(signal.SIGTERM, id="asked to end"),
        pytest.param(signal.SIGINT, id="Ctrl-C"),
        pytest.param(signal.SIGHUP, id="its terminal is closed"),
    ],
)
def test_nothing_lives_on(stop: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started("-c", TWO, cwd=tmp_path) as process:
        until(lambda: log.read_text().count("up") == 2, PATIENCE_S, process, log)
        check(process, below(process.pid), stop)


def test_a_signal_at_any_moment_of_its_start_leaves_nobody(tmp_path: Path) -> None:
    for number in range(2):
        with started("-c", TWO, cwd=tmp_path) as process:
            ends, family = time.monotonic() + PATIENCE_S, set[int]()
            while not family and time.monotonic() < ends:
                family = below(process.pid)
            time.sleep(number * 0.01)
            process.send_signal(signal.SIGTERM)
            while process.poll() is None and time.monotonic() < ends:
                family |= below(process.pid)
            assert process.returncode == 0
            assert family & parents().keys() == set()
