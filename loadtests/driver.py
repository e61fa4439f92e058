"""The load generator as a process of a drill: started, watched, and read when it has ended."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtests import run
from loadtests.meeting import STARTED, SUMMARY

READY_S = run.READY_WITHIN_S + 15.0
FINISH_S = 120.0  # open answers, locust's own end, the summary
LOOK_S = 0.1


class DriverError(Exception):
    """The load generator failed: what it sent, or whether it sent anything, is not known."""


@dataclass(slots=True)
class Driver:
    """One run of a plan against `host`. What it writes lies in `out`."""

    plan: Path
    host: str
    out: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> datetime:
        """Begin, and wait for the instant that all times of the plan count from. Raises DriverError."""
        self._process = run.start(self.plan, self.host, self.out)
        until = time.monotonic() + READY_S
        while not (self.out / STARTED).exists():
            self.refuse_if_dead()
            if time.monotonic() > until:
                raise DriverError(
                    f"the load generator did not start in {READY_S:.0f} s; see {self.out}/run.log"
                )
            time.sleep(LOOK_S)
        told = json.loads((self.out / STARTED).read_text(encoding="utf-8"))
        return datetime.fromtimestamp(told["start_at"], UTC)

    def refuse_if_dead(self) -> None:
        """Raises DriverError where it ended with an error."""
        code = self._process.poll() if self._process else None
        if code:
            raise DriverError(f"the load generator ended with code {code}; see {self.out}/run.log")

    def finish(self) -> dict[str, Any]:
        """Wait for the answers that are still open; its own summary. Raises DriverError."""
        if self._process is None:
            raise DriverError("the load generator was not started")
        try:
            self._process.wait(FINISH_S)
        except subprocess.TimeoutExpired as error:
            raise DriverError(
                f"the load generator did not end in {FINISH_S:.0f} s; see {self.out}"
            ) from error
        self.refuse_if_dead()
        found: dict[str, Any] = json.loads((self.out / SUMMARY).read_text(encoding="utf-8"))
        return found

    def stop(self) -> None:
        """End it, if it still runs; what it had sent is kept."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(FINISH_S)
