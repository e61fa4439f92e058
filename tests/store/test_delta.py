"""The tables as writer and reader see them: nothing is lost and nothing doubled, whatever breaks off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.model import Bucket, EventFact, Judgement, Kind, MetricFact, RequestFact
from collectors.store.delta import FILES_KEPT, ORPHANS_KEPT_H, DeltaWriter, Upkeep
from collectors.store.duckdb import DuckReader
from collectors.store.errors import StoreError
from collectors.store.tables import TABLES, facts

ROOT = Path(__file__).resolve().parents[2]
T = datetime(2026, 11, 21, 7, 22, 30, 123456, tzinfo=UTC)
TOKYO = timezone(timedelta(hours=9))
LONG_AGO = date(2020, 1, 1)

FACTS: dict[str, list[Any]] = {
    "metrics": [
        MetricFact(T, "engine", "r:8000", "ttft_s", Kind.HISTOGRAM, 3.0, "llama", "0", "", 5.0, 0.4,
                   (Bucket(0.0, 0.1, 2.0), Bucket(0.1, float("inf"), 1.0))),
        MetricFact(T, "engine", "r:8000", "preemptions", Kind.COUNTER, 0.0, interval_s=5.0),
        MetricFact(T, "engine", "r:8000", "kv_usage_ratio", Kind.GAUGE, 0.25),
        MetricFact(T, "engine", "r:8000", "e2e_s", Kind.HISTOGRAM, 0.0, sum=0.0, buckets=()),
    ],
    "requests": [
        RequestFact(
            at=T, request_id="req-1", source="s", trace_id="00ff" * 8, session_id="会話 1", turn=2,
            replica="r", variant="a", model="llama", adapter="manga_v3", backend_version="0.24",
            prompt_version="v42", intent="discovery", locale="ja-JP", http_status=200,
            error_kind="none", prompt_tokens=1190, cached_tokens=0, output_tokens=64,
            budget_trimmed=False, oom_caught=True, frontend_ms=1.0,
            gateway_ms=0.0, queue_ms=0.25, prefill_ms=20.5, decode_ms=800.125, ttft_ms=22.0, e2e_ms=822.0,
            prefix_fingerprint="f",
        ),
        RequestFact(at=T, request_id="nothing but an id", source=""),
    ],
    "events": [
        EventFact(T, "first_seen", "adapter=manga_v4", "s", "manga_v3", "manga_v4"),
        EventFact(T.replace(microsecond=0), "problem", "", "it's \"quoted\"\n", None, ""),
    ],
    "judgements": [
        Judgement(
            T, "rule", "high_ttft", "", "firing", 812.5, 500.0, 1000.0, 40.0, 500.0,
            active_at=T, fired_at=T, kept_since=T, clock_scale=20.0, settings="abc",
        ),
        Judgement(T, "slo", "ttft_p50", "requests", "no_data", missing="no requests in the window"),
    ],
}  # fmt: skip


def check(root: Path, counts: dict[str, int]) -> None:
    """The tables hold so many rows, and each can be appended to and read."""
    reader = DuckReader(str(root))
    assert {name: count(reader, name) for name in counts} == counts


def count(reader: DuckReader, name: str) -> int:
    found: int = reader.query(f"SELECT count(*) AS n FROM {{{name}}}").to_pylist()[0]["n"]
    return found


def stored(root: Path, name: str) -> list[Any]:
    return facts(TABLES[name], DuckReader(str(root)).query(f"SELECT * FROM {{{name}}}"))


def events(number: int, at: datetime = T, kind: str = "k") -> list[EventFact]:
    return [EventFact(at + timedelta(seconds=i), kind, str(i), "s") for i in range(number)]


def impatient(root: Path, name: str) -> None:
    """Replaced files and old log entries are no longer kept for ten minutes: upkeep removes them at once."""
    at_once = {"delta.logRetentionDuration": "interval 0 seconds"}
    at_once["delta.deletedFileRetentionDuration"] = "interval 0 seconds"
    DeltaTable(str(root / name)).alter.set_table_properties(at_once)


# --------------------------------------------------------------------------------------- as it went in
@pytest.mark.parametrize("name", FACTS)
def test_a_fact_comes_back_as_it_went_in(name: str, store_root: Path) -> None:
    assert DeltaWriter(str(store_root)).append(name, FACTS[name])
    assert Counter(stored(store_root, name)) == Counter(FACTS[name])


# each day is a folder and a file of its own, so not too many of them
SECONDS = st.floats(0, 2 * 86_400).map(lambda s: datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=s))
INSTANTS = SECONDS | st.sampled_from(
    [datetime(1969, 7, 20, 20, 17, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)]
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.floats(allow_nan=False)
BUCKETS = st.lists(st.builds(Bucket, NUMBERS, NUMBERS, NUMBERS), max_size=3).map(tuple)
COUNTS = st.none() | st.integers(-(2**31), 2**31 - 1)
MAYBE_TEXT, MAYBE_NUMBER, MAYBE_INSTANT = st.none() | TEXTS, st.none() | NUMBERS, st.none() | INSTANTS
ANY_FACT: dict[str, st.SearchStrategy[Any]] = {
    "metrics": st.builds(
        MetricFact, INSTANTS, TEXTS, TEXTS, TEXTS, st.sampled_from(Kind), NUMBERS, TEXTS, TEXTS, TEXTS,
        MAYBE_NUMBER, MAYBE_NUMBER, st.none() | BUCKETS,
    ),
    "requests": st.builds(
        RequestFact, INSTANTS, TEXTS, TEXTS,
        trace_id=st.none() | st.integers(0, 2**128 - 1).map(lambda n: f"{n:032x}"),
        session_id=MAYBE_TEXT, turn=COUNTS, http_status=COUNTS, oom_caught=st.none() | st.booleans(),
        cached_tokens=COUNTS, e2e_ms=MAYBE_NUMBER, prefix_fingerprint=MAYBE_TEXT,
    ),
    "events": st.builds(EventFact, INSTANTS, TEXTS, TEXTS, TEXTS, MAYBE_TEXT, MAYBE_TEXT),
    "judgements": st.builds(
        Judgement, INSTANTS, TEXTS, TEXTS, TEXTS, TEXTS, MAYBE_NUMBER, active_at=MAYBE_INSTANT,
        fired_at=MAYBE_INSTANT, kept_since=MAYBE_INSTANT, clock_scale=NUMBERS,
    ),
}  # fmt: skip


@settings(max_examples=20)
@given(data=st.data(), name=st.sampled_from(sorted(ANY_FACT)))
def test_any_fact_comes_back_as_it_went_in(data: st.DataObject, name: str) -> None:
    wanted = data.draw(st.lists(ANY_FACT[name], min_size=1, max_size=20))
    with tempfile.TemporaryDirectory() as folder:
        DeltaWriter(folder).append(name, wanted)
        assert Counter(stored(Path(folder), name)) == Counter(wanted)


def test_an_instant_of_another_zone_is_kept_under_its_utc_day(store_root: Path) -> None:
    at = datetime(2026, 11, 22, 3, 0, tzinfo=TOKYO)
    DeltaWriter(str(store_root)).append("events", events(1, at))
    assert stored(store_root, "events")[0].at == at
    assert [p.name for p in (store_root / "events").glob("day=*")] == ["day=2026-11-21"]


def test_an_empty_store_reads_as_empty_with_every_column(store_root: Path) -> None:
    for name, table in TABLES.items():
        found = DuckReader(str(store_root)).query(f"SELECT * FROM {{{name}}}")
        assert (found.num_rows, found.column_names) == (0, table.schema.names)
    assert DeltaWriter(str(store_root)).version("events", "any") is None
    assert DeltaWriter(str(store_root)).keep_up("events", LONG_AGO, T).skipped == "no table yet"
    assert not store_root.exists()


def test_no_facts_are_no_commit(store_root: Path) -> None:
    assert DeltaWriter(str(store_root)).append("events", [])
    assert not store_root.exists()


# -------------------------------------------------------------------------------------- once and whole
@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        pytest.param([1, 1], [True, False], id="the same again is not stored again"),
        pytest.param([1, 2], [True, True], id="the next is"),
        pytest.param([2, 1], [True, False], id="an older one comes too late"),
    ],
)
def test_a_transaction_is_stored_once(versions: list[int], taken: list[bool], store_root: Path) -> None:
    # a new writer each time, as after a crash
    found = [DeltaWriter(str(store_root)).append("events", events(3), ("replay", v)) for v in versions]
    assert found == taken
    check(store_root, {"events": 3 * sum(taken)})
    assert DeltaWriter(str(store_root)).version("events", "replay") == max(versions)
    assert DeltaWriter(str(store_root)).version("events", "another") is None


def test_a_transaction_outlives_compaction_and_the_log(store_root: Path) -> None:
    writer = DeltaWriter(str(store_root))
    writer.append("events", events(3), ("replay", 7))
    impatient(store_root, "events")
    for _ in range(5):
        writer.append("events", events(1))
    assert writer.keep_up("events", LONG_AGO, T).compacted == 6
    assert not DeltaWriter(str(store_root)).append("events", events(3), ("replay", 7))
    check(store_root, {"events": 8})


def test_of_writers_with_one_transaction_one_is_taken(tmp_path: Path) -> None:
    for number in range(5):  # each time on a table that they begin together
        for version in range(1, 4):
            taken = at_once(4, partial(append_marked, tmp_path / str(number), version))
            assert sorted(taken) == [False, False, False, True]
        check(tmp_path / str(number), {"events": 3})


def append_marked(root: Path, version: int, _thread: int) -> bool:
    return DeltaWriter(str(root)).append("events", events(1), ("judge", version))


def test_writers_that_begin_a_table_together_all_succeed(store_root: Path) -> None:
    assert at_once(5, lambda _: DeltaWriter(str(store_root)).append("events", events(2))) == [True] * 5
    check(store_root, {"events": 10})


def at_once(number: int, act: Callable[[int], Any]) -> list[Any]:
    """What each of some threads gave, started together."""
    found: list[Any] = [None] * number
    gate = threading.Barrier(number)

    def run(i: int) -> None:
        gate.wait(10)
        found[i] = act(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


WRITER = """
import sys
from datetime import date, datetime, UTC
from collectors.model import EventFact
from collectors.store.delta import DeltaWriter
root, name, commits = sys.argv[1], sys.argv[2], int(sys.argv[3])
writer = DeltaWriter(root)
print("ready", flush=True)
sys.stdin.readline()
for n in range(commits):
    writer.append("events", [EventFact(datetime(2026, 1, 1, tzinfo=UTC), name, str(n), name)] * 2)
    if n % 10 == 9:
        writer.keep_up("events", date(2020, 1, 1), datetime.now(UTC))
