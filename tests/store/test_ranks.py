"""Quantiles that are selected in two looks are those that the engine gives."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import inf

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from collectors.signals.points import Point, at_instant
from collectors.signals.readings import Reading, RequestQuantile
from collectors.store import ranks
from collectors.store import series as store_series
from collectors.store.duckdb import DuckReader
from collectors.store.ranks import selected
from collectors.store.tables import TABLES
from tests.store.test_series import numbers

ROWS = 200_000
END = datetime(2026, 11, 3, tzinfo=UTC)
SPAN = timedelta(days=2)
ADAPTERS = (*["manga_domain_v3"] * 5, *["manga_domain_v4"] * 4, "", None)
KINDS = (
    ("e2e_ms", 0.99, ("adapter",)),
    ("e2e_ms", 0.5, ()),
    ("ttft_ms", 0.95, ("adapter", "intent")),
    ("output_tokens", 0.9, ("adapter",)),
    ("queue_ms", 0.0, ()),
    ("queue_ms", 1.0, ("intent",)),
)

TRIES = 7


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> DuckReader:
    """Two days in one table: drifting, of unequal groups, a small one among them, with values missing."""
    root, rng = tmp_path_factory.mktemp("ranks"), np.random.default_rng(11)
    schema = TABLES["requests"].schema
    at = END - SPAN + np.sort(rng.integers(1, 172_800_000_000, ROWS)).astype("timedelta64[us]").astype(object)
    adapters = np.array(ADAPTERS, dtype=object)[rng.integers(0, len(ADAPTERS), ROWS)]
    adapters[rng.integers(0, ROWS, 40)] = "new_v1"
    base = np.where(adapters == "manga_domain_v4", 1800.0, 1200.0) * np.linspace(1, 1.3, ROWS)
    e2e = base * rng.lognormal(0, 0.5, ROWS)
    columns = {
        "day": pa.array([t.date() for t in at]),
        "at": pa.array(at, type=schema.field("at").type),
        "adapter": pa.array(adapters, type=pa.string()),
        "intent": pa.array(np.array(["faq", "order"])[rng.integers(0, 2, ROWS)]),
        "e2e_ms": pa.array(e2e),
        "ttft_ms": pa.array(e2e / 9, mask=rng.random(ROWS) < 0.1),
        "output_tokens": pa.array(rng.integers(1, 60, ROWS, dtype=np.int32)),
        "queue_ms": pa.array(rng.exponential(2.0, ROWS)),
    }
    table = pa.table({f.name: columns.get(f.name, pa.nulls(ROWS, f.type)) for f in schema}, schema=schema)
    write_deltalake(f"{root}/requests", table, partition_by=["day"])
    return DuckReader(str(root))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two looks begin to pay at sizes that a test can write."""
    monkeypatch.setattr(ranks, "SAMPLE_PERCENT", 25)
    monkeypatch.setattr(ranks, "ENOUGH", 1000)


def points(reader: DuckReader, column: str, q: float, by: tuple[str, ...]) -> list[Point]:
    reading = Reading("r", "", RequestQuantile(column, q), "", by=by)
    return store_series.series(reader, reading, at_instant(END), SPAN)


@pytest.mark.parametrize(("column", "q", "by"), KINDS)
def test_two_looks_find_what_the_engine_finds(
    column: str, q: float, by: tuple[str, ...], reader: DuckReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = points(reader, column, q, by)
    monkeypatch.setattr(store_series, "LONG", SPAN * 2)
    wanted = points(reader, column, q, by)
    assert [p.group for p in found] == [p.group for p in wanted]
    assert numbers(found) == pytest.approx(numbers(wanted), rel=1e-12)


def test_most_is_decided_in_two_looks(reader: DuckReader) -> None:
    decided: Counter[str] = Counter()
    for _ in range(TRIES):  # the sample is drawn by lot, and now and then it is too small
        found = selected(reader, "e2e_ms", [0.5, 0.99], ["adapter"], END - SPAN, END)
        decided.update(group for (group,), ranked in found.items() if ranked)
    # neither one with too few to bound, nor no adapter, which is one group with the empty adapter
    assert decided.keys() == {"manga_domain_v3", "manga_domain_v4"}
    assert min(decided.values()) > TRIES / 2


def test_a_sample_that_misleads_is_noticed(reader: DuckReader, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = points(reader, "e2e_ms", 0.5, ("adapter",))
    monkeypatch.setattr(ranks, "_span", lambda _ordered, _fraction: (3.0, 4.0))
    found = selected(reader, "e2e_ms", [0.5], ["adapter"], END - SPAN, END)
    assert found
    assert not any(found.values())
    assert numbers(points(reader, "e2e_ms", 0.5, ("adapter",))) == pytest.approx(numbers(wanted), rel=1e-12)


def test_an_open_span_holds_every_value(reader: DuckReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "MOST_SHARE", 1.0)
    monkeypatch.setattr(ranks, "_span", lambda _ordered, _fraction: (-inf, inf))
    (ranked,) = selected(reader, "e2e_ms", [0.25], [], END - SPAN, END).values()
    assert ranked is not None
    sql = "SELECT quantile_cont(e2e_ms, 0.25) AS q FROM {requests}"
    assert ranked.values[0] == pytest.approx(reader.query(sql).to_pylist()[0]["q"], rel=1e-12)


def test_little_is_left_to_the_engine(reader: DuckReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "ENOUGH", ROWS)
    assert selected(reader, "e2e_ms", [0.5], [], END - SPAN, END) == {}
    monkeypatch.undo()
    assert selected(DuckReader(f"{reader.root}/nothing"), "e2e_ms", [0.5], [], END - SPAN, END) == {}


def test_only_groups_of_text_are_looked_at(reader: DuckReader) -> None:
    assert selected(reader, "e2e_ms", [0.5], ["http_status"], END - SPAN, END) == {}
