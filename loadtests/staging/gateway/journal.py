"""The log: one JSON line an event on standard output; and the bounded log that compares candidates."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from logging.handlers import RotatingFileHandler
from typing import Any, TextIO

from loadtests.staging.gateway.account import Account
from loadtests.staging.gateway.config import Comparison

OLDER_FILES = 1


class Journal:
    """Writes events; every line is whole, and flushed."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out

    def tell(self, at: datetime, event: str, told: Mapping[str, Any]) -> None:
        """One line: when, what, and what is known of it."""
        known = {"at": at.isoformat(timespec="milliseconds"), "event": event, **told}
        self._out.write(json.dumps(known, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._out.flush()


class Comparisons:
    """JSON lines of primary, canary and shadow in one file; of the file before, one is kept."""

    def __init__(self) -> None:
        self._settings: Comparison | None = None
        self._handler: RotatingFileHandler | None = None

    def tell(self, settings: Comparison, at: datetime, told: Mapping[str, Any]) -> None:
        """Append a line where a file is configured; the file may change with the configuration."""
        if settings != self._settings:
            self.close()
            self._settings = settings
        if settings.file is None:
            return
        if self._handler is None:
            self._handler = RotatingFileHandler(
                settings.file,
                maxBytes=settings.max_bytes,
                backupCount=OLDER_FILES,
                encoding="utf-8",
                delay=True,
            )
        text = json.dumps({"at": at.isoformat(timespec="milliseconds"), **told}, ensure_ascii=False)
        self._handler.emit(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        """Close the file."""
        if self._handler is not None:
            self._handler.close()
        self._handler = None


def compared(account: Account, answer: str | None) -> dict[str, Any]:
    """What can be compared of an answer: figures, and its length and fingerprint in place of its text."""
    told = {name: getattr(account, name) for name in _COMPARED}
    if answer is not None:
        told["answer_characters"] = len(answer)
        told["answer_fingerprint"] = sha256(answer.encode()).hexdigest()[:16]
    return told


_COMPARED = (
    *("request_id", "variant", "adapter", "backend_version", "prompt_version", "status", "error_kind"),
    *("ttft_ms", "e2e_ms", "input_tokens", "output_tokens", "cached_tokens"),
)
