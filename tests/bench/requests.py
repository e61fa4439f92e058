"""Ten million generated requests over thirty days, and the questions asked of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake
from rich.progress import track

from collectors.cli import wiring
from collectors.diagnose.cohorts.measures import MEASURES, Selection
from collectors.judging import Book, slo_judgements
from collectors.scoping import scope_of
from collectors.settings import Settings
from collectors.signals.points import at_instant
from collectors.store.delta import writer_properties
from collectors.store.duckdb import DuckReader
from collectors.store.lookup import find_requests
from collectors.store.ranks import selected
from collectors.store.tables import TABLES
from tests.bench.report import Figure, timed_ms

DAYS, ROWS = 30, 10_000_000
END = datetime(2026, 11, 21, tzinfo=UTC)
ADAPTERS = np.array(["manga_domain_v3", "general_support_v2", "jp_style_v1", "llama-3-8b"])
RANKED = ["adapter", "prompt_version", "replica", "intent", "locale", "turn"]
SLOW_MS = 5000.0
LOOKED_UP = "req-00000000000f1nd1"


def build(root: Path) -> None:
    """Write the table, a commit a day, as a compacted store has it."""
    table, rng = TABLES["requests"], np.random.default_rng(7)
    for day in track(range(DAYS), description=f"generating {ROWS:,} requests"):
        write_deltalake(
            f"{root}/requests",
            _day(rng, END - timedelta(days=DAYS - day), ROWS // DAYS, table.schema),
            mode="append",
            partition_by=["day"],
            configuration={"delta.dataSkippingStatsColumns": "at"},
            writer_properties=writer_properties(table),
        )


def figures(root: Path) -> list[Figure]:
    """Each question asked of our reader and, on the same files, of pandas over pyarrow."""
    reader, paths = DuckReader(str(root)), DeltaTable(f"{root}/requests").file_uris()
    book = wiring.book(Settings())
    hour, month = timedelta(hours=1), timedelta(days=DAYS)
    asked: list[tuple[str, float, Callable[[], object], Callable[[], object]]] = [
        (
            "last hour: P50 and P99 by adapter",
            30,
            lambda: _p50_p99(reader, hour),
            lambda: _pandas_p50_p99(paths, hour),
        ),
        (
            "30 days: P50 and P99 by adapter",
            300,
            lambda: _selected(reader, month),
            lambda: _pandas_p50_p99(paths, month),
        ),
        ("one request by id", 150, lambda: _found(reader), lambda: _pandas_find(paths)),
        (
            "24 h: whose requests are slow, every value and pair",
            300,
            lambda: _scoped(reader),
            lambda: _pandas_pairs(paths),
        ),
        ("all five SLOs over 30 days", 500, lambda: _slos(reader, book), lambda: _pandas_slos(paths)),
    ]
    return [
        Figure(what, "ms", timed_ms(ours), timed_ms(peer, 1), "pandas over pyarrow, same files", aim)
        for what, aim, ours, peer in asked
    ]


def _p50_p99(reader: DuckReader, window: timedelta) -> None:
    d = reader.dialect
    since = END - window
    found = reader.query(
        f"SELECT adapter, {d.quantiles('e2e_ms', [0.5, 0.99])} AS q, count(*) AS n "
        "FROM {requests} GROUP BY adapter",
        since=since,
    )
    assert found.num_rows == len(ADAPTERS)


def _selected(reader: DuckReader, window: timedelta) -> None:
    found = selected(reader, "e2e_ms", [0.5, 0.99], ["adapter"], END - window, END)
    assert sum(ranked is not None for ranked in found.values()) == len(ADAPTERS)


def _found(reader: DuckReader) -> None:
    assert len(find_requests(reader, LOOKED_UP)) == 1


def _slos(reader: DuckReader, book: Book) -> None:
    month = timedelta(days=DAYS)
    found = [
        slo_judgements(reader, slo.model_copy(update={"window": month}), book, at_instant(END))
        for slo in book.slos
    ]
    assert all(j[0].count for j in found)


def _scoped(reader: DuckReader) -> None:
    found = scope_of(
        reader, (END - timedelta(days=1), END), None, MEASURES["e2e_ms"], Selection(above=SLOW_MS)
    )
    assert found.scope.count > ROWS // DAYS * 0.99


def _pandas_pairs(paths: list[str]) -> list[pd.DataFrame]:
    """No test and nothing held constant: just the counts that a first comparison needs."""
    recent = ds.field("at") > pa.scalar(END - timedelta(days=1), pa.timestamp("us", tz="UTC"))
    columns = [*RANKED, "prompt_tokens", "output_tokens", "e2e_ms"]
    frame = ds.dataset(paths).to_table(columns=columns, filter=recent).to_pandas()
    for name in ("prompt_tokens", "output_tokens"):
        frame[name] = np.floor(2 * np.log2(frame[name])).astype("int8")
    for name in RANKED:
        frame[name] = frame[name].astype("category")
    frame["slow"] = frame["e2e_ms"] > SLOW_MS
    lengths = ["prompt_tokens", "output_tokens"]
    return [
        frame.groupby([*pair, *lengths], observed=True)["slow"].agg(["count", "sum"])
        for pair in combinations(RANKED, 2)
    ]


def _pandas_p50_p99(paths: list[str], window: timedelta) -> pd.DataFrame:
    recent = ds.field("at") > pa.scalar(END - window, pa.timestamp("us", tz="UTC"))
    frame = ds.dataset(paths).to_table(columns=["adapter", "e2e_ms"], filter=recent).to_pandas()
    return pd.DataFrame(frame.groupby("adapter")["e2e_ms"].quantile([0.5, 0.99]))


def _pandas_find(paths: list[str]) -> pd.DataFrame:
    return pd.DataFrame(ds.dataset(paths).to_table(filter=ds.field("request_id") == LOOKED_UP).to_pandas())


def _pandas_slos(paths: list[str]) -> list[float]:
    frame = ds.dataset(paths).to_table(columns=["http_status", "ttft_ms", "e2e_ms", "queue_ms"]).to_pandas()
    status = frame["http_status"].dropna()
    limits = {"ttft_ms": 200, "e2e_ms": 2000, "queue_ms": 100}
    shares = [float((frame[c].dropna() < limit).mean()) for c, limit in limits.items()]
    return [float((status < 500).mean()), *shares, float((status < 400).mean())]


def _day(rng: np.random.Generator, start: datetime, n: int, schema: pa.Schema) -> pa.Table:
    prefill, queue, decode = rng.lognormal(3.7, 0.5, n), rng.exponential(2.0, n), rng.lognormal(7.2, 0.6, n)
    frontend, gateway = rng.lognormal(2.6, 0.3, n), rng.lognormal(1.5, 0.3, n)
    status = np.where(rng.random(n) < 0.0004, 500, 200).astype(np.int32)
    offsets = np.sort(rng.integers(0, 86_400_000_000, n))
    columns: dict[str, Any] = {
        "day": pa.array(np.full(n, start.date(), dtype="datetime64[D]")),
        "at": pa.array(np.datetime64(start.replace(tzinfo=None), "us") + offsets).cast(
            schema.field("at").type
        ),
        "request_id": _ids(rng, n, start),
        "trace_id": _bytes(rng.integers(0, 256, (n, 16), dtype=np.uint8), pa.binary()),
        "source": _repeated(np.array(["bench"]), rng, n),
        "session_id": _bytes(_hex(rng, n, b"s-"), pa.string()),
        "turn": rng.integers(1, 9, n, dtype=np.int32),
        "replica": _repeated(np.array([f"engine-{i}" for i in range(8)]), rng, n),
        "adapter": _repeated(ADAPTERS, rng, n),
        "prompt_version": _repeated(np.array(["v42", "v43"]), rng, n),
        "intent": _repeated(np.array(["recommendation", "discovery", "order", "faq"]), rng, n),
        "locale": _repeated(np.array(["ja-JP", "en-US"]), rng, n),
        "http_status": status,
        "prompt_tokens": rng.integers(1000, 2000, n, dtype=np.int32),
        "cached_tokens": rng.integers(0, 1000, n, dtype=np.int32),
        "output_tokens": rng.integers(20, 400, n, dtype=np.int32),
        "frontend_ms": frontend,
        "gateway_ms": gateway,
        "queue_ms": queue,
        "prefill_ms": prefill,
        "decode_ms": decode,
        "ttft_ms": gateway + frontend + queue + prefill,
        "e2e_ms": gateway + frontend + queue + prefill + decode,
    }
    return pa.table({f.name: columns.get(f.name, pa.nulls(n, f.type)) for f in schema}, schema=schema)


def _repeated(values: np.ndarray[Any, Any], rng: np.random.Generator, n: int) -> pa.Array:
    return pc.take(pa.array(values.tolist()), pa.array(rng.integers(0, len(values), n)))


def _ids(rng: np.random.Generator, n: int, start: datetime) -> pa.Array:
    ids = _hex(rng, n, b"req-")
    if start == END - timedelta(days=DAYS // 2):
        ids[n // 2] = np.frombuffer(LOOKED_UP.encode(), dtype=np.uint8)
    return _bytes(ids, pa.string())


def _hex(rng: np.random.Generator, n: int, prefix: bytes) -> np.ndarray[Any, Any]:
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)[rng.integers(0, 16, (n, 16))]
    return np.hstack([np.tile(np.frombuffer(prefix, dtype=np.uint8), (n, 1)), digits])


def _bytes(rows: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """Rows of bytes as an Arrow array of text or binary, without a Python object each."""
    n, width = rows.shape
    offsets = pa.py_buffer((np.arange(n + 1, dtype=np.int32) * width).tobytes())
    return pa.Array.from_buffers(kind, n, [None, offsets, pa.py_buffer(np.ascontiguousarray(rows).tobytes())])
