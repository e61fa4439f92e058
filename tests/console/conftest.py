"""Small stores with known contents, and desks that stand on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from collectors.model import EventFact, Judgement, Kind, MetricFact, RequestFact
from collectors.settings import Settings
from collectors.store.delta import DeltaWriter
from collectors.store.dialect import DUCKDB, Dialect
from collectors.store.duckdb import DuckReader
from collectors.store.errors import StoreError
from console.desk import Desk, open_desk
from console.views.frame import Frame

NOW = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
TROUBLE = NOW - timedelta(minutes=5)
EVIL = "<script>alert(1)</script>"


class BrokenReader:
    """A store that cannot be read."""

    dialect: Dialect = DUCKDB
    root = "/store"

    def version(self, name: str) -> int | None:
        raise StoreError(f"/store/{name}", "the table cannot be used", "Restore it from a copy")

    def snapshot(self) -> AbstractContextManager[None]:
        return nullcontext()

    def query(self, *_: Any, **__: Any) -> pa.Table:
        raise StoreError("/store/metrics", "the table cannot be used", "Restore it from a copy")


@pytest.fixture
def frame() -> Frame:
    return Frame(NOW, live=False)


@pytest.fixture(scope="session")
def desks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Desk]:
    """One desk for each state of the world."""
    roots = {name: tmp_path_factory.mktemp(name) / "store" for name in ("healthy", "incident", "empty")}
    fill(roots["healthy"], trouble=False)
    fill(roots["incident"], trouble=True)
    found = {name: desk_on(root) for name, root in roots.items()}
    found["broken"] = replace(found["empty"], reader=BrokenReader())
    return found


@pytest.fixture
def look(desks: dict[str, Desk], frame: Frame) -> Callable[..., tuple[str, AppTest]]:
    """Run a screen on a desk; what it says as one text."""

    def run(screen: str, state: str, at: datetime = NOW) -> tuple[str, AppTest]:
        shown = replace(frame, now=at)
        test = AppTest.from_function(
            _draw, default_timeout=60, kwargs={"screen": screen, "desk": desks[state], "frame": shown}
        ).run()
        assert not test.exception, [e.message for e in test.exception]
        html = [e.proto.body for e in test.get("html")]
        return "\n".join([*html, *(m.value for m in test.markdown)]), test

    return run


def _draw(screen, desk, frame):  # no annotations: only its text is run, without this module
    from console.screens import alerts, drills, now, prefix, runbooks, slos, slow_chat, sources, versions

    shows = {
        "now": now,
        "alerts": alerts,
        "drills": drills,
        "runbooks": runbooks,
        "slos": slos,
        "slow": slow_chat,
        "prefix": prefix,
        "sources": sources,
        "versions": versions,
    }
    shows[screen].show(desk, lambda: frame)


def desk_on(root: Path) -> Desk:
    reader = DuckReader(str(root))
    return open_desk(reader, Settings(store=str(root)), reader.version)


def fill(root: Path, *, trouble: bool) -> None:
    writer = DeltaWriter(str(root))
    writer.append("metrics", list(metrics()))
    writer.append("requests", list(requests(trouble=trouble)))
    before = "v42" if trouble else None
    name = f"prompt_version=v43{EVIL}"
    change = EventFact(TROUBLE, "first_seen", name, "engine", before, f"v43{EVIL}")
    fired = EventFact(TROUBLE, "alert", "high_ttft", "judge", "pending", "firing")
    problem = EventFact(
        NOW - timedelta(minutes=2), "problem", "engine-0", "engine", "no answer in 3 s", "Look at it"
    )
    writer.append("events", [change, fired, problem] if trouble else [change])
    writer.append("judgements", list(judgements(trouble=trouble)))


def metrics() -> Iterator[MetricFact]:
    levels = {"up": 1.0, "requests_running": 12.0, "requests_waiting": 3.0, "kv_usage_ratio": 0.4}
    counted = {"prefix_cache_queries": 1000.0, "prefix_cache_hits": 720.0}
    for k in range(180):
        at = NOW - timedelta(seconds=5 * k)
        for name, value in levels.items():
            yield MetricFact(at, "engine", "engine-0", name, Kind.GAUGE, value, interval_s=5.0)
        for name, value in counted.items():
            yield MetricFact(at, "engine", "engine-0", name, Kind.COUNTER, value, interval_s=5.0)


def requests(*, trouble: bool) -> Iterator[RequestFact]:
    for k in range(600):
        at = NOW - timedelta(seconds=1.4 * k)
        queue_ms = 900.0 + k if trouble and at > TROUBLE else 1.0
        yield RequestFact(
            at,
            f"req-{k}",
            "engine",
            trace_id=f"{k:032x}",
            session_id=f"s-{k // 3}",
            turn=k % 3,
            replica="engine-0",
            adapter="manga_domain_v3",
            prompt_version="v42",
            http_status=200,
            prompt_tokens=1200,
            cached_tokens=900,
            output_tokens=80,
            frontend_ms=10.0,
            gateway_ms=5.0,
            queue_ms=queue_ms,
            prefill_ms=40.0,
            decode_ms=900.0,
            ttft_ms=55.0 + queue_ms,
            e2e_ms=955.0 + queue_ms,
        )


def judgements(*, trouble: bool) -> Iterator[Judgement]:
    scale = 20.0 if trouble else 1.0
    for k in range(4):
        at = NOW - timedelta(minutes=2 * k)
        firing = trouble and at >= TROUBLE
        state, since = ("firing", TROUBLE) if firing else ("inactive", None)
        value = 980.0 if firing else 56.0
        yield Judgement(
            at,
            "rule",
            "high_ttft",
            "",
            state,
            value,
            count=200.0,
            threshold=500.0,
            active_at=since,
            fired_at=since,
            clock_scale=scale,
        )
        yield Judgement(
            at,
            "rule",
            "oom_rate",
            "",
            "no_data",
            missing="no request carries oom_caught",
            threshold=0.0,
            clock_scale=scale,
        )
        share = 0.4 if firing else 0.98
        yield Judgement(
            at,
            "slo",
            "ttft_p50",
            "requests",
            "missed" if firing else "met",
            share,
            share - 0.02,
            share + 0.02,
            600.0,
            0.5,
            clock_scale=scale,
        )
