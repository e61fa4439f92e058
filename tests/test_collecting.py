"""A collector put together from settings, scraping real servers and playing a real recording."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.collecting import build_loop, first_head
from collectors.daemon import Clock, Loop, collect
from collectors.judging import Book
from collectors.model import Batch
from collectors.settings import Settings
from collectors.sources.recording import play_looping
from collectors.sources.tape import RecordingError, load
from collectors.store.duckdb import DuckReader
from collectors.store.latest import newest_fact
from tests.recordings import ROOT, cut, metrics_text, scrapes
from tests.sources.contract import Answer, Request, Subject, breaks_off, hangs, says, serving

INTERVAL = timedelta(seconds=0.5)
PATIENCE_S = 30.0
ENGINE = Subject(
    poll=lambda _: Batch(), whole=metrics_text(100).encode(), health=frozenset(), max_body_bytes=0, within_s=0
)


def now() -> datetime:
    return datetime.now(UTC)


def settings(root: Path, urls: Mapping[str, str], **others: Any) -> Settings:
    short = {"scrape_interval": INTERVAL, "flush_interval": INTERVAL, "judge_interval": timedelta(seconds=1)}
    return Settings.model_validate({"store": str(root), "engines": tuple(urls.values()), **short, **others})


def lived(chosen: Settings, done: Callable[[Loop], object], clock: Clock = now) -> None:
    """Run the collector until something is so, then stop it as a signal would."""

    async def live() -> None:
        async with build_loop(chosen, Book((), ()), clock, asyncio.Event()) as loop:
            task = asyncio.create_task(collect(loop))
            ends = time.monotonic() + PATIENCE_S
            while not done(loop) and time.monotonic() < ends:  # noqa: ASYNC110 - it is the store that tells
                await asyncio.sleep(0.05)
            loop.stop.set()
            await asyncio.wait_for(task, PATIENCE_S)
            assert done(loop), "it never happened"

    asyncio.run(live())


def rows(root: Path, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DuckReader(str(root)).query(sql).to_pylist()
    return found


def ups(root: Path) -> dict[str, list[float]]:
    """Each replica's `up`, scrape by scrape, by the path it is served under."""
    found: dict[str, list[float]] = {}
    for row in rows(root, "SELECT replica, value FROM {metrics} WHERE metric = 'up' ORDER BY \"at\""):
        found.setdefault(row["replica"], []).append(row["value"])
    return found


def check(root: Path) -> None:
    """Whatever happened: nothing is negative, nothing is no number, and no series has two values at once."""
    wrong = "value < 0 OR isnan(value) OR sum < 0 OR interval_s <= 0"
    assert rows(root, f"SELECT * FROM {{metrics}} WHERE {wrong}") == []
    key = '"at", source, replica, engine, model, metric, label'
    assert rows(root, f"SELECT {key} FROM {{metrics}} GROUP BY {key} HAVING count(*) > 1") == []


class Tape:
    """An engine that plays recorded scrapes, one a request, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._texts = [text.encode() for at, text in scrapes()][60:200]

    def __call__(self, request: Request) -> None:
        self.asked += 1
        request.say(self._texts[self.asked % len(self._texts)])


class Dying:
    """An engine that answers a few times, then breaks off in the middle for good."""

    def __init__(self, last: int) -> None:
        self.tape, self.last = Tape(), last

    def __call__(self, request: Request) -> None:
        self.tape(request) if self.tape.asked < self.last else breaks_off(request)


@contextmanager
def fleet(answers: Mapping[str, Answer | None]) -> Iterator[dict[str, str]]:
    """Replicas on ports of their own, for a port is a replica's name; yields their addresses."""
    with ExitStack() as stack:
        found = [stack.enter_context(serving(ENGINE, {name: answer})) for name, answer in answers.items()]
        yield {name: url for urls in found for name, url in urls.items()}


