"""The collector's loop for real, on short intervals: it polls, stores and judges on, whatever breaks."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.buffer import SAY_AGAIN, Buffer
from collectors.daemon import Loop, Source, collect
from collectors.judging import Book
from collectors.keeping import Keeper
from collectors.model import Batch, EventFact, Kind, MetricFact, Problem, RequestFact
from collectors.settings import Settings
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.errors import StoreError

T = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SHORT = timedelta(seconds=0.2)
PATIENCE_S = 20.0
LIMIT = 1000
SECOND = timedelta(seconds=1)


def now() -> datetime:
    return datetime.now(UTC)


def metric(at: datetime, value: float = 1.0, name: str = "up") -> MetricFact:
    return MetricFact(at, "engine", "r", name, Kind.GAUGE, value)


def settings(root: Path, **others: Any) -> Settings:
    short = {"scrape_interval": SHORT, "flush_interval": SHORT, "judge_interval": timedelta(seconds=1)}
    return Settings(store=str(root), max_buffered_facts=LIMIT, **{**short, **others})


def loop_of(root: Path, sources: Sequence[Source], **others: Any) -> Loop:
    """A loop over these sources on a real store; rules and SLOs are not its matter."""
    chosen, book = settings(root, **others), Book((), ())
    keeper = Keeper(chosen, book, DeltaWriter(str(root)), DuckReader(str(root)), "c")
    return Loop(chosen, book, sources, keeper, now, asyncio.Event())


@asynccontextmanager
async def running(loop: Loop) -> AsyncIterator[asyncio.Task[None]]:
    """The loop, running; stopped at the end, and then everything is stored."""
    task = asyncio.create_task(collect(loop))
    try:
        yield task
    finally:
        loop.stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds, with patience."""
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, "it never happened"
        await asyncio.sleep(0.05)


def counted() -> tuple[Source, list[datetime]]:
    """A source with one fact a poll, and when it was polled."""
    polled: list[datetime] = []

    async def poll(at: datetime) -> Batch:
        polled.append(at)
        return Batch((metric(at),))

    return Source("engine", poll), polled


