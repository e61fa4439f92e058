"""A line for each request that was sent: what verdicts are reached from, as locust rounds its figures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

RECORDS = "requests.jsonl"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, from the instant it was meant to start. Missing is None, never 0.

    `*_at` are seconds since the epoch. `ttft_ms` and `e2e_ms` count from `intended_at`, which is what a
    customer waits; the `_from_send_ms` from when the request left. `phase` is where `intended_at` lies,
    `planned_phase` the one whose mix shaped it. `schedule_lag_ms` is send − intended, `pool_wait_ms` the part
    of it that was spent waiting for one of the run's slots.
    """

    request_id: str
    session_id: str
    user_id: str
    turn: int
    phase: str
    planned_phase: str
    intent: str
    locale: str
    kind: str
    planned_adapter: str
    max_tokens: int
    intended_at: float
    sent_at: float
    first_token_at: float | None
    ended_at: float
    ttft_ms: float | None
    ttft_from_send_ms: float | None
    e2e_ms: float
    e2e_from_send_ms: float
    schedule_lag_ms: float
    pool_wait_ms: float
    status: int | None
    error_kind: str | None
    error: str | None
    chunks: int
    answer_characters: int
    answer_sha256: str
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    finish_reason: str | None
    adapter: str | None
    prompt_version: str | None
    answered_request_id: str | None
    retry_after_s: float | None
    worker: int = 0


NAMES = tuple(each.name for each in fields(Sent))


class SentLog:
    """Appends records to a folder's `requests.jsonl`; several processes may at once.

    Each line is one write to a file opened for appending: a process that is killed leaves whole lines.
    """

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, record: Sent) -> None:
        """Append one line."""
        told = {
            name: getattr(record, name) for name in NAMES
        }  # asdict copies all of it, at ten times the cost
        os.write(self._file, (json.dumps(told, ensure_ascii=False) + "\n").encode())

    def close(self) -> None:
        """Nothing is written after this."""
        os.close(self._file)


def sent(folder: Path) -> Iterator[Sent]:
    """The records of a run, in the order in which they ended; without a line that is still being written."""
    file = folder / RECORDS
    if not file.exists():
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield Sent(**{key: value for key, value in json.loads(line).items() if key in NAMES})
