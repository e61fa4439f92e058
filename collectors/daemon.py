"""The collector's loop: poll every source, commit what came, judge what is new, keep the tables small.

Polling and storing never wait for each other. What cannot be stored is held, bounded, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from collectors.buffer import Buffer
from collectors.judging import Book
from collectors.keeping import Keeper
from collectors.model import Batch, Kind, MetricFact, Problem
from collectors.settings import Settings

log = logging.getLogger("mangaops.collector")

Clock = Callable[[], datetime]
Poll = Callable[[datetime], Awaitable[Batch]]


@dataclass(frozen=True, slots=True)
class Source:
    """Something to poll, by name. `last` is asked once, when the loop stops: what must not be lost."""

    name: str
    poll: Poll
    last: Poll | None = None


@dataclass(slots=True)
class Loop:
    """What the collector's tasks share."""

    settings: Settings
    book: Book
    sources: Sequence[Source]
    keeper: Keeper
    clock: Clock
    stop: asyncio.Event
    buffer: Buffer = field(default_factory=Buffer)


async def collect(loop: Loop) -> None:
    """Run until `stop` is set; then store what is still held."""
    polls = [asyncio.create_task(_polling(loop, source)) for source in loop.sources]
    keeping = asyncio.create_task(_keeping(loop))
    await loop.stop.wait()
    for task in polls:
        task.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await asyncio.gather(*(_asked(loop, s, s.last) for s in loop.sources if s.last))
    await keeping  # never cancelled: its thread would commit on, beside the last flush
    await asyncio.to_thread(loop.keeper.flush, loop.buffer, loop.clock())


async def _polling(loop: Loop, source: Source) -> None:
    """Poll one source at its interval; a source that breaks is a problem, and the others go on."""
    while True:
        began = loop.clock()
        await _asked(loop, source, source.poll)
        await asyncio.sleep(_until_next(began, loop.clock(), loop.settings.scrape_interval))


async def _asked(loop: Loop, source: Source, poll: Poll) -> None:
    """Hold what the source tells now."""
    began = loop.clock()
    try:
        batch = await poll(began)
    except Exception as error:
        log.exception("source %s broke", source.name)
        remedy = "See the collector's log; the source is polled again"
        batch = Batch(problems=(Problem(began, source.name, source.name, repr(error)[:200], remedy),))
    own = _own(source, began, loop.clock())
    _report(loop.buffer.add(batch + own, loop.settings.max_buffered_facts))


def _own(source: Source, began: datetime, ended: datetime) -> Batch:
    """What the source itself took, as a fact; a clock that jumped back makes it nothing."""
    took = max(0.0, (ended - began).total_seconds())
    return Batch((MetricFact(began, source.name, source.name, "poll_duration_s", Kind.GAUGE, took),))


async def _keeping(loop: Loop) -> None:
    """Commit, judge and maintain, one after the other, in a thread of their own."""
    while not loop.stop.is_set():
        began = loop.clock()
        try:
            await asyncio.to_thread(loop.keeper.turn, loop.buffer, began)
        except Exception as error:
            log.exception("keeping broke")
            remedy = "See the collector's log; facts are held and it is tried again"
            problem = Problem(began, "collector", "keeping", repr(error)[:200], remedy)
            loop.buffer.add(Batch(problems=(problem,)), loop.settings.max_buffered_facts)
        with suppress(TimeoutError):
            pause = _until_next(began, loop.clock(), loop.settings.flush_interval)
            await asyncio.wait_for(loop.stop.wait(), pause)


def _until_next(began: datetime, now: datetime, interval: timedelta) -> float:
    """Seconds to the next turn; a clock that jumped back must not stretch it."""
    passed = max(timedelta(), now - began)
    return max(0.05, (interval - passed).total_seconds())


def _report(problems: Sequence[Problem]) -> None:
    for p in problems:
        log.warning("%s %s: %s. %s", p.source, p.subject, p.what, p.remedy)
