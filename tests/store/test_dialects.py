"""One contract for every engine that reads the store: DuckDB and ClickHouse (embedded, as chDB) agree."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collectors.model import EventFact, Judgement
from collectors.restoring import restore_seen
from collectors.signals.points import at_instant
from collectors.store.clickhouse import ClickHouseReader
from collectors.store.delta import DeltaWriter
from collectors.store.dialect import CLICKHOUSE, DUCKDB, Dialect
from collectors.store.duckdb import DuckReader
from collectors.store.errors import StoreError
from collectors.store.latest import first_fact, latest_clock_scale, newest_fact
from collectors.store.lookup import events_before, find_requests, peers, scrape_interval
from collectors.store.prefixes import alike, prefill, prefixes, presences
from collectors.store.prefixes import engines as engines_of
from collectors.store.reader import Reader
from collectors.store.series import series
from tests.store.generated import LENGTH_S, START, Facts, generated
from tests.store.test_series import KINDS, agree, looks, reading
from tests.store.test_windows import NAMES

WHY = "needs chdb and clickhouse-connect: they are in the dev requirements"
END = START + timedelta(seconds=LENGTH_S)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store below the working directory, which is all that embedded ClickHouse may read."""
    pytest.importorskip("chdb", reason=WHY)
    pytest.importorskip("clickhouse_connect", reason=WHY)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "it's 日本" / "store"


def engines(root: Path) -> tuple[Reader, Reader]:
    return DuckReader(str(root)), ClickHouseReader(str(root))


def filled(root: Path, seed: int) -> Facts:
    """Facts, events and judgements in all four tables."""
    facts = generated(seed, root)
    writer = DeltaWriter(str(root))
    writer.append("events", [EventFact(START, "first_seen", "adapter=it's {events}", "gateway", None, "\\")])
    writer.append("judgements", [Judgement(START, "rule", "high_ttft", "", "firing", 1.5, clock_scale=20.0)])
    return facts


def check(root: Path, ask: Callable[[Reader], Any]) -> None:
    """Both engines give the same answer."""
    duck, house = engines(root)
    assert ask(house) == ask(duck)


def test_what_a_versions_requests_found_cached_agrees(root: Path) -> None:
    filled(root, 3)
    check(root, presences)
    for of in presences(engines(root)[0]):
        for ask in (partial(alike, of=of, version=of.version), partial(prefixes, of=of)):
            check(root, ask)
        check(root, partial(engines_of, since=of.since, until=of.until))
        duck, house = (prefill(reader, of, [of.version]) for reader in engines(root))
        assert astuple(house) == pytest.approx(astuple(duck))


# ------------------------------------------------------------------------------------------ readings
@pytest.mark.parametrize("seed", range(2))
def test_every_kind_of_reading_is_the_same(seed: int, root: Path) -> None:
    generated(seed, root)
    duck, house = engines(root)
    with duck.snapshot(), house.snapshot():
        for number, name in enumerate(KINDS):
            kind, (grid, window) = reading(name), looks(seed)[(seed + number) % 2]
            groups = [("nobody",) * len(kind.by)] if kind.by else []
            agree(series(house, kind, grid, window, groups), series(duck, kind, grid, window, groups), name)


# ------------------------------------------------------------------------------------------- look-ups
def test_look_ups_are_the_same(root: Path) -> None:
    facts = filled(root, 5)
    for request in facts.requests[:4]:
        for wanted in (request.request_id, request.session_id, request.trace_id, "nobody"):
            check(root, partial(find_requests, wanted=wanted or ""))
        check(root, partial(peers, request=request))
        check(root, partial(scrape_interval, at=request.at))
        check(root, partial(events_before, request=request, span=2 * (END - START), kinds=("first_seen",)))


def test_the_ends_of_the_store_and_what_was_seen_are_the_same(root: Path) -> None:
    filled(root, 6)
    for ask in (
        first_fact,
        newest_fact,
        lambda r: latest_clock_scale(r, END),
        lambda r: restore_seen(r, END, 1),
    ):
        check(root, ask)


