"""What the collector does with held facts: commit them, judge up to now, maintain the tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from collectors import diagnosing
from collectors.buffer import Buffer
from collectors.diagnose import recalling
from collectors.judge.alerts import Alert
from collectors.judging import FORGET_GROUP, Book, Memory, judge
from collectors.model import Batch, EventFact, Kind, MetricFact, Problem, RequestFact
from collectors.restoring import judged_until, restore_configurations, restore_memory, restore_seen
from collectors.settings import Settings
from collectors.signals.changes import SETTLING, Seen, changes
from collectors.signals.configuration import unheard
from collectors.signals.points import Grid
from collectors.store.delta import DeltaWriter
from collectors.store.errors import StoreError
from collectors.store.reader import Reader
from collectors.store.tables import TABLES

log = logging.getLogger("mangaops.keeper")

SOURCE = "collector"
# After a longer silence judging begins anew at the present. Prometheus: --rules.alert.for-outage-tolerance.
CATCH_UP = timedelta(hours=1)
LATE = timedelta(seconds=10)  # a gateway's exporter sends spans every five seconds
_JUDGED_FROM = {"metrics", "requests"}
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A commit that failed, by its number, with the facts that it was to hold."""

    number: int
    facts: Sequence[Any]

    def rest(self, facts: list[Any]) -> list[Any]:
        """The facts that it did not hold."""
        held = set(map(id, self.facts))
        return [fact for fact in facts if id(fact) not in held]


