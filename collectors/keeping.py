"""What the collector does with held facts: commit them, judge up to now, maintain the tables."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from collectors.buffer import Buffer
from collectors.judging import Book, Memory, judge
from collectors.model import Batch, EventFact, Kind, MetricFact, Problem, RequestFact
from collectors.restoring import judged_until, restore_memory, restore_seen
from collectors.settings import Settings
from collectors.signals.changes import SETTLING, Seen, changes
from collectors.signals.points import Grid
from collectors.store.delta import DeltaWriter
from collectors.store.errors import StoreError
from collectors.store.series import Reader

log = logging.getLogger("mangaops.keeper")

SOURCE = "collector"
CATCH_UP = timedelta(hours=1)  # after a longer silence, judging begins anew at the present
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class _Progress:
    judged: datetime | None = None
    memory: Memory | None = None
    seen: Seen | None = None
    upkept: datetime | None = None


class Keeper:
    """Owns the store's side of the collector; one thread at a time calls it.

    `name` tells this collector from others on the same store.
    """

    def __init__(
        self,
        settings: Settings,
        book: Book,
        writer: DeltaWriter,
        reader: Reader,
        name: str,
        judge_from: datetime | None = None,
    ) -> None:
        self._settings, self._book, self._name = settings, book, name
        self._writer, self._reader = writer, reader
        self._progress = _Progress(judged=judge_from)

    def turn(self, buffer: Buffer, now: datetime) -> None:
        """Commit, judge, and from time to time maintain. A store that fails is reported and tried again."""
        try:
            self.flush(buffer, now)
            if len(buffer) == 0:
                self._judge(now)
            self._keep_up(now)
        except StoreError as error:
            log.error("%s", error)  # noqa: TRY400 - the message is for a person; a traceback would hide it
            buffer.add(_problem(now, error), self._settings.max_buffered_facts)

    def flush(self, buffer: Buffer, now: datetime) -> None:
        """Commit what is held. Raises StoreError after putting back what could not be stored."""
        own = self._own_metrics(buffer, now)
        taken = buffer.take()
        taken["metrics"] += own
        failed = self._note_changes(taken, now)
        for name, facts in taken.items():
            failed = self._append(buffer, name, facts) or failed
        if failed:
            raise failed

    def _append(self, buffer: Buffer, name: str, facts: list[Any]) -> StoreError | None:
        try:
            self._writer.append(name, facts)
        except StoreError as error:
            buffer.give_back(name, facts)
            return error
        return None

    def _note_changes(self, taken: dict[str, list[Any]], now: datetime) -> StoreError | None:
        try:
            taken["events"] += self._changes(taken["requests"], now)
        except StoreError as error:
            return error
        return None

    def _own_metrics(self, buffer: Buffer, now: datetime) -> list[MetricFact]:
        values = {"buffered_facts": len(buffer), "dropped_facts": buffer.dropped}
        return [MetricFact(now, SOURCE, self._name, m, Kind.GAUGE, float(v)) for m, v in values.items()]

    def _changes(self, requests: list[RequestFact], now: datetime) -> list[EventFact]:
        if self._progress.seen is None:
            self._progress.seen = restore_seen(self._reader, now, self._settings.retention_days)
        settling = SETTLING / self._book.clock_scale
        self._progress.seen, found = changes(self._progress.seen, requests, settling)
        return found

    def _judge(self, now: datetime) -> None:
        step = max(timedelta(seconds=1), self._settings.judge_interval / self._book.clock_scale)
        end = EPOCH + (now - EPOCH) // step * step
        memory, since = self._where(end, step)
        count = (end - since) // step
        if count <= 0:
            return
        turn = judge(self._reader, self._book, memory, Grid(since + step, step, count))
        self._writer.append("events", turn.events)
        self._writer.append("judgements", turn.judgements)
        self._progress.judged, self._progress.memory = end, turn.memory
        _announce(turn.events)

    def _where(self, end: datetime, step: timedelta) -> tuple[Memory, datetime]:
        """The memory and the instant to go on from; another collector may have judged in between."""
        p, newest = self._progress, judged_until(self._reader, self._book, end)
        if p.memory is not None and p.judged is not None and (newest is None or newest <= p.judged):
            return p.memory, p.judged
        since = max((t for t in (newest, p.judged) if t is not None), default=end - step)
        if end - since > CATCH_UP:
            since = end - step
        return restore_memory(self._reader, self._book, since), since

    def _keep_up(self, now: datetime) -> None:
        p = self._progress
        if p.upkept is not None and timedelta() <= now - p.upkept < self._settings.upkeep_interval:
            return
        expire = (now - timedelta(days=self._settings.retention_days)).date()
        for name in ("metrics", "requests", "events", "judgements"):
            done = self._writer.keep_up(name, expire, now)
            log.debug("upkeep %s", done)
        p.upkept = now


def _problem(now: datetime, error: StoreError) -> Batch:
    return Batch(problems=(Problem(now, SOURCE, error.where, error.what, error.remedy),))


def _announce(events: tuple[EventFact, ...]) -> None:
    for e in events:
        if "firing" in (e.before, e.after):
            log.warning("alert %s: %s (was %s) at %s", e.subject, e.after, e.before, e.at.isoformat())
