"""Diagnosing from a store: the same incidents in one go, in turns, after a restart and by two collectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

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


def test_after_a_restart_what_is_not_found_again_ends(reader: DuckReader, book: Book, tmp_path: Path) -> None:
    """It was open when the collector stopped, and nobody else would ever end it."""
    root, stopped = str(tmp_path), at_second(40)
    _copied(reader, DeltaWriter(root), BEGIN, at_second(60))
    told: dict[str, Any] = {
        "component": None,
        "end": None,
        "confidence": 0.5,
        "evidence": [],
        "consequences": [],
    }
    starts = {"inc-old": at_second(-86_400), "inc-new": at_second(20)}
    causes = {"inc-old": "decode_slow", "inc-new": "replica_down"}
    for name, start in starts.items():
        at = start.timestamp()
        opened = json.dumps({**told, "id": name, "cause": causes[name], "start": at, "detected": at})
        event = EventFact(at_second(30), "incident", name, "diagnose", "open", opened)
        DeltaWriter(root).append("events", [event])
    memory, found = diagnose(DuckReader(root), book, None, stopped, at_second(44))
    assert {e.subject: e.before for e in found} == dict.fromkeys(starts, "open")
    _, later = diagnose(DuckReader(root), book, memory, at_second(44), at_second(60))
    ends = {e.subject: json.loads(e.after or "")["end"] for e in later}
    assert ends == dict.fromkeys(starts, stopped.timestamp())


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
