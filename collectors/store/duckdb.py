"""Reading the Delta tables in process with DuckDB.

The Delta log says which files hold which days and times; DuckDB reads just those. A file that was
compacted away between the two is no error: the log is read again, once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from collectors.store.dialect import DUCKDB, Dialect
from collectors.store.errors import StoreError
from collectors.store.tables import TABLES

MEMORY = "1GB"  # a month of exact quantiles over 10 million requests stays under it; it spills beyond


_STAT = timedelta(milliseconds=1)  # Delta's file statistics cut times to milliseconds


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    first: datetime | None
    last: datetime | None


@dataclass(slots=True)
class _Opened:
    table: DeltaTable
    version: int
    files: tuple[_File, ...]


class DuckReader:
    """Runs SQL in which `{metrics}`, `{requests}`, `{events}` and `{judgements}` stand for the tables.

    Safe to share between threads: each query has a cursor of its own.
    """

    dialect: Dialect = DUCKDB

    def __init__(self, root: str, memory: str = MEMORY) -> None:
        self.root = root
        self._connection = duckdb.connect(config={"memory_limit": memory})
        self._open: dict[str, _Opened] = {}
        self._lock = threading.Lock()
        self._pinned = threading.local()

    def query(
        self,
        sql: str,
        params: Sequence[Any] = (),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """The result as an Arrow table; files outside (since, until] are not read. Raises StoreError."""
        try:
            return self._run(sql, params, since, until)
        except duckdb.IOException:
            with self._lock:
                self._open.clear()
            return self._again(sql, params, since, until)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """While it lasts, this thread's queries see each table as it first saw it: consistent, and cheaper."""
        outer = getattr(self._pinned, "tables", None)
        self._pinned.tables = set() if outer is None else outer
        try:
            yield
        finally:
            self._pinned.tables = outer

    def version(self, name: str) -> int | None:
        """The table's current version; None where it does not exist."""
        opened = self._refreshed(name)
        return None if opened is None else opened.version

    def _again(
        self, sql: str, params: Sequence[Any], since: datetime | None, until: datetime | None
    ) -> pa.Table:
        try:
            return self._run(sql, params, since, until)
        except duckdb.IOException as error:
            what = " ".join(str(error).split())[:300]
            raise StoreError(self.root, what, "Check the disk; restore the missing files from a copy") from error

    def _run(
        self, sql: str, params: Sequence[Any], since: datetime | None, until: datetime | None
    ) -> pa.Table:
        named = {t: self._relation(t, since, until) for t in TABLES if f"{{{t}}}" in sql}
        for table, relation in named.items():
            sql = sql.replace(f"{{{table}}}", relation)
        return self._connection.cursor().sql(sql, params=list(params)).to_arrow_table()

    def _relation(self, name: str, since: datetime | None, until: datetime | None) -> str:
        opened = self._refreshed(name)
        files = [] if opened is None else [f.path for f in opened.files if _overlaps(f, since, until)]
        if not files:
            return _empty(TABLES[name].schema)
        listed = ", ".join(DUCKDB.literal(f) for f in files)
        return f"read_parquet([{listed}])"

    def _refreshed(self, name: str) -> _Opened | None:
        with self._lock:
            pinned: set[str] | None = getattr(self._pinned, "tables", None)
            if pinned is not None and name in pinned and name in self._open:
                return self._open[name]
            try:
                opened = self._refresh(name)
                if pinned is not None:
                    pinned.add(name)
                return opened
            except TableNotFoundError:
                self._open.pop(name, None)
                return None
            except (DeltaError, OSError) as error:
                what = " ".join(str(error).split())[:300]
                where = f"{self.root}/{name}"
                raise StoreError(where, what, f"Move {where} away or restore it from a copy") from error

    def _refresh(self, name: str) -> _Opened:
        opened = self._open.get(name)
        if opened is None:
            table = DeltaTable(f"{self.root.rstrip('/')}/{name}")
            opened = self._open[name] = _Opened(table, table.version(), _files(table))
            return opened
        opened.table.update_incremental()
        if opened.table.version() != opened.version:
            opened.version, opened.files = opened.table.version(), _files(opened.table)
        return opened


def _files(table: DeltaTable) -> tuple[_File, ...]:
    found = pa.table(table.get_add_actions(flatten=True)).to_pydict()
    paths = table.file_uris()
    if len(paths) != len(found["path"]):
        return tuple(_File(p, None, None) for p in paths)
    times: Mapping[str, tuple[Any, Any]] = dict(
        zip(found["path"], zip(found.get("min.at", [None] * len(paths)), found.get("max.at", [None] * len(paths)), strict=True), strict=True)
    )
    return tuple(_File(p, *_range(times, p)) for p in paths)


def _range(times: Mapping[str, tuple[Any, Any]], uri: str) -> tuple[datetime | None, datetime | None]:
    low, high = times.get("/".join(uri.rsplit("/", 2)[1:]), (None, None))
    return _utc(low), _utc(high)


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _overlaps(file: _File, since: datetime | None, until: datetime | None) -> bool:
    if file.first is None or file.last is None:
        return True
    return (since is None or file.last + _STAT >= since) and (until is None or file.first <= until)


_TYPES = {
    pa.types.is_date: "DATE",
    pa.types.is_timestamp: "TIMESTAMPTZ",
    pa.types.is_string: "VARCHAR",
    pa.types.is_binary: "BLOB",
    pa.types.is_int32: "INTEGER",
    pa.types.is_boolean: "BOOLEAN",
    pa.types.is_float64: "DOUBLE",
    pa.types.is_list: "STRUCT(low DOUBLE, high DOUBLE, count DOUBLE)[]",
}


def _empty(schema: pa.Schema) -> str:
    columns = ", ".join(
        f"CAST(NULL AS {next(t for is_, t in _TYPES.items() if is_(field.type))}) AS \"{field.name}\""
        for field in schema
    )
    return f"(SELECT {columns} WHERE false)"