@pytest.mark.parametrize("table", ["metrics", "requests", "events", "judgements"])
def test_a_table_that_is_not_there_yet_is_empty_and_has_its_columns(table: str, root: Path) -> None:
    rows, columns = (f"SELECT {what} FROM {{{table}}}" for what in ("count(*) AS n", "*"))
    check(root, lambda r: r.query(rows).to_pylist())
    check(root, lambda r: r.query(columns).column_names)


def test_nothing_is_found_in_an_empty_store(root: Path) -> None:
    check(root, lambda r: (find_requests(r, "nobody"), first_fact(r), latest_clock_scale(r, END)))


def test_rows_outside_the_span_of_a_query_are_not_seen(root: Path) -> None:
    facts = generated(3, root)
    at = sorted(r.at for r in facts.requests)
    since, until = at[len(at) // 3], at[len(at) // 2]
    inside = sum(since < t <= until for t in at)
    assert inside
    for engine in engines(root):
        found = engine.query("SELECT count(*) AS n FROM {requests}", since=since, until=until)
        assert found.to_pylist() == [{"n": inside}]


def test_a_snapshot_does_not_see_what_is_committed_in_the_meantime(root: Path) -> None:
    filled(root, 2)
    for engine in engines(root):
        before = newest_events(engine)
        with engine.snapshot():
            assert newest_events(engine) == before
            DeltaWriter(str(root)).append("events", [EventFact(END, "alert", "s", "judge")])
            assert newest_events(engine) == before
        assert newest_events(engine) == before + 1


def newest_events(engine: Reader) -> int:
    found: int = engine.query("SELECT count(*) AS n FROM {events}").to_pylist()[0]["n"]
    return found


def test_threads_may_share_an_engine(root: Path) -> None:
    generated(3, root)
    for engine in engines(root):
        ask = partial(series, engine, reading("median of requests"))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, [at_instant(END)] * 4))
        assert found == found[:1] * 4


# --------------------------------------------------------------------------------------- quoting
@pytest.mark.parametrize("name", NAMES)
def test_a_text_comes_back_as_it_went_in(name: str, root: Path) -> None:
    for engine in engines(root):
        literal = engine.dialect.literal(name)
        assert (
            engine.query(f"SELECT {literal} AS t, {literal} = {literal} AS same").to_pylist()[0]["t"] == name
        )


@pytest.mark.parametrize("dialect", [DUCKDB, CLICKHOUSE], ids=lambda d: d.name)
def test_only_place_holders_outside_of_texts_are_tables(dialect: Dialect) -> None:
    texts = ["{a}", "'{a}", "\\{a}", "'", "\\'{a}"]
    quoted = ", ".join(dialect.literal(t) for t in texts)
    sql = f'SELECT {quoted}, "at" FROM {{a}} JOIN {{b}}'
    assert (
        dialect.filled(sql, ("a",), lambda name: f"<{name}>") == f'SELECT {quoted}, "at" FROM <a> JOIN {{b}}'
    )


# ---------------------------------------------------------------------------------------- failures
def test_a_store_that_embedded_clickhouse_may_not_read_says_what_to_do(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "store"
    generated(3, elsewhere)
    with pytest.raises(StoreError, match=r"is not inside.* embedded, start above the store"):
        first_fact(ClickHouseReader(str(elsewhere)))


def test_a_server_that_does_not_answer_is_named_without_its_password(root: Path, free_port: int) -> None:
    reader = ClickHouseReader(str(root), f"clickhouse://me:secret@127.0.0.1:{free_port}")
    with pytest.raises(
        StoreError, match=r"^clickhouse://127\.0\.0\.1:\d+: .*Start it, or correct its URL$"
    ) as raised:
        first_fact(reader)
    assert "secret" not in str(raised.value)
