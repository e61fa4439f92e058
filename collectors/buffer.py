"""Facts on their way to the store, bounded: when it is full, the oldest give way and are counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from collectors.model import Batch, EventFact, Problem

SAY_AGAIN = timedelta(minutes=5)  # a lasting problem is stored again after this long


class Buffer:
    """Filled by pollers, emptied by the keeper; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, deque[Any]] = {"metrics": deque(), "requests": deque(), "events": deque()}
        self._said: dict[tuple[str, str, str], datetime] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return sum(len(held) for held in self._held.values())

    def add(self, batch: Batch, limit: int) -> list[Problem]:
        """Hold a batch and return its problems that are new; a lasting one is new again after a while.

        Beyond `limit` facts the oldest of the fullest table are dropped.
        """
        with self._lock:
            self._held["metrics"].extend(batch.metrics)
            self._held["requests"].extend(batch.requests)
            self._held["events"].extend(batch.events)
            new = [p for p in batch.problems if self._is_new(p)]
            self._held["events"].extend(_event(p) for p in new)
            while len(self) > limit:
                max(self._held.values(), key=len).popleft()
                self.dropped += 1
        return new

    def take(self) -> dict[str, list[Any]]:
        """Everything held, table by table; the buffer is empty then."""
        with self._lock:
            taken = {name: list(held) for name, held in self._held.items()}
            for held in self._held.values():
                held.clear()
            return taken

    def give_back(self, name: str, facts: Sequence[Any]) -> None:
        """Facts that could not be stored, put back in front."""
        with self._lock:
            self._held[name].extendleft(reversed(facts))

    def _is_new(self, p: Problem) -> bool:
        key = (p.source, p.subject, p.what)
        said = self._said.get(key)
        if said is not None and timedelta() <= p.at - said < SAY_AGAIN:
            return False
        self._said = {k: at for k, at in self._said.items() if abs(p.at - at) < SAY_AGAIN} | {key: p.at}
        return True


def _event(p: Problem) -> EventFact:
    return EventFact(p.at, "problem", p.subject, p.source, p.what, p.remedy)
