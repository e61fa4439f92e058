"""What can go wrong with the store, in words a person can act on."""

from __future__ import annotations

import re

MAX_WHAT = 300  # characters of an engine's own words; the rest is its innards
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BACKTRACE = re.compile(r"\n\s*0: .*", re.DOTALL)  # delta-rs appends its native stack to some messages


class StoreError(Exception):
    """A table could not be read or written: where, what, remedy."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}. {remedy}")
        self.where, self.what, self.remedy = where, what, remedy


def told(error: Exception) -> str:
    """What an engine's error says, on one line, without terminal colours and its native stack."""
    text = _BACKTRACE.sub("", _COLOUR.sub("", str(error)))
    return " ".join(text.split())[:MAX_WHAT].rstrip(".")