"""


def test_two_processes_that_write_together_lose_nothing(store_root: Path) -> None:
    writers = [python(WRITER, str(store_root), name, "50") for name in ("a", "b")]
    try:
        for each in writers:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in writers:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        assert [(each.wait(120), errors(each)) for each in writers] == [(0, ""), (0, "")]
    finally:
        for each in writers:
            each.kill()
            each.communicate()
    found = DuckReader(str(store_root)).query(
        "SELECT source, count(*) AS n, count(DISTINCT subject) AS d FROM {events} GROUP BY 1 ORDER BY 1"
    )
    assert found.to_pylist() == [{"source": s, "n": 100, "d": 50} for s in ("a", "b")]


def python(script: str, *args: str) -> subprocess.Popen[str]:
    """A process of its own that runs the script with the project on its path."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", script, *args], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def errors(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()


# ------------------------------------------------------------------------------------------ upkeep
def test_upkeep_joins_small_files_and_drops_days_that_are_too_old(store_root: Path) -> None:
    writer = DeltaWriter(str(store_root))
    for _ in range(5):
        writer.append("events", events(2) + events(3, T - timedelta(days=40)))
    done = writer.keep_up("events", (T - timedelta(days=35)).date(), T)
    assert (done.compacted, done.expired, done.skipped) == (5, 5, None)
    check(store_root, {"events": 10})
    assert len(DeltaTable(str(store_root / "events")).file_uris()) == 1


def test_upkeeps_at_once_keep_each_row_once(store_root: Path) -> None:
    for round_ in range(1, 9):
        for _ in range(4):
            DeltaWriter(str(store_root)).append("events", events(1))
        done = at_once(4, partial(kept_up, store_root, T + timedelta(minutes=round_)))
        assert len([d for d in done if d.skipped is None]) >= 1
        check(store_root, {"events": 4 * round_})


def kept_up(root: Path, now: datetime, _thread: int) -> Upkeep:
    return DeltaWriter(str(root)).keep_up("events", LONG_AGO, now)


@pytest.mark.parametrize(
    ("later", "own", "skipped"),
    [
        pytest.param(timedelta(minutes=59), False, True, id="another collector may still be at it"),
        pytest.param(timedelta(minutes=61), False, False, id="another that began an hour ago has died"),
        pytest.param(-timedelta(minutes=1), False, True, id="another collector's clock is a little ahead"),
        pytest.param(-timedelta(days=300), False, False, id="another collector's clock was far ahead"),
        pytest.param(timedelta(minutes=1), True, False, id="our own upkeep broke off and is tried again"),
    ],
)
def test_an_upkeep_that_never_ended(later: timedelta, own: bool, skipped: bool, store_root: Path) -> None:
    writer = DeltaWriter(str(store_root))
    for _ in range(3):
        writer.append("events", events(2))
    lost = next((store_root / "events").glob("day=*/*.parquet"))
    lost.rename(store_root / "lost")
    with pytest.raises(StoreError):
        writer.keep_up("events", LONG_AGO, T)
    (store_root / "lost").rename(lost)
    done = (writer if own else DeltaWriter(str(store_root))).keep_up("events", LONG_AGO, T + later)
    assert (done.skipped is not None) is skipped
    assert done.compacted == (0 if skipped else 3)
    check(store_root, {"events": 6})


def test_what_readers_may_still_use_stays_for_a_while(store_root: Path) -> None:
    writer = DeltaWriter(str(store_root))
    for _ in range(5):
        writer.append("events", events(2))
    reader = DuckReader(str(store_root))
    with reader.snapshot():
        assert count(reader, "events") == 10
        assert writer.keep_up("events", LONG_AGO, T).vacuumed == 0
        assert count(reader, "events") == 10
    configuration = DeltaTable(str(store_root / "events")).metadata().configuration
    assert configuration["delta.deletedFileRetentionDuration"] == FILES_KEPT == "interval 10 minutes"


@pytest.mark.parametrize(
    ("hours", "stays"),
    [
        pytest.param(1, True, id="one of the last hour, for a writer may be about to commit it"),
        pytest.param(24, True, id="one of yesterday, for a lost log may come back"),
        pytest.param(ORPHANS_KEPT_H + 1, False, id="one that nobody can miss goes"),
    ],
)
def test_a_file_that_no_commit_names(hours: float, stays: bool, store_root: Path) -> None:
    writer = DeltaWriter(str(store_root))
    writer.append("events", events(2))
    orphan = orphaned(store_root / "events")
    os.utime(orphan, (time.time() - hours * 3600,) * 2)
    writer.keep_up("events", LONG_AGO, T)
    assert orphan.exists() is stays
    check(store_root, {"events": 2})


def orphaned(table: Path) -> Path:
    """A copy of a data file, as a writer leaves it that was killed before its commit."""
    data = next(table.glob("day=*/*.parquet"))
    return Path(shutil.copy(data, data.with_name("part-00000-left-behind.parquet")))


def test_a_reader_never_notices_upkeep(store_root: Path) -> None:
    writer, old = DeltaWriter(str(store_root)), T - timedelta(days=40)
    writer.append("events", events(1))
    impatient(store_root, "events")
    written, done, wrong = [1], threading.Event(), list[str]()

    def read() -> None:
        reader, looks = DuckReader(str(store_root)), 0
        while not done.is_set() or not looks:
            low = written[0]
            try:
                rows = reader.query("SELECT kind, count(*) AS n FROM {events} GROUP BY kind").to_pylist()
                found = {row["kind"]: row["n"] for row in rows}
            except StoreError as error:
                wrong.append(str(error))
                continue
            if not low <= found["k"] <= written[0] + 1 or found.get("old", 0) not in range(3):
                wrong.append(f"{low} to {written[0] + 1} were there, {found} were read")
            looks += 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    removed = 0
    for turn in range(120):
        writer.append("events", [*events(1), *(events(1, old, "old") if turn % 10 == 0 else [])])
        written[0] += 1
        if turn % 6 == 5:
            removed += writer.keep_up("events", (T - timedelta(days=35)).date(), T).vacuumed
    done.set()
    for reader in readers:
        reader.join(30)
    assert wrong == []
    check(store_root, {"events": 121})


def test_a_query_whose_files_are_gone_is_run_again(store_root: Path) -> None:
    writer = DeltaWriter(str(store_root))
    for _ in range(4):
        writer.append("events", events(2))
    impatient(store_root, "events")
    reader = DuckReader(str(store_root))
    with reader.snapshot():  # the reader keeps to the files that it has listed
        assert count(reader, "events") == 8
        for path in (store_root / "events").glob("day=*/*.parquet"):
            shutil.copy(path, path.with_suffix(".kept"))
        assert writer.keep_up("events", LONG_AGO, T).compacted == 4
        for path in (store_root / "events").glob("day=*/*.parquet"):
            if path.with_suffix(".kept").exists():
                path.unlink()
        assert count(reader, "events") == 8


def test_a_snapshot_stays_as_it_was_first_seen(store_root: Path) -> None:
    writer, reader = DeltaWriter(str(store_root)), DuckReader(str(store_root))
    writer.append("events", events(2))
    with reader.snapshot():
        assert count(reader, "events") == 2
        writer.append("events", events(1))
        assert at_once(1, lambda _: count(reader, "events")) == [3]  # another thread, without a snapshot
        assert count(reader, "events") == 2
    assert count(reader, "events") == 3


def test_the_log_stays_short(store_root: Path) -> None:
    writer = DeltaWriter(str(store_root))
    idle = DuckReader(str(store_root))
    writer.append("events", events(1))
    assert count(idle, "events") == 1
    log, longest = store_root / "events" / "_delta_log", 0
    for number in range(300):
        writer.append("events", events(1))
        longest = max(longest, len(list(log.iterdir())))
        if number % 50 == 49:
            aged(log)
            writer.keep_up("events", LONG_AGO, T)
    assert longest <= 120
    assert len(list(log.iterdir())) <= 60
    # who looked away all the while, and lost the entries in between, sees everything all the same
    assert count(idle, "events") == 301
    check(store_root, {"events": 301})


def aged(log: Path) -> None:
    """Half an hour passes over the log's files."""
    past = time.time() - 1800
    for path in log.iterdir():
        os.utime(path, (past, past))


# -------------------------------------------------------------------------------------- broken stores
def foreign_file(table: Path) -> None:
    shutil.rmtree(table)
    table.write_text("something else")


def foreign_table(table: Path) -> None:
    shutil.rmtree(table)
    write_deltalake(str(table), pa.table({"a": [1, 2]}))


def cut_entry(table: Path) -> None:
    newest = max((table / "_delta_log").glob("*.json"))
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])