@dataclass(slots=True)
class _Progress:
    mark: str = field(default_factory=lambda: uuid4().hex)  # tells this keeper's commits from any other's
    attempts: dict[str, _Attempt] = field(default_factory=dict)
    judged: datetime | None = None
    memory: Memory | None = None
    seen: Seen | None = None
    known: dict[str, str] | None = None  # hashes of configurations whose events are stored
    heard: dict[str, str] | None = None
    diagnosed: datetime | None = None
    diagnosis: recalling.Memory | None = None
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
        """Commit, judge, and from time to time maintain. A store that fails is reported and tried again.

        One table that fails keeps the others from nothing, but what is judged has to be stored first.
        """
        with self._reporting(buffer, now):
            self._resume(now)
        failed = self._flush(buffer, now)
        for error in failed.values():
            self._report(buffer, now, error)
        if not failed.keys() & _JUDGED_FROM:
            with self._reporting(buffer, now):
                self._judge(buffer, now)
        self._keep_up(buffer, now)
        if not failed.keys() & _JUDGED_FROM:
            with self._reporting(buffer, now):
                self._diagnose(now)

    def flush(self, buffer: Buffer, now: datetime) -> None:
        """Commit what is held. Raises StoreError after putting back what could not be stored."""
        for error in self._flush(buffer, now).values():
            raise error

    def _flush(self, buffer: Buffer, now: datetime) -> dict[str, StoreError]:
        """Commit what is held; what went wrong, by table."""
        own = self._own_metrics(buffer, now)
        taken = buffer.take()
        taken["metrics"] += own
        noted = self._note_changes(buffer, taken, now)
        found = {name: self._append(buffer, name, facts) for name, facts in taken.items()}
        if not found["events"]:
            self._progress.known = self._progress.heard
        found["events"] = found["events"] or noted
        return {name: error for name, error in found.items() if error}

    @contextmanager
    def _reporting(self, buffer: Buffer, now: datetime) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._report(buffer, now, error)

    def _report(self, buffer: Buffer, now: datetime, error: StoreError) -> None:
        problem = Problem(now, SOURCE, error.where, error.what, error.remedy)
        if buffer.add(Batch(problems=(problem,)), self._settings.max_buffered_facts):
            log.error("%s", error)

    def _append(self, buffer: Buffer, name: str, facts: list[Any]) -> StoreError | None:
        """Commit facts once: an attempt that seemed to fail may have been committed all the same."""
        mark, attempts = self._progress.mark, self._progress.attempts
        try:
            done = self._writer.version(name, mark) or 0
            last = attempts.get(name)
            facts = last.rest(facts) if last and last.number == done else facts
            attempts[name] = _Attempt(done + 1, facts)
            self._writer.append(name, facts, (mark, done + 1))
            del attempts[name]
        except StoreError as error:
            buffer.give_back(name, facts)
            return error
        return None

    def _note_changes(self, buffer: Buffer, taken: dict[str, list[Any]], now: datetime) -> StoreError | None:
        try:
            taken["events"] = self._unheard(taken["events"], now) + self._changes(taken["requests"], now)
        except StoreError as error:
            buffer.give_back("events", taken["events"])
            taken["events"] = []
            self._progress.heard = self._progress.known
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

    def _unheard(self, events: list[EventFact], now: datetime) -> list[EventFact]:
        p = self._progress
        if p.known is None:
            p.known = restore_configurations(self._reader, now, self._settings.retention_days)
        p.heard, kept = unheard(p.known, events)
        return kept

    def _judge(self, buffer: Buffer, now: datetime) -> None:
        step = max(timedelta(seconds=1), self._settings.judge_interval / self._book.clock_scale)
        end = EPOCH + (now - EPOCH) // step * step
        mark = f"judged:{self._book.clock_scale:g}"
        number = (self._writer.version("judgements", mark) or 0) + 1
        memory, since = self._where(end, step)
        count = (end - since) // step
        if count <= 0:
            return
        turn = judge(self._reader, self._book, memory, Grid(since + step, step, count))
        if not self._writer.append("judgements", turn.judgements, (mark, number)):
            self._progress.memory = None  # another collector was faster: go on from what it stored
            return
        self._progress.judged, self._progress.memory = end, turn.memory
        _announce(turn.events)
        if error := self._append(buffer, "events", list(turn.events)):
            raise error

    def _resume(self, now: datetime) -> None:
        """Diagnose on from where somebody last judged: nobody looked for incidents since."""
        if self._progress.diagnosed is None:
            upto = now - LATE
            judged = judged_until(self._reader, self._book, upto - CATCH_UP, upto)
            self._progress.diagnosed = judged or upto

    def _diagnose(self, now: datetime) -> None:
        """Look for incidents, up to a little before now: traces come later than scrapes."""
        p, upto = self._progress, now - LATE
        since = p.diagnosed or upto
        if not timedelta() < upto - since < CATCH_UP:
            p.diagnosed, p.diagnosis = upto, None  # a clock that jumped: begin anew
            return
        memory, found = diagnosing.diagnose(self._reader, self._book, p.diagnosis, since, upto)
        mark = (f"diagnosed:{self._book.clock_scale:g}", int(upto.timestamp()))
        if found:
            self._writer.append("events", found, mark)
        p.diagnosed, p.diagnosis = upto, memory

    def _where(self, end: datetime, step: timedelta) -> tuple[Memory, datetime]:
        """The memory and the instant to go on from; another collector may have judged in between.

        Instants far ahead were judged by a clock that was wrong then: they do not count.
        """
        p, newest = self._progress, judged_until(self._reader, self._book, end - FORGET_GROUP, end + CATCH_UP)
        judged = p.judged if p.judged and p.judged <= end + CATCH_UP else None
        since = max((t for t in (newest, judged) if t is not None), default=end - step)
        ours = p.memory if since == judged else None
        memory = ours or restore_memory(self._reader, self._book, since)
        return (memory, since) if end - since <= CATCH_UP else (_interrupted(memory), end - step)

    def _keep_up(self, buffer: Buffer, now: datetime) -> None:
        p = self._progress
        if p.upkept is not None and timedelta() <= now - p.upkept < self._settings.upkeep_interval:
            return
        # only a clock that went steadily since the last time drops days: one that jumps would drop all
        steady = p.upkept is not None and now - p.upkept < self._settings.upkeep_interval + CATCH_UP
        expire = (now - timedelta(days=self._settings.retention_days)).date() if steady else date.min
        p.upkept = now
        for name in TABLES:
            with self._reporting(buffer, now):
                log.debug("upkeep %s", self._writer.keep_up(name, expire, now))


def _interrupted(memory: Memory) -> Memory:
    """Nobody looked for so long that no condition is known to have held: each alert begins anew."""
    return Memory({key: Alert("no_data") for key in memory.alerts}, memory.seen)


def _announce(events: tuple[EventFact, ...]) -> None:
    for e in events:
        if "firing" in (e.before, e.after):
            log.warning("alert %s: %s (was %s) at %s", e.subject, e.after, e.before, e.at.isoformat())