def rows(root: Path, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DuckReader(str(root)).query(sql).to_pylist()
    return found


def stored(root: Path) -> Counter[datetime]:
    """How often each poll's fact is in the store."""
    found = rows(root, "SELECT \"at\" FROM {metrics} WHERE source = 'engine' AND metric = 'up'")
    return Counter(row["at"].astimezone(UTC) for row in found)


def problems(root: Path) -> list[tuple[str, str]]:
    found = rows(root, "SELECT subject, before FROM {events} WHERE kind = 'problem' ORDER BY \"at\"")
    return [(row["subject"], row["before"]) for row in found]


def check(root: Path, polled: list[datetime]) -> None:
    """Every poll's fact is stored, once."""
    assert stored(root) == Counter(polled)


# ------------------------------------------------------------------------------------- it goes on
def test_every_poll_is_stored_and_the_last_ones_when_it_stops(store_root: Path) -> None:
    source, polled = counted()

    async def live() -> None:
        async with running(loop_of(store_root, [source], flush_interval=timedelta(hours=1))):
            await until(lambda: len(polled) >= 5)

    began = time.monotonic()
    asyncio.run(live())
    check(store_root, polled)
    assert len(polled) <= (time.monotonic() - began) / SHORT.total_seconds() + 1


async def breaks(_at: datetime) -> Batch:
    raise RuntimeError("boom")


async def hangs(_at: datetime) -> Batch:
    await asyncio.sleep(3600)
    return Batch()


@pytest.mark.parametrize(
    ("sick", "said"),
    [
        pytest.param(breaks, [("sick", "RuntimeError('boom')")], id="a source that breaks is said once"),
        pytest.param(hangs, [], id="a source that hangs"),
    ],
)
def test_a_sick_source_keeps_the_others_from_nothing(
    sick: Callable[[datetime], Awaitable[Batch]], said: list[tuple[str, str]], store_root: Path
) -> None:
    source, polled = counted()

    async def live() -> None:
        async with running(loop_of(store_root, [Source("sick", sick), source])):
            await until(lambda: len(polled) >= 8)

    asyncio.run(live())
    check(store_root, polled)
    assert problems(store_root) == said


def test_each_source_reports_its_own_duration(store_root: Path) -> None:
    async def slow(at: datetime) -> Batch:
        await asyncio.sleep(0.1)
        return Batch((metric(at),))

    async def live() -> None:
        loop = loop_of(store_root, [Source("engine", slow)])
        async with running(loop):
            await until(lambda: len(loop.buffer) == 0 and stored(store_root))

    asyncio.run(live())
    took = rows(store_root, "SELECT value FROM {metrics} WHERE metric = 'poll_duration_s'")
    assert all(0.1 <= row["value"] < 5 for row in took)
    assert took


# ----------------------------------------------------------------------------- an unwritable store
def test_what_cannot_be_stored_is_held_and_stored_later_once(store_root: Path) -> None:
    source, polled = counted()
    table, away = store_root / "metrics", store_root / "away"

    async def live() -> None:
        loop = loop_of(store_root, [source])
        async with running(loop):
            await until(lambda: len(polled) >= 3 and table.exists() and not len(loop.buffer))
            table.rename(away)
            table.write_text("a file where the table was")
            broken = len(polled)
            await until(lambda: len(polled) >= broken + 8 and len(loop.buffer) >= 5)
            table.unlink()
            away.rename(table)
            await until(lambda: len(loop.buffer) == 0)

    asyncio.run(live())
    check(store_root, polled)
    said = [subject for subject, _ in problems(store_root) if subject == str(table)]
    assert 1 <= len(said) <= 3  # reading and writing may fail each in its own words, each said once
    assert len(set(problems(store_root))) == len(problems(store_root))


class Unsure(DeltaWriter):
    """A writer whose every other commit fails, some of them only after they got through."""

    calls = 0

    def append(self, name: str, facts: Sequence[Any], transaction: tuple[str, int] | None = None) -> bool:
        self.calls += 1
        if self.calls % 4 == 0:
            raise StoreError(self.path(name), "no answer", "Wait")
        done = super().append(name, facts, transaction)
        if self.calls % 4 == 1:
            raise StoreError(self.path(name), "the answer got lost", "Wait")
        return done


def test_a_commit_that_got_through_after_all_is_not_stored_again(store_root: Path) -> None:
    buffer, at = Buffer(), [T + number * SECOND for number in range(12)]
    writer = Unsure(str(store_root))
    keeper = Keeper(settings(store_root), Book((), ()), writer, DuckReader(str(store_root)), "c")
    for number, instant in enumerate(at):
        requests = (request(number),) if number % 3 else ()
        buffer.add(Batch((metric(instant),), requests), LIMIT)
        keeper.turn(buffer, instant)
    for extra in range(1, 10):
        keeper.turn(buffer, at[-1] + extra * SECOND)
        if not len(buffer):
            break
    assert stored(store_root) == Counter(at)
    ids = rows(store_root, "SELECT request_id, count(*) AS n FROM {requests} GROUP BY request_id")
    assert {row["request_id"]: row["n"] for row in ids} == {f"r{n}": 1 for n in range(12) if n % 3}


def test_beyond_its_bound_the_oldest_facts_give_way_and_are_counted(store_root: Path) -> None:
    polls = 0

    async def chatty(at: datetime) -> Batch:
        nonlocal polls
        polls += 1
        return Batch(tuple(metric(at, float(n), f"m{polls}") for n in range(LIMIT // 4)))

    table = store_root / "metrics"
    table.parent.mkdir()
    table.write_text("a file where the table should be")
    longest: list[int] = []

    async def live() -> None:
        loop = loop_of(store_root, [Source("engine", chatty)])
        async with running(loop):
            while polls < 12:
                longest.append(len(loop.buffer))
                await asyncio.sleep(0.02)
            assert loop.buffer.dropped > 0
            table.unlink()
            await until(lambda: rows(store_root, "SELECT 1 FROM {metrics}"))

    asyncio.run(live())
    assert max(longest) <= LIMIT + 10  # between giving back and the next poll, the keeper's own few facts
    dropped = rows(store_root, "SELECT max(value) AS n FROM {metrics} WHERE metric = 'dropped_facts'")[0]["n"]
    kept = rows(store_root, "SELECT count(*) AS n FROM {metrics} WHERE metric LIKE 'm%'")[0]["n"]
    newest = rows(store_root, "SELECT count(*) AS n FROM {metrics} WHERE metric = 'm12'")[0]["n"]
    assert newest == LIMIT // 4
    assert polls * (LIMIT // 4) - kept <= dropped <= polls * (LIMIT // 4) - kept + 100
    assert dropped > LIMIT


def test_what_cannot_be_stored_in_the_end_is_an_error(store_root: Path) -> None:
    source, polled = counted()
    (store_root / "metrics").parent.mkdir()
    (store_root / "metrics").write_text("a file where the table should be")

    async def live() -> None:
        async with running(loop_of(store_root, [source])):
            await until(lambda: len(polled) >= 2)

    with pytest.raises(StoreError, match="metrics"):
        asyncio.run(live())


# ------------------------------------------------------------------------------- a keeper that breaks
class Broken:
    """A keeper with a mistake in it: every other turn raises what nobody expects."""

    def __init__(self) -> None:
        self.turns, self.flushes = 0, 0

    def turn(self, _buffer: Buffer, _now: datetime) -> None:
        self.turns += 1
        if self.turns % 2:
            raise ZeroDivisionError("a mistake")

    def flush(self, _buffer: Buffer, _now: datetime) -> None:
        self.flushes += 1


def test_a_mistake_in_keeping_is_said_and_does_not_end_it(
    store_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, polled = counted()
    loop, keeper = loop_of(store_root, [source]), Broken()
    loop.keeper = keeper  # type: ignore[assignment]

    async def live() -> None:
        async with running(loop):
            await until(lambda: keeper.turns >= 4)

    with caplog.at_level(logging.ERROR):
        asyncio.run(live())
    assert keeper.flushes == 1
    assert len(polled) >= 2
    said = [e for e in loop.buffer.take()["events"] if e.subject == "keeping"]
    assert [(e.kind, e.before) for e in said] == [("problem", "ZeroDivisionError('a mistake')")]
    assert "keeping broke" in caplog.text


class Slow:
    """A keeper whose turn takes a while; it remembers whether anything else went on meanwhile."""

    def __init__(self) -> None:
        self.busy, self.began, self.done = threading.Lock(), threading.Event(), list[str]()

    def turn(self, _buffer: Buffer, _now: datetime) -> None:
        self._act("turn", 0.5)

    def flush(self, _buffer: Buffer, _now: datetime) -> None:
        self._act("flush", 0.0)

    def _act(self, name: str, length_s: float) -> None:
        assert self.busy.acquire(blocking=False), "two at once"
        self.began.set()
        time.sleep(length_s)
        self.done.append(name)
        self.busy.release()


def test_stopped_in_the_middle_of_a_turn_it_ends_the_turn_before_the_last_flush(store_root: Path) -> None:
    keeper = Slow()
    loop = loop_of(store_root, [])
    loop.keeper = keeper  # type: ignore[assignment]

    async def live() -> None:
        async with running(loop):
            await until(keeper.began.is_set)

    asyncio.run(live())
    assert keeper.done == ["turn", "flush"]


# ------------------------------------------------------------------------------------- the buffer
def request(number: int) -> RequestFact:
    return RequestFact(T, f"r{number}", "s")


def test_of_a_full_buffer_the_oldest_of_the_fullest_table_go() -> None:
    buffer = Buffer()
    buffer.add(Batch(requests=tuple(request(n) for n in range(3))), 6)
    buffer.add(Batch(tuple(metric(T, float(n)) for n in range(5))), 6)
    taken = buffer.take()
    assert [f.value for f in taken["metrics"]] == [2.0, 3.0, 4.0]
    assert [r.request_id for r in taken["requests"]] == ["r0", "r1", "r2"]
    assert (len(buffer), buffer.dropped) == (0, 2)


def test_what_is_given_back_comes_first_again() -> None:
    buffer = Buffer()
    buffer.add(Batch(tuple(metric(T, float(n)) for n in range(2))), 10)
    taken = buffer.take()
    buffer.add(Batch((metric(T, 2.0),)), 10)
    buffer.give_back("metrics", taken["metrics"])
    assert [f.value for f in buffer.take()["metrics"]] == [0.0, 1.0, 2.0]


def problem(after: timedelta = timedelta(), what: str = "broken", subject: str = "r") -> Problem:
    return Problem(T + after, "engine", subject, what, "mend it")


@pytest.mark.parametrize(
    ("told", "new"),
    [
        pytest.param([problem(), problem(SECOND), problem(2 * SECOND)], [0], id="a lasting one is new once"),
        pytest.param([problem(), problem(SAY_AGAIN)], [0, 1], id="and again after a while"),
        pytest.param([problem(), problem(SECOND, "worse")], [0, 1], id="another of the same replica is new"),
        pytest.param(
            [problem(), problem(what="worse"), problem(SECOND), problem(SECOND, "worse")],
            [0, 1],
            id="two that last side by side are new once each",
        ),
        pytest.param(
            [problem(SECOND), problem(subject="q"), problem(2 * SECOND), problem(SECOND, subject="q")],
            [0, 1],
            id="two replicas that answered in another order",
        ),
        pytest.param([problem(), problem(subject="q")], [0, 1], id="the same of another replica is new"),
        pytest.param([problem(), problem(-SECOND)], [0, 1], id="after a clock went back it is new"),
    ],
)
def test_a_problem_is_new(told: list[Problem], new: list[int]) -> None:
    buffer = Buffer()
    said = [buffer.add(Batch(problems=(p,)), 100) for p in told]
    assert [n for n, found in enumerate(said) if found] == new
    events: list[EventFact] = buffer.take()["events"]
    assert [(e.at, e.kind, e.subject, e.source, e.before, e.after) for e in events] == [
        (told[n].at, "problem", told[n].subject, "engine", told[n].what, "mend it") for n in new
    ]


def test_problems_in_ever_new_words_are_not_all_remembered() -> None:
    buffer = Buffer()
    for number in range(2000):
        buffer.add(Batch(problems=(problem(number * SECOND, f"it happened at {number}"),)), 100)
    assert len(buffer._said) <= SAY_AGAIN / SECOND
    assert len(buffer) == 100
