"""Which engine reads the store: DuckDB in this process, or ClickHouse on the same tables."""

from __future__ import annotations

from collectors.store.clickhouse import ClickHouseReader
from collectors.store.duckdb import MEMORY, DuckReader
from collectors.store.reader import Reader

DUCKDB_ENGINE = "duckdb"


def open_reader(root: str, engine: str = DUCKDB_ENGINE, memory: str = MEMORY) -> Reader:
    """The reader of a store; `engine` is "duckdb" or a clickhouse:// URL. Nothing is connected yet."""
    return DuckReader(root, memory) if engine == DUCKDB_ENGINE else ClickHouseReader(root, engine)
