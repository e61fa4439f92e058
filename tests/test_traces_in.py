"""A collector that receives traces: its rows are in the store, once, whatever happens to it meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from collectors.checkup import Finding, check_receiver
from collectors.collecting import build_loop
from collectors.daemon import collect
from collectors.judging import Book
from collectors.settings import Settings
from collectors.signals.traces import Span
from collectors.sources.otlp.decoding import PROTOBUF
from collectors.sources.otlp.listening import listen
from collectors.sources.otlp.receiving import receiving
from collectors.sources.otlp.written import Written
from collectors.store.duckdb import DuckReader
from tests.servers import free_port
from tests.sources.spans import READY, T, export, later, start_up, trace

SHORT = timedelta(seconds=0.3)
PATIENCE_S = 30.0


def now() -> datetime:
    return datetime.now(UTC)


def lived(root: Path, port: int, exports: Sequence[Sequence[Span]], token: str | None = None) -> list[int]:
    """A collector's life in which these exports came; then it is stopped, as a signal would. The answers."""
    headers = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {token}"}

    async def live() -> list[int]:
        chosen = Settings.model_validate(
            {
                "store": str(root),
                "otlp_port": port,
                "otlp_token": token,
                "scrape_interval": SHORT,
                "flush_interval": SHORT,
            }
        )
        async with build_loop(chosen, Book((), ()), now, asyncio.Event()) as loop:
            task = asyncio.create_task(collect(loop))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                bodies = [export(spans).SerializeToString() for spans in exports]
                answers = [await client.post("/v1/traces", content=b, headers=headers) for b in bodies]
            await asyncio.sleep(2 * SHORT.total_seconds())
            loop.stop.set()
            await asyncio.wait_for(task, PATIENCE_S)
            return [a.status_code for a in answers]

    return asyncio.run(live())


def check(root: Path, expected: Counter[str]) -> None:
    found = DuckReader(str(root)).query("SELECT request_id FROM {requests}").to_pylist()
    assert Counter(row["request_id"] for row in found) == expected


def recent(number: int) -> list[Span]:
    return later(trace(number), now() - T - timedelta(seconds=3))


@pytest.mark.parametrize("token", [None, "s3cret"])
def test_requests_are_stored_and_what_is_held_when_it_stops_too(store_root: Path, token: str | None) -> None:
    answers = lived(store_root, free_port(), [recent(1), recent(2)[:3]], token)
    assert answers == [200, 200]
    check(store_root, Counter(["req-1", "req-2"]))
    told = DuckReader(str(store_root)).query(
        "SELECT sum(value) AS n FROM {metrics} WHERE metric = 'otlp_spans' AND label = 'received'"
    )
    assert told.to_pylist() == [{"n": 7.0}]


def test_what_is_sent_again_after_a_restart_has_its_row_already(store_root: Path) -> None:
    one, other = recent(1), recent(2)
    lived(store_root, free_port(), [one])
    lived(store_root, free_port(), [[*one, *other]])
    check(store_root, Counter(["req-1", "req-2"]))


def test_the_start_of_an_engine_is_one_event_however_often_it_is_sent(store_root: Path) -> None:
    told = later(start_up(), now() - READY - timedelta(seconds=3))
    for _ in range(2):  # and over a restart
        assert lived(store_root, free_port(), [told, told]) == [200, 200]
    kept = DuckReader(str(store_root)).query("SELECT kind, subject FROM {events}").to_pylist()
    assert kept == [{"kind": "engine_startup", "subject": "127.0.0.1"}]
    check(store_root, Counter())


@pytest.mark.parametrize(
    ("token", "shown", "state"), [(None, None, "ok"), ("right", "right", "ok"), ("right", "wrong", "fault")]
)
def test_the_doctor_asks_it(token: str | None, shown: str | None, state: str) -> None:
    async def live() -> list[Finding]:
        with listen("127.0.0.1", 0) as listener:
            async with receiving(listener, now, Written(), token=token):
                port = listener.getsockname()[1]
                asked = Settings.model_validate({"otlp_port": port, "otlp_token": shown})
                return await check_receiver(asked)

    [found] = asyncio.run(live())
    assert found.state == state
    assert ("MANGAOPS_OTLP_TOKEN" in found.remedy) == (state == "fault")


def test_the_port_is_free_again_afterwards(store_root: Path) -> None:
    port = free_port()
    for number in (1, 2):
        assert lived(store_root, port, [recent(number)]) == [200]
    check(store_root, Counter(["req-1", "req-2"]))