def lost_entry(table: Path) -> None:
    sorted((table / "_delta_log").glob("*.json"))[1].unlink()


def lost_file(table: Path) -> None:
    next(table.glob("day=*/*.parquet")).unlink()


def cut_file(table: Path) -> None:
    data = next(table.glob("day=*/*.parquet"))
    data.write_bytes(data.read_bytes()[:100])


def empty_file(table: Path) -> None:
    next(table.glob("day=*/*.parquet")).write_bytes(b"")


def lost_log(table: Path) -> None:
    shutil.rmtree(table / "_delta_log")


def lost_folder(table: Path) -> None:
    shutil.rmtree(table)


Damage = Callable[[Path], object]
READS = pytest.param(lambda root: DuckReader(root).query("SELECT max(subject) FROM {events}"), id="reading")
OTHERS = [
    pytest.param(lambda root: DeltaWriter(root).append("events", events(1)), id="appending"),
    pytest.param(lambda root: DeltaWriter(root).version("events", "replay"), id="asking for a transaction"),
    pytest.param(lambda root: DeltaWriter(root).keep_up("events", LONG_AGO, T), id="upkeep"),
]
UNUSABLE = [
    pytest.param(foreign_file, id="a foreign file in the table's place"),
    pytest.param(cut_entry, id="the last log entry cut off"),
    pytest.param(lost_entry, id="a log entry lost"),
]
HALF_READ = [
    pytest.param(foreign_table, id="a foreign table in the table's place"),
    pytest.param(lost_file, id="a data file lost"),
    pytest.param(cut_file, id="a data file cut off"),
    pytest.param(empty_file, id="a data file empty"),
]


