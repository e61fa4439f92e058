"""Loads a recording into a store at full speed, judging as its time passes.

Every append carries its place in the recording as a Delta transaction, so a replay that was killed goes
on where it stopped: nothing is lost and nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import zip_longest

from collectors.diagnosing import diagnose
from collectors.episodes import Transition
from collectors.judging import Book, Memory, judge
from collectors.model import Batch, EventFact
from collectors.restoring import restore_memory, restore_seen
from collectors.signals.changes import SETTLING, changes
from collectors.signals.points import Grid
from collectors.sources.recording import play, start
from collectors.sources.tape import Tape
from collectors.store.delta import DeltaWriter
from collectors.store.reader import Reader

CHUNK = timedelta(minutes=2)  # one commit a table; judging inside it is at every step all the same
STEP = timedelta(seconds=1)  # between judgements: a recording is scraped every second
DAYS = 3650


def replay(
    tape: Tape, writer: DeltaWriter, reader: Reader, book: Book, progress: Callable[[datetime], None]
) -> None:
    """Play the whole tape into the store. Raises StoreError."""
    memory, diagnosed, seen = None, None, restore_seen(reader, first_instant(tape), DAYS)
    for number, begin, end, batch in _played(tape):
        seen, changed = changes(seen, batch.requests, SETTLING / book.clock_scale)
        _store(writer, tape, number, batch, changed)
        if not _done(writer, "judgements", _mark(tape, book, "judged"), number):
            memory = restore_memory(reader, book, begin) if memory is None else memory
            memory = _judge(
                writer, reader, book, memory, tape, number, Grid(begin + STEP, STEP, (end - begin) // STEP)
            )
        if not _done(writer, "events", _mark(tape, book, "diagnosed"), number):
            diagnosed, found = diagnose(reader, book, diagnosed, begin, end)
            writer.append("events", found, (_mark(tape, book, "diagnosed"), number))
        progress(end)


def timeline(reader: Reader, book: Book, since: datetime, until: datetime) -> list[Transition]:
    """Every change of an alert's state in (since, until], from the judgements as they were stored."""
    d = reader.dialect
    rows = reader.query(
        "SELECT name, component, state, \"at\" FROM {judgements} WHERE subject = 'rule' "  # noqa: S608
        f"AND clock_scale = {book.clock_scale!r} "
        f'AND "at" > {d.instant(since)} AND "at" <= {d.instant(until)} '
        'ORDER BY "at", name, component',
        since=since,
        until=until,
    ).to_pylist()
    states: dict[tuple[str, str], str] = {}
    found = []
    for row in rows:
        key = (row["name"], row["component"])
        before, states[key] = states.get(key), row["state"]
        if before != row["state"] and not (before is None and row["state"] in {"inactive", "no_data"}):
            found.append(Transition(*key, row["state"], row["at"].astimezone(UTC)))
    return found


def first_instant(tape: Tape) -> datetime:
    """The whole second before the tape's first fact: where its judging begins."""
    return tape.start.replace(microsecond=0) - timedelta(seconds=1)


def _chunks(tape: Tape) -> Iterator[tuple[int, datetime, datetime]]:
    begin, number = first_instant(tape), 0
    while begin < tape.end:
        end = min(begin + CHUNK, tape.end.replace(microsecond=0) + timedelta(seconds=1))
        yield number, begin, end
        begin, number = end, number + 1


def _played(tape: Tape) -> Iterator[tuple[int, datetime, datetime, Batch]]:
    """Each chunk's facts; while one is judged, which is mostly the query engine's work, the next is read."""
    with ThreadPoolExecutor(1) as ahead:
        chunks = list(_chunks(tape))
        playing = ahead.submit(play, tape, start(tape), chunks[0][2])
        for (number, begin, end), following in zip_longest(chunks, chunks[1:]):
            head, batch = playing.result()
            if following:
                playing = ahead.submit(play, tape, head, following[2])
            yield number, begin, end, batch


def _store(writer: DeltaWriter, tape: Tape, number: int, batch: Batch, changed: list[EventFact]) -> None:
    mark = (f"replay:{tape.name}:{int(tape.start.timestamp())}", number)
    problems = [EventFact(p.at, "problem", p.subject, p.source, p.what, p.remedy) for p in batch.problems]
    writer.append("metrics", batch.metrics, mark)
    writer.append("requests", batch.requests, mark)
    writer.append("events", [*batch.events, *changed, *problems], mark)


def _mark(tape: Tape, book: Book, what: str) -> str:
    return f"{what}:{tape.name}:{int(tape.start.timestamp())}:{book.clock_scale:g}"


def _done(writer: DeltaWriter, table: str, mark: str, number: int) -> bool:
    done = writer.version(table, mark)
    return done is not None and done >= number


def _judge(
    writer: DeltaWriter, reader: Reader, book: Book, memory: Memory, tape: Tape, number: int, grid: Grid
) -> Memory:
    turn = judge(reader, book, memory, grid)
    writer.append("events", turn.events, (_mark(tape, book, "judged"), number))
    # last, because it marks the chunk as judged: a crash before it judges the chunk again, to the same rows
    writer.append("judgements", turn.judgements, (_mark(tape, book, "judged"), number))
    return turn.memory