@contextmanager
def deaf(number: int) -> Iterator[dict[str, str]]:
    """So many ports on which a connection is made and nothing is ever heard."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        yield {str(n): f"http://127.0.0.1:{each.getsockname()[1]}" for n, each in enumerate(listeners)}


def replica(url: str) -> str:
    return url.split("/")[2]


# ----------------------------------------------------------------------------------------- engines
def test_sick_replicas_cost_the_healthy_one_nothing(store_root: Path) -> None:
    healthy = Tape()
    answers: dict[str, Answer | None] = {
        "healthy": healthy,
        "hanging": hangs,
        "html": says(b"<!doctype html><title>Sign in</title>"),
        "dying": Dying(3),
        "gone": None,
    }
    with fleet(answers) as urls:
        lived(settings(store_root, urls), lambda _: healthy.asked >= 8)
    up = {name: ups(store_root)[replica(url)] for name, url in urls.items()}
    assert up["healthy"].count(1.0) >= len(up["healthy"]) - 1 >= 6  # one may be late on a busy machine
    assert set(up["hanging"]) == set(up["html"]) == set(up["gone"]) == {0.0}
    assert 1.0 in up["dying"][:4]
    assert set(up["dying"][-3:]) == {0.0}
    check(store_root)
    told = rows(store_root, "SELECT subject, before, after FROM {events} WHERE kind = 'problem'")
    said = Counter((row["subject"], row["before"]) for row in told)
    assert {subject for subject, _ in said} >= {replica(urls[name]) for name in answers if name != "healthy"}
    assert set(said.values()) == {1}
    assert all(row["before"] and row["after"] for row in told)
    prompts = "metric = 'prompt_tokens' AND value > 0"
    counted = rows(store_root, f"SELECT DISTINCT replica FROM {{metrics}} WHERE {prompts}")
    assert replica(urls["healthy"]) in {row["replica"] for row in counted}


def test_two_lasting_problems_of_one_replica_are_said_once_each(store_root: Path) -> None:
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    lines = [
        f"{line.rpartition(' ')[0]} NaN" if line.startswith(names) else line
        for line in metrics_text(100).splitlines()
    ]
    with fleet({"damaged": says("\n".join([*lines, ""]).encode())}) as urls:
        lived(
            settings(store_root, urls), lambda _: len(ups(store_root).get(replica(urls["damaged"]), [])) >= 5
        )
    told = Counter(
        row["before"] for row in rows(store_root, "SELECT before FROM {events} WHERE kind = 'problem'")
    )
    assert len(told) >= 2
    assert set(told.values()) == {1}


def test_more_replicas_than_connections_are_usual_do_not_wait_for_each_other(store_root: Path) -> None:
    with deaf(110) as sick, fleet({"healthy": says(ENGINE.whole)}) as well:
        slow = {"scrape_interval": timedelta(seconds=3), "scrape_timeout": timedelta(seconds=2)}
        lived(settings(store_root, sick | well, **slow), lambda _: ups(store_root))
    first = {name: values[0] for name, values in ups(store_root).items()}
    assert first == {replica(url): 0.0 for url in sick.values()} | {replica(well["healthy"]): 1.0}


@pytest.mark.parametrize(
    "jump",
    [
        pytest.param(-timedelta(minutes=10), id="back by ten minutes"),
        pytest.param(timedelta(hours=2), id="ahead by two hours"),
    ],
)
def test_a_clock_that_jumps_makes_no_false_fact(jump: timedelta, store_root: Path) -> None:
    engine, after = Tape(), threading.Event()

    def clock() -> datetime:
        return now() + jump if after.is_set() else now()

    def jumped(_loop: Loop) -> bool:
        if engine.asked >= 4:
            after.set()
        return engine.asked >= 7

    began = time.monotonic()
    with fleet({"engine": engine}) as urls:
        lived(settings(store_root, urls), jumped, clock)
    assert time.monotonic() - began < PATIENCE_S / 2  # nobody waited for the clock to come back
    check(store_root)
    assert len(ups(store_root)[replica(urls["engine"])]) >= 6
    problems = [
        row["before"] for row in rows(store_root, "SELECT before FROM {events} WHERE kind = 'problem'")
    ]
    gaps = rows(store_root, "SELECT * FROM {events} WHERE kind = 'telemetry_gap'")
    if jump < timedelta():
        assert [what[:19] for what in problems] == ["the clock went back"]
    else:
        assert len(gaps) == 1


# ---------------------------------------------------------------------------------------- stopping
def test_a_signal_lets_the_collector_store_what_it_holds(store_root: Path) -> None:
    engine = Tape()
    with fleet({"engine": engine}) as urls:
        environment = {
            **os.environ,
            "MANGAOPS_SCRAPE_INTERVAL": "500ms",
            "MANGAOPS_FLUSH_INTERVAL": "1h",
            "PYTHONUNBUFFERED": "1",
        }
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "collectors.cli",
                "collect",
                "--engine",
                urls["engine"],
                "--store",
                str(store_root),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            ends = time.monotonic() + PATIENCE_S
            while engine.asked < 6 and time.monotonic() < ends:
                time.sleep(0.05)
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, "Traceback" in log) == (0, False), log
    assert len(ups(store_root)[replica(urls["engine"])]) >= 6
    check(store_root)


# --------------------------------------------------------------------------------------- recording
@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of the drill. Read-only."""
    return cut(tmp_path_factory.mktemp("piece") / "drill", until_s=8, from_s=0)


def test_a_recording_is_played_as_if_live_with_a_past_at_first_sight(
    recording: Path, store_root: Path
) -> None:
    chosen, tape = settings(store_root, {}, recording=recording), load(recording)
    length = tape.end - tape.start
    began = now()
    lived(chosen, lambda _: rows(store_root, "SELECT 1 FROM {requests} LIMIT 1"))
    first = rows(store_root, 'SELECT min("at") AS low, max("at") AS high, count(*) AS n FROM {requests}')[0]
    assert first["n"] >= len(tape.requests)
    assert began - length - timedelta(seconds=5) <= first["low"] <= began
    assert newest_fact(DuckReader(str(store_root))) <= now()  # type: ignore[operator]

    lived(
        chosen, lambda loop: len(loop.buffer) or rows(store_root, "SELECT 1 FROM {metrics}")
    )  # started again
    again = rows(store_root, "SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM {requests}")[0]
    assert again["n"] == again["ids"]
    check(store_root)
    kinds = {row["kind"] for row in rows(store_root, "SELECT DISTINCT kind FROM {events}")}
    assert not kinds & {"engine_restart", "problem", "telemetry_gap"}


@pytest.mark.parametrize(
    ("newest_age", "past"),
    [
        pytest.param(None, True, id="an empty store gets a past"),
        pytest.param(timedelta(hours=3), True, id="a store that was left alone for long gets one"),
        pytest.param(timedelta(seconds=2), False, id="a store that is up to date gets none"),
    ],
)
def test_where_playing_begins(newest_age: timedelta | None, past: bool, recording: Path) -> None:
    tape, at = load(recording), now()
    head = first_head(tape, at - newest_age if newest_age else None, at)
    _, batch = play_looping(tape, head, at)
    assert bool(batch.requests) is past
    assert max(f.at for f in batch.metrics) <= at


def test_nothing_starts_where_the_recording_cannot_be_played(tmp_path: Path, store_root: Path) -> None:
    with pytest.raises(RecordingError):
        lived(settings(store_root, {}, recording=tmp_path), lambda _: True)
    assert not store_root.exists()