def damaged(root: Path, damage: Damage) -> None:
    writer = DeltaWriter(str(root))
    for _ in range(3):
        writer.append("events", events(5))
    writer.append("requests", FACTS["requests"])
    damage(root / "events")


@pytest.mark.parametrize("act", [READS, *OTHERS])
@pytest.mark.parametrize("damage", UNUSABLE)
def test_a_broken_table_says_where_and_what_to_do(
    damage: Damage, act: Callable[[str], Any], store_root: Path
) -> None:
    damaged(store_root, damage)
    refused(store_root, act)
    others_go_on(store_root)


@pytest.mark.parametrize("damage", HALF_READ)
def test_a_table_that_cannot_be_read_says_so(damage: Damage, store_root: Path) -> None:
    damaged(store_root, damage)
    refused(store_root, READS.values[0])  # type: ignore[arg-type]
    others_go_on(store_root)


def refused(root: Path, act: Callable[[str], Any]) -> None:
    """The error names the place, in words: no terminal colours, no stack of the engine, a remedy."""
    with pytest.raises(StoreError) as raised:
        act(str(root))
    error = raised.value
    assert error.where in {str(root / "events"), str(root)}
    assert error.what
    assert error.remedy
    assert len(str(error)) < 1000
    assert not {"\x1b", "\n"} & set(str(error))
    assert "<unknown>" not in str(error)


