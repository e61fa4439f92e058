"""Reading the Delta tables in process with DuckDB.

The Delta log says which files hold which days and times; DuckDB reads just those. A file that was
compacted away between the two is no error: the log is read again, once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from collectors.store.dialect import AT, DUCKDB, Dialect
from collectors.store.errors import StoreError, told
from collectors.store.tables import TABLES

MEMORY = "1GB"  # a month of exact quantiles over 10 million requests stays under it; it spills beyond


_STAT = timedelta(milliseconds=1)  # Delta's file statistics cut times to milliseconds


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class _Opened:
    table: DeltaTable
    version: int
    files: tuple[_File, ...]


class DuckReader:
    """Runs SQL in which `{metrics}`, `{requests}`, `{events}` and `{judgements}` stand for the tables.

    Safe to share between threads: each query has a cursor of its own.
    """

    dialect: Dialect = DUCKDB

    def __init__(self, root: str, memory: str = MEMORY, threads: int | None = None) -> None:
        self.root = root
        self._connection = duckdb.connect(config={"memory_limit": memory})
        if threads is not None:
            self._connection.execute(f"SET threads = {threads:d}")
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
        """The result as an Arrow table; rows outside (since, until] are not seen. Raises StoreError."""
        try:
            return self._run(sql, params, since, until)
        except duckdb.IOException:
            self._forget()
            return self._again(sql, params, since, until)
        except duckdb.Error as error:
            raise _store_error(self.root, error) from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """While it lasts, this thread sees each table as it first saw it: consistent, and cheaper."""
        outer = getattr(self._pinned, "tables", None)
        self._pinned.tables = {} if outer is None else outer
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
        except duckdb.Error as error:
            raise _store_error(self.root, error) from error

    def _forget(self) -> None:
        """What was listed is gone: every table is opened anew, and what this thread had pinned with it."""
        with self._lock:
            self._open.clear()
            if getattr(self._pinned, "tables", None):
                self._pinned.tables.clear()

    def _run(
        self, sql: str, params: Sequence[Any], since: datetime | None, until: datetime | None
    ) -> pa.Table:
        text = self.dialect.filled(sql, TABLES, lambda name: self._relation(name, since, until))
        return self._connection.cursor().sql(text, params=list(params)).to_arrow_table()

    def _relation(self, name: str, since: datetime | None, until: datetime | None) -> str:
        """The table's rows in (since, until]; files that lie inside wholly are not filtered row by row."""
        opened = self._refreshed(name)
        files = [f for f in opened.files if _overlaps(f, since, until)] if opened else []
        inside = [f for f in files if _inside(f, since, until)]
        edges = [f for f in files if f not in inside]
        parts = [f"SELECT * FROM {_read(inside)}"] if inside else []
        if edges:
            parts.append(f"SELECT * FROM {_read(edges)} WHERE {_bounds(since, until)}")
        return f"({' UNION ALL '.join(parts)})" if parts else _empty(TABLES[name].schema)

    def _refreshed(self, name: str) -> _Opened | None:
        with self._lock:
            pinned: dict[str, _Opened] | None = getattr(self._pinned, "tables", None)
            if pinned is not None and name in pinned:
                return pinned[name]
            try:
                opened = self._refresh(name)
            except TableNotFoundError:
                self._open.pop(name, None)
                return None
            except (DeltaError, OSError) as error:
                where = f"{self.root}/{name}"
                raise StoreError(
                    where, told(error), f"Move {where} away or restore it from a copy"
                ) from error
            if pinned is not None:
                pinned[name] = opened
            return opened

    def _refresh(self, name: str) -> _Opened:
        opened = self._updated(name)
        if opened is None:
            table = DeltaTable(self._path(name))
            opened = _Opened(table, table.version(), _files(table, self._path(name)))
        self._open[name] = opened
        return opened

    def _updated(self, name: str) -> _Opened | None:
        """With the commits since; None where another table lies there by now, and is to be opened anew."""
        opened = self._open.get(name)
        if opened is None:
            return None
        try:
            opened.table.update_incremental()
        except (DeltaError, OSError):
            return None
        version = opened.table.version()
        if version == opened.version:
            return opened
        return _Opened(opened.table, version, _files(opened.table, self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"


def _store_error(root: str, error: duckdb.Error) -> StoreError:
    if isinstance(error, duckdb.OutOfMemoryException):
        remedy = "Raise duckdb_memory, or ask for a shorter span"
        return StoreError(root, f"the query needs more memory than it may take: {told(error)}", remedy)
    return StoreError(root, told(error), "Check the disk; restore the damaged files from a copy")


def _files(table: DeltaTable, where: str) -> tuple[_File, ...]:
    found = pa.table(table.get_add_actions(flatten=True)).to_pydict()
    unknown = [None] * len(found["path"])
    ranges = zip(found.get("min.at", unknown), found.get("max.at", unknown), strict=True)
    # not the table's own list of addresses: those are percent-encoded, also where they are paths
    return tuple(
        _File(f"{where}/{path}", _utc(first), _utc(last))
        for path, (first, last) in zip(found["path"], ranges, strict=True)
    )


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _overlaps(file: _File, since: datetime | None, until: datetime | None) -> bool:
    if file.first is None or file.last is None:
        return True
    return (since is None or file.last + _STAT >= since) and (until is None or file.first <= until)


def _inside(file: _File, since: datetime | None, until: datetime | None) -> bool:
    if file.first is None or file.last is None:
        return since is None and until is None
    return (since is None or file.first > since) and (until is None or file.last + _STAT <= until)


def _bounds(since: datetime | None, until: datetime | None) -> str:
    low = [f"{AT} > {DUCKDB.instant(since)}"] if since else []
    high = [f"{AT} <= {DUCKDB.instant(until)}"] if until else []
    return " AND ".join([*low, *high]) or "true"


def _read(files: Sequence[_File]) -> str:
    return f"read_parquet([{', '.join(DUCKDB.literal(f.path) for f in files)}])"


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
        f'CAST(NULL AS {next(t for is_, t in _TYPES.items() if is_(field.type))}) AS "{field.name}"'
        for field in schema
    )
    return f"(SELECT {columns} WHERE false)"
