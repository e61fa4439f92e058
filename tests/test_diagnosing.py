"""Diagnosing from a store: the same incidents in one go, in turns, after a restart and by two collectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from collectors.buffer import Buffer
from collectors.cli import wiring
from collectors.diagnosing import diagnose
from collectors.judging import Book
from collectors.keeping import LATE, Keeper
from collectors.model import EventFact
from collectors.settings import Settings
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.incidents import incidents
from tests.recordings import CLOCK_SCALE, at_second, replayed

pytestmark = pytest.mark.slow
BEGIN, END = at_second(-2), at_second(330)
CAUSES = ["prefix_cache_broken", "traffic_burst", "long_context_pressure"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> DuckReader:
    return DuckReader(str(replayed(tmp_path_factory)))


@pytest.fixture(scope="module")
def book() -> Book:
    return replace(wiring.book(Settings()), clock_scale=CLOCK_SCALE)


@pytest.fixture(scope="module")
def whole(reader: DuckReader, book: Book) -> list[EventFact]:
    return diagnose(reader, book, None, BEGIN, END)[1]


def newest(events: Sequence[EventFact]) -> dict[str, str | None]:
    """The newest telling of each incident."""
    return {e.subject: e.after for e in sorted(events, key=lambda e: e.at)}


def turns(
    reader: DuckReader, book: Book, ends: Sequence[datetime], restart: int | None = None
) -> list[EventFact]:
    memory, since, found = None, BEGIN, []
    for number, end in enumerate(ends):
        memory = None if number == restart else memory
        memory, told = diagnose(reader, book, memory, since, end)
        found += told
        since = end
    return found


def test_what_was_stored_is_what_is_found(reader: DuckReader, whole: list[EventFact]) -> None:
    stored = [i for i in incidents(reader) if i["start"] < at_second(320).timestamp()]
    assert [i["cause"] for i in stored] == CAUSES
    assert list(newest(whole)) == [i["id"] for i in stored]


def test_short_turns_find_the_same(reader: DuckReader, book: Book, whole: list[EventFact]) -> None:
    ends = [BEGIN + timedelta(seconds=7.3 * k) for k in range(1, 46)]
    found = turns(reader, book, [*ends, END])
    assert newest(found) == newest(whole)


@pytest.mark.parametrize("second", [100, 195], ids=["in the first fault", "in the next"])
def test_after_a_restart_they_go_on_under_their_names(
    reader: DuckReader, book: Book, whole: list[EventFact], second: int
) -> None:
    found = turns(reader, book, [at_second(second), END], restart=1)
    assert set(newest(found)) == set(newest(whole))


def test_after_a_restart_what_is_not_found_again_has_ended(
    reader: DuckReader, book: Book, tmp_path: Path
) -> None:
    """It was open when the collector stopped, and nobody else would ever end it."""
    root, now = str(tmp_path), at_second(60)
    _copied(reader, DeltaWriter(root), BEGIN, now)
    starts = {"inc-old": at_second(-86_400), "inc-new": at_second(20)}
    opened = [
        {"id": name, "cause": "decode_slow", "detected": 5.0, "end": None, "start": at.timestamp()}
        for name, at in starts.items()
    ]
    events = [
        EventFact(at_second(30), "incident", name, "diagnose", "open", json.dumps(told))
        for name, told in zip(starts, opened, strict=True)
    ]
    DeltaWriter(root).append("events", events)
    _, found = diagnose(DuckReader(root), book, None, now, at_second(70))
    ends = {e.subject: json.loads(e.after or "") for e in found}
    assert {n: (i["end"], i["became_usual"]) for n, i in ends.items() if n in starts} == {
        "inc-old": (now.timestamp(), True),
        "inc-new": (now.timestamp(), False),
    }


def test_without_facts_nothing_is_found(tmp_path: Path, book: Book) -> None:
    memory, found = diagnose(DuckReader(str(tmp_path)), book, None, BEGIN, END)
    assert found == []
    assert diagnose(DuckReader(str(tmp_path)), book, memory, END, END + timedelta(minutes=1))[1] == []


def test_a_collector_tells_them_as_they_come(reader: DuckReader, book: Book, tmp_path: Path) -> None:
    """The keeper of a live collector, on facts that come second by second, by two collectors at once."""
    root, from_s, until_s = str(tmp_path), -2, 94
    own, settings = DuckReader(root), Settings(store=root, clock_scale=CLOCK_SCALE)
    writer = DeltaWriter(root)
    keepers = [Keeper(settings, book, DeltaWriter(root), own, name) for name in ("one", "other")]
    for second in range(from_s, until_s, 12):
        now = at_second(second + 12)
        _copied(reader, writer, at_second(second), now)
        for keeper in keepers:
            keeper.turn(Buffer(), now + LATE)
    found = incidents(own)
    assert [(i["cause"], i["component"], i["end"]) for i in found] == [
        ("prefix_cache_broken", "prompt_version=v43", None)
    ]


def _copied(reader: DuckReader, writer: DeltaWriter, since: datetime, until: datetime) -> None:
    from collectors.store.tables import TABLES, facts

    for name in ("metrics", "requests"):
        found = reader.query(f"SELECT * FROM {{{name}}}", since=since, until=until)
        writer.append(name, facts(TABLES[name], found))