def others_go_on(root: Path) -> None:
    assert DeltaWriter(str(root)).append("requests", FACTS["requests"])
    assert DeltaWriter(str(root)).keep_up("requests", LONG_AGO, T).skipped is None
    check(root, {"requests": 2 * len(FACTS["requests"])})


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        pytest.param(orphaned, 15, id="a data file without its commit is not read"),
        pytest.param(lost_log, 0, id="without its log a table begins anew"),
        pytest.param(lost_folder, 0, id="without its folder a table begins anew"),
    ],
)
def test_what_is_left_over_does_no_harm(damage: Damage, rows: int, store_root: Path) -> None:
    damaged(store_root, damage)
    check(store_root, {"events": rows})
    assert DeltaWriter(str(store_root)).append("events", events(1))
    check(store_root, {"events": rows + 1})
    others_go_on(store_root)


def test_moving_a_table_away_heals_reader_and_writer_without_a_restart(store_root: Path) -> None:
    damaged(store_root, lambda table: None)
    writer, reader = DeltaWriter(str(store_root)), DuckReader(str(store_root))
    writer.append("events", events(1))
    assert count(reader, "events") == 16
    cut_entry(store_root / "events")
    (store_root / "events").rename(store_root / "moved-away")
    with pytest.raises(StoreError):
        writer.append("events", events(1))
    assert writer.append("events", events(1))
    assert count(reader, "events") == 1


def test_a_table_that_another_one_replaced_is_read_anew(store_root: Path) -> None:
    damaged(store_root, lambda table: None)
    reader = DuckReader(str(store_root))
    assert count(reader, "events") == 15
    lost_folder(store_root / "events")
    DeltaWriter(str(store_root)).append("events", events(1))
    assert count(reader, "events") == 1


def test_a_query_that_needs_too_much_memory_says_which_setting_helps(store_root: Path) -> None:
    reader = DuckReader(str(store_root), "20MB")
    with pytest.raises(StoreError, match="duckdb_memory"):
        reader.query("SELECT list(i) AS l FROM range(20000000) AS t(i)")


def test_a_store_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="root exists"):
        DeltaWriter(str(tmp_path / "file")).append("events", events(1))


# ------------------------------------------------------------------------------------------ a full disk
# Runs where `limit` bytes of room can be taken away and given back: a small disk of its own, or, where no
# disk may be mounted, a bound on the size of any file.
FULL_DISK = """
import json, os, resource, signal, subprocess, sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from collectors.buffer import Buffer
from collectors.judging import Book
from collectors.keeping import Keeper
from collectors.model import Batch, EventFact
from collectors.settings import Settings
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.errors import StoreError

place, kind = Path(sys.argv[1]), sys.argv[2]
ballast = place / "ballast"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
if kind == "disk":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=True)
else:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def leave(room):
    "Only so many bytes can be written; None for as many as one likes."
    if kind == "disk":
        ballast.unlink(missing_ok=True)
        if room is not None:
            status = os.statvfs(place)
            ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_bsize - room)))
    else:
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most if room is None else room, most))

def facts(number, kind="k"):
    return [EventFact(NOW + timedelta(seconds=i), kind, os.urandom(8).hex(), "s") for i in range(number)]

root = str(place / "store")
writer = DeltaWriter(root)
reader = lambda: DuckReader(root, "64MB")
count = lambda r: r.query("SELECT count(*) AS n FROM {events}").to_pylist()[0]["n"]
writer.append("events", facts(50))
stored, said, sizes = 50, set(), []
for room in range(0, 80 * 1024, 4 * 1024):
    leave(room)
    try:
        writer.append("events", facts(50))
        stored += 50
        sizes.append(room)
    except StoreError as error:
        said.add((error.what, error.remedy))
    leave(None)
    assert count(reader()) == stored, (room, count(reader()), stored)

before, buffer = stored, Buffer()
keeper = Keeper(Settings(store=root), Book((), ()), writer, reader(), "c")
leave(0)
for turn in range(3):
    buffer.add(Batch(events=tuple(facts(100, "held"))), 10_000)
    keeper.turn(buffer, NOW + timedelta(seconds=turn))
held = len(buffer)
assert count(reader()) == before
leave(None)
keeper.turn(buffer, NOW + timedelta(seconds=9))
kinds = reader().query("SELECT kind, count(*) AS n FROM {events} GROUP BY kind").to_pylist()
print(json.dumps({
    "said": sorted(said), "fitted": len(sizes), "held": held, "left": len(buffer),
    "kinds": {row["kind"]: row["n"] for row in kinds}, "stored": before,
}))
"""


@pytest.fixture
def full_disk() -> list[str]:
    """How a command gets a disk that can be filled without harm; empty where none may be mounted."""
    ways = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])
    trial = "mount -t tmpfs tmpfs /mnt"
    for way in ways if shutil.which("unshare") else ():
        if subprocess.run([*way, "sh", "-c", trial], capture_output=True, check=False).returncode == 0:
            return way
    return []


def test_a_full_disk_loses_neither_what_is_stored_nor_what_is_held(
    full_disk: list[str], tmp_path: Path
) -> None:
    kind = "disk" if full_disk else "limit"
    command = [*full_disk, sys.executable, "-c", FULL_DISK, str(tmp_path), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    if kind == "disk":
        assert found["said"] == [["the disk is full", "Free space; what is buffered is written then"]]
    assert found["said"]
    assert found["fitted"]
    assert found["held"] >= 300
    assert found["left"] == 0
    assert found["kinds"]["held"] == 300
    assert found["kinds"]["k"] == found["stored"]
    assert found["kinds"]["problem"] >= 1
